"""The note of where a training is: true, private to its folder, and harmless whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy_tasks.engine import progress as module
from proxy_tasks.engine.progress import (
    MAX_PROGRESS_BYTES,
    PROGRESS_FILE,
    Progress,
    ProgressRecorder,
    forget_progress,
    progress_line,
    read_progress,
    write_progress,
)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)


def test_a_recorder_tells_step_pace_and_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    recorder = ProgressRecorder(steps=10, batch=4, done=0, before=0.0, folder=tmp_path)
    clock.now += 1
    recorder.after_step(1, 5.0, 0.01)
    assert read_progress(tmp_path) is None, "it is not due yet"
    clock.now += 2
    recorder.after_step(2, 4.0, 0.02)
    assert read_progress(tmp_path) == Progress(
        step=2,
        steps=10,
        loss=4.0,
        learning_rate=0.02,
        images_per_second=8 / 3,
        seconds=3.0,
        seconds_left=12.0,
    )
    clock.now += 2
    recorder.after_step(6, 3.0, 0.03)
    later = read_progress(tmp_path)
    assert later is not None
    assert later.images_per_second == pytest.approx(8.0), "the pace is that since the last note"


def test_a_session_goes_on_with_the_time_of_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    recorder = ProgressRecorder(steps=10, batch=4, done=4, before=50.0, folder=tmp_path)
    clock.now += 3
    recorder.after_step(5, 1.0, 0.1)
    found = read_progress(tmp_path)
    assert found is not None
    assert (found.seconds, found.seconds_left) == (53.0, 15.0)


def test_the_file_tells_at_once_what_a_checkpoint_holds_and_steps_after_it_are_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    recorder = ProgressRecorder(steps=10, batch=4, done=0, before=0.0, folder=tmp_path)

    def told() -> tuple[int, int]:
        found = read_progress(tmp_path)
        assert found is not None
        return found.step, found.saved

    recorder.after_step(1, 5.0, 0.01)
    recorder.after_save(1)
    assert told() == (1, 1)
    clock.now += 3
    recorder.after_step(4, 4.0, 0.01)
    assert told() == (4, 1)
    recorder.after_step(5, 4.0, 0.01)
    recorder.after_save(5)
    assert told() == (5, 5)
    again = ProgressRecorder(steps=10, batch=4, done=5, before=3.0, folder=tmp_path)
    clock.now += 3
    again.after_step(6, 4.0, 0.01)
    assert told() == (6, 5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"step"',
        b"\xff\xfe",
        b'{"step": 1}',
        b'{"step": "1", "steps": 2}',
        b'{"step": -1, "steps": 2}',
        b'{"step": 1, "steps": 2, "loss": NaN}',
        b'{"step": 1, "steps": 2, "loss": "low"}',
        b'{"step": 1, "steps": 2, "seconds_left": 1e300}',
        b'{"step": 1e3, "steps": 2}',
        b'{"step": %s, "steps": 2}' % (b"9" * 5000),
        b"[" * 10_000,
        b'{"step": 1, "steps": 2, "pad": "%s"}' % (b"x" * MAX_PROGRESS_BYTES),
    ],
)
def test_a_file_that_holds_something_else_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PROGRESS_FILE).write_bytes(content)
    assert read_progress(tmp_path) is None


def test_a_task_of_ones_own_may_write_the_two_numbers_alone(tmp_path: Path) -> None:
    (tmp_path / PROGRESS_FILE).write_text(json.dumps({"step": 3, "steps": 9, "mood": "good"}))
    found = read_progress(tmp_path)
    assert found == Progress(step=3, steps=9)
    assert progress_line(Progress(step=3, steps=9)) == "step 3/9"


def test_the_line_has_what_is_known() -> None:
    everything = Progress(
        step=3,
        steps=9,
        loss=1.5,
        learning_rate=0.01,
        images_per_second=20.0,
        seconds=4.0,
        seconds_left=75.0,
    )
    told = progress_line(everything)
    assert told == "step 3/9, loss 1.5000, learning rate 0.01, 20.0 images/s, 75 s left"


def test_a_folder_that_cannot_be_written_ends_no_training(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    write_progress(absent, Progress(step=1, steps=2))
    forget_progress(absent)
    assert not absent.exists()


def test_numbers_beyond_all_bounds_end_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    recorder = ProgressRecorder(steps=10**15, batch=10**9, done=0, before=0.0, folder=tmp_path)
    clock.now += 1e6
    recorder.after_step(10**14, 1.0, 0.1)
    found = read_progress(tmp_path)
    assert found is not None
    assert found.steps == module.MOST
