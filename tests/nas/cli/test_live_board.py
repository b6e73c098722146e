"""What runs is shown: step, loss and time left, on a terminal and in a pipe."""

from __future__ import annotations

import io
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.cli.live_board import (
    LiveBoard,
    Running,
    running_cells,
    running_line,
    running_table,
    seconds_left,
    trials_left,
)
from nas.cli.observers import TimeEstimate
from nas.cli.progress import SearchProgress, training_progress
from nas.executors.job import CHECKPOINT
from nas.journal.event import Event
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from proxy_tasks.engine.progress import Progress, write_progress
from tests.nas.journal.test_history import Recorder, replayed

NOTE = Progress(
    step=120,
    steps=560,
    loss=1.25,
    learning_rate=0.01,
    images_per_second=80.0,
    seconds=30.0,
    seconds_left=100.0,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_row_has_what_is_known() -> None:
    whole = Running(name="trial 3", seconds=31.0, progress=NOTE, report=(100, 0.5))
    assert running_cells(whole) == (
        "trial 3",
        "120/560",
        "1.2500",
        "80.0",
        "1.7 min",
        "0.5000 at step 100",
        "31 s",
    )
    assert running_line(whole) == (
        "trial 3: step 120/560, loss 1.2500, 80.0 images/s, 1.7 min left, reward 0.5000 at step 100"
    )
    assert running_line(Running(name="trial 4", seconds=31.0)) == "trial 4: running for 31 s"
    assert running_line(Running(name="trial 5", report=(2, 0.25))) == "trial 5: reward 0.2500 at step 2"
    assert running_line(Running(name="trial 6")) == "trial 6"


def test_a_table_leaves_out_empty_columns_and_counts_what_does_not_fit() -> None:
    reports = running_table([Running(name=f"trial {i}", report=(i, 0.5)) for i in range(14)])
    assert [str(column.header) for column in reports.columns] == ["", "last report"]
    assert reports.row_count == 11  # Ten, and a line that counts the others.


def test_a_board_is_drawn_on_standard_error_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, piped = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setattr(sys, "stdout", piped)
    monkeypatch.setenv("TERM", "xterm")
    board = LiveBoard(lambda: "2/9 done", lambda: [Running(name="trial 3", progress=NOTE)])
    board.start()
    print("trial 2 is over")
    board.stop()
    assert "2/9 done" in drawn.getvalue()
    assert "120/560" in drawn.getvalue()
    assert drawn.getvalue().rstrip().endswith("\x1b[2K"), "the last that is drawn is an empty line"
    assert piped.getvalue() == "trial 2 is over\n"
    assert sys.stdout is piped


def test_without_a_terminal_a_line_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    board = LiveBoard(lambda: "2/9 done", lambda: [Running(name="trial 3", progress=NOTE)], every=0.001)
    board.start()
    deadline = time.monotonic() + 60  # Only so that a hang ends.
    while not printed.getvalue() and time.monotonic() < deadline:
        time.sleep(0.001)
    board.stop()
    assert printed.getvalue().startswith("2/9 done; trial 3: step 120/560, loss 1.2500, ")


def test_the_lines_go_where_they_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    board = LiveBoard(lambda: "2/9 done", list, every=0.001, say=said.append)
    board.start()
    deadline = time.monotonic() + 60  # Only so that a hang ends.
    while not said and time.monotonic() < deadline:
        time.sleep(0.001)
    board.stop()
    assert said[0] == "2/9 done"
    assert capsys.readouterr().out == "", "what reads JSON from there must not meet such a line"


def test_a_search_shows_reports_and_notes_of_what_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials, shown = Trials(), SearchProgress(4, tmp_path, resumed=False)

    def tell(kind: str, trial: int | None = None, **data: object) -> None:
        event = Event(0.0, kind, trial, data)
        trials.apply(event)
        shown.on_event(event, trials)

    tell("session", workers=2)
    for number in range(2):
        asked = {"proposal": number, "genotype": [number], "key": str(number), "seed": 1, "fidelity": 1.0}
        tell("asked", number, **asked)
        tell("submitted", number, attempt=0)
    tell("reported", 1, step=7, reward=0.25, metrics={})
    (tmp_path / "trials" / "0" / CHECKPOINT).mkdir(parents=True)
    write_progress(tmp_path / "trials" / "0" / CHECKPOINT, NOTE)
    first, second = shown._running()
    assert (first.name, first.progress, first.report) == ("trial 0", NOTE, None)
    assert (second.name, second.progress, second.report) == ("trial 1", None, (7, 0.25))
    assert "0/4 done, no trial has ended yet" in shown._heading()
    end = {"attempt": 0, "metrics": {}, "failure": "", "pruner_attrs": {}, "worker": "", "seconds": 2.0}
    tell("ended", 1, retry=True, message="the worker died", **end)
    assert [row.name for row in shown._running()] == ["trial 0"]
    tell("submitted", 1, attempt=1)
    tell("ended", 1, retry=False, status="completed", rewards=[0.5], reward=0.5, message="", **end)
    assert [row.name for row in shown._running()] == ["trial 0"]
    assert "1/4 done, 1 running, best 0.5000 (trial 1)" in shown._heading()
    shown.close()
    assert "trial 1     completed 0.5000" in capsys.readouterr().out


def test_a_training_is_followed_by_its_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_progress(tmp_path, Progress(step=1, steps=560))  # Of a session that was cut off.
    text, deadline = "", time.monotonic() + 60
    with training_progress(tmp_path, every=0.001):
        write_progress(tmp_path, NOTE)
        while not text and time.monotonic() < deadline:
            time.sleep(0.001)
            text = capsys.readouterr().out
    assert text == "step 120/560, loss 1.2500, learning rate 0.01, 80.0 images/s, 1.7 min left\n"


def test_a_training_has_a_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setattr("nas.cli.progress.BAR_SECONDS", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    deadline = time.monotonic() + 60
    with training_progress(tmp_path):
        write_progress(tmp_path, NOTE)
        while "120/560" not in drawn.getvalue() and time.monotonic() < deadline:
            time.sleep(0.001)
    for told in ("120/560", "loss 1.2500", "80.0 images/s", "1.7 min left"):
        assert told in drawn.getvalue()


def _estimate(folder: Path, **changes: Any) -> TimeEstimate:
    return TimeEstimate(folder, SearchConfig(**changes), trials=10, workers=2)


def _ended(seconds: float, status: str = "completed") -> Event:
    return Event(0.0, "ended", 0, {"status": status, "seconds": seconds})


def test_the_length_of_a_search_follows_from_the_pace_of_its_first_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.cli.pace.WATCH_SECONDS", 0.01)
    estimate, said = _estimate(tmp_path), ""
    estimate.on_event(Event(0.0, "submitted", 3, {}), Trials())
    folder = tmp_path / "trials" / "3" / CHECKPOINT
    folder.mkdir(parents=True)
    write_progress(folder, replace(NOTE, step=2))
    write_progress(folder, NOTE)
    while not said:
        time.sleep(0.01)
        said += capsys.readouterr().out
    assert said == "a trial takes about 2.2 min: 10 trials on 2 workers take about 10.8 min\n"
    estimate.on_event(_ended(20.0), Trials())
    assert capsys.readouterr().out == "", "it is said once"


def test_an_attempt_that_is_repeated_tells_no_pace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {
        "retry": True,
        "attempt": 0,
        "failure": "infrastructure",
        "message": "",
        "worker": "",
        "seconds": 90.0,
    }
    _estimate(tmp_path).on_event(Event(0.0, "ended", 0, about), Trials())
    assert capsys.readouterr().out == ""


def test_a_trial_without_a_note_is_measured_when_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estimate = _estimate(tmp_path, finalists=3, finalist_seeds=2, finalist_fidelity=2.0)
    estimate.on_event(_ended(20.0, "failed"), Trials())
    assert capsys.readouterr().out == ""
    estimate.on_event(_ended(20.0), Trials())
    assert capsys.readouterr().out == (
        "a trial takes about 20 s: 10 trials on 2 workers take about 1.7 min\n"
        "then the best 3 are evaluated again in 6 runs of about 40 s: about 2.0 min more\n"
    )
    quick = _estimate(tmp_path)
    quick.on_event(_ended(0.5), Trials())
    assert capsys.readouterr().out == "", "a search of seconds needs no estimate"


@pytest.mark.parametrize(
    ("trials", "running", "workers", "left"),
    [(10, [], 2, 50), (10, [8, 2], 2, 45), (1, [30], 2, 0), (3, [], 0, 30)],
)
def test_the_time_left_is_that_of_trials_like_those_that_have_ended(
    trials: int, running: list[float], workers: int, left: float
) -> None:
    assert seconds_left(trials, [5, 15], running, workers) == left


def test_promotions_that_run_and_that_will_come_take_time_too() -> None:
    record = Recorder()
    record.session(0)
    for number in range(4):
        record.ask(0, number)
    for number in range(2):
        record.end(1, number, "paused")
    for number in range(2):
        record.ask(1, 4 + number, promoted=True, resume_from=number)
    record.end(2, 4)
    trials = replayed(record).trials
    assert trials_left(trials, 10) == 8 * (1 + 2 / 2) + 1, "one promotion for each proposal, and one runs"
    record.end(2, 2)
    record.end(2, 3)
    assert trials_left(replayed(record).trials, 4) == 1, "the promotion that runs"
    assert trials_left(Trials(), 5) == 5


def test_a_resumed_search_says_that_no_further_trial_has_ended(tmp_path: Path) -> None:
    trials, shown = Trials(), SearchProgress(4, tmp_path, resumed=True)
    asked = {"proposal": 0, "genotype": [0], "key": "0", "seed": 1, "fidelity": 1.0}
    end = {"attempt": 0, "metrics": {}, "failure": "", "pruner_attrs": {}, "worker": "", "seconds": 2.0}
    more = {"retry": False, "status": "completed", "rewards": [0.5], "reward": 0.5, "message": ""}
    trials.apply(Event(0.0, "session", None, {"workers": 1}))
    trials.apply(Event(0.0, "asked", 0, asked))
    trials.apply(Event(0.0, "submitted", 0, {"attempt": 0}))
    trials.apply(Event(0.0, "ended", 0, {**end, **more}))
    session = Event(0.0, "session", None, {"workers": 1})
    trials.apply(session)
    shown.on_event(session, trials)
    assert "1/4 done, no further trial has ended yet in" in shown._heading()
    shown.close()
