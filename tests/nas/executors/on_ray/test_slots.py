"""What tells that a job does not hang."""

from __future__ import annotations

from pathlib import Path

from nas.executors.job import CHECKPOINT, Job
from nas.executors.on_ray.patience import LEAST_SECONDS
from nas.executors.on_ray.slots import Slot
from proxy_tasks.engine.progress import Progress, write_progress


def note(folder: Path, step: int) -> None:
    (folder / CHECKPOINT).mkdir(exist_ok=True)
    write_progress(folder / CHECKPOINT, Progress(step=step, steps=560))


def test_a_job_that_comes_further_does_not_hang_however_long_it_takes(tmp_path: Path) -> None:
    slot = Slot()
    slot.begin(Job(0, 0, "spec", 1.0, 0, str(tmp_path)), 100.0)
    assert not slot.is_alive(500.0), "it has told nothing"
    for step, now in ((1, 600.0), (2, 601.0 + LEAST_SECONDS), (50, 5000.0)):
        note(tmp_path, step)
        assert slot.is_alive(now)
        assert slot.is_alive(now + LEAST_SECONDS - 0.5), "it has a minute for the next step"
    assert not slot.is_alive(5000.0 + LEAST_SECONDS)


def test_what_an_earlier_attempt_has_told_is_no_sign_of_life(tmp_path: Path) -> None:
    note(tmp_path, 40)
    slot = Slot()
    slot.begin(Job(0, 1, "spec", 1.0, 0, str(tmp_path)), 0.0)
    assert not slot.is_alive(500.0)


def test_an_attempt_that_begins_at_an_earlier_step_shows_progress_at_once(tmp_path: Path) -> None:
    note(tmp_path, 40)
    slot = Slot()
    slot.begin(Job(0, 1, "spec", 1.0, 0, str(tmp_path)), 0.0)
    note(tmp_path, 3)
    assert slot.is_alive(500.0)


def test_a_report_is_a_sign_of_life() -> None:
    slot = Slot()
    slot.begin(Job(0, 0, "spec", 1.0, 0), 0.0)
    slot.heard(500.0)
    assert slot.is_alive(500.0 + LEAST_SECONDS - 0.5)
    assert not slot.is_alive(500.0 + LEAST_SECONDS)
