"""One job: whatever the task does to its process, the next trial begins where this one did."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from controllers import RandomSearch
from nas.executors.job import CHECKPOINT, Decision, Job, run_job
from nas.executors.local_executor import LocalExecutor
from nas.journal.reading import read_events
from nas.search.loop import run_search
from proxy_tasks.adapted_task import adapt
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Score, TaskFailureError
from tests.search_space.cell_space import CellSpace


class Wanders:
    """Changes its folder, and may remove it."""

    def __init__(self, folder: Path, removes: bool) -> None:
        self.folder, self.removes = folder, removes
        self.begins: list[str] = []

    def evaluate(self, spec: object) -> float:
        self.begins.append(os.getcwd())  # noqa: PTH109
        place = self.folder / str(len(self.begins))
        place.mkdir()
        os.chdir(place)
        if self.removes:
            place.rmdir()
        return float(len(self.begins))


@pytest.mark.parametrize("removes", [False, True])
def test_a_task_may_change_its_folder(removes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "places").mkdir()
    task: Any = Wanders(tmp_path / "places", removes)
    space = CellSpace()
    result = run_search(space, RandomSearch(space, 0), task, LocalExecutor(), 5, "run")
    assert result.trials.counts["failed"] == 0
    assert set(task.begins) == {str(tmp_path)}
    assert (tmp_path / "run" / "winners" / "best.json").is_file()
    assert any(event.kind == "ended" for event in read_events(tmp_path / "run"))


def test_a_disk_that_fills_up_while_a_checkpoint_is_copied_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "3" / CHECKPOINT).mkdir(parents=True)

    def fill_up(*_: Any, **__: Any) -> None:
        raise shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")])

    monkeypatch.setattr(shutil, "copytree", fill_up)
    job = Job(4, 0, "spec", 1.0, 0, str(tmp_path / "4"), str(tmp_path / "3"))
    ended = run_job(adapt(SyntheticTask()), job, lambda *_: Decision.CONTINUE, "here")
    assert ended.failure == "infrastructure"
    assert "No space left" in ended.message


def test_a_checkpoint_of_which_a_killed_attempt_copied_a_part_is_copied_whole(tmp_path: Path) -> None:
    class Reads:
        def evaluate(self, spec: Any, fidelity: float, seed: int, report: Any, checkpoint: Path) -> float:
            return float((checkpoint / "state").read_text())

    (tmp_path / "3" / CHECKPOINT).mkdir(parents=True)
    (tmp_path / "3" / CHECKPOINT / "state").write_text("0.5")
    (tmp_path / "4" / f"{CHECKPOINT}.partial").mkdir(parents=True)
    job = Job(4, 0, "spec", 1.0, 0, str(tmp_path / "4"), str(tmp_path / "3"), 3)
    ended = run_job(adapt(Reads()), job, lambda *_: Decision.CONTINUE, "here")
    assert ended.score is not None, ended.message
    assert ended.score.reward == 0.5


@pytest.mark.parametrize("text", ["データ", "half an emoji \ud83d", "bild\udce4.jpg"])
def test_a_trial_that_fails_with_any_text_is_a_record_and_has_its_log(text: str, tmp_path: Path) -> None:
    class Fails:
        def evaluate(self, spec: object) -> Score:
            raise ValueError(text)

    ended = run_job(adapt(Fails()), Job(0, 0, "s", 1.0, 0, str(tmp_path)), lambda *_: Decision.CONTINUE, "w")
    assert ended.status == "failed"
    assert text.encode("utf-8", "backslashreplace").decode() in ended.message
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert text.encode("utf-8", "backslashreplace").decode() in log


class Ignores:
    """Does not let its report end it: goes on, reports again, or raises an error of its own."""

    def __init__(self, then: str) -> None:
        self.then = then

    def evaluate(self, spec: object, report: Any) -> float:
        try:
            report(1, 0.25)
            report(2, 0.5)
        except Exception as error:
            if self.then == "wraps":
                raise RuntimeError("the training failed") from error
            if self.then == "lacks memory":
                raise MemoryError from error
            if self.then == "fails":
                raise TaskFailureError("error", "the training failed") from error
            if self.then == "reports":
                with contextlib.suppress(Exception):
                    report(2, 0.5)
        return 0.75


IGNORES = pytest.mark.parametrize("then", ["goes on", "reports", "wraps", "lacks memory", "fails"])


@IGNORES
@pytest.mark.parametrize(
    ("decision", "status", "reward"),
    [
        (Decision.STOP, "pruned", 0.25),
        (Decision.PAUSE, "paused", 0.25),
        (Decision.CONTINUE, "completed", 0.75),
    ],
)
def test_a_task_that_its_report_has_ended_stays_so(
    then: str, decision: Decision, status: str, reward: float
) -> None:
    reported: list[int] = []

    def decide(trial: int, step: int, score: Score) -> Decision:
        reported.append(step)
        return decision if step == 1 else Decision.CONTINUE

    ended = run_job(adapt(Ignores(then)), Job(0, 0, "spec", 1.0, 0), decide, "worker")
    assert (ended.status, ended.failure, ended.score) == (status, None, Score(reward))
    assert reported == ([1, 2] if decision is Decision.CONTINUE else [1])


@pytest.mark.parametrize(("decision", "status"), [(Decision.STOP, "pruned"), (Decision.PAUSE, "failed")])
def test_a_paused_trial_whose_state_cannot_be_written_runs_again(decision: Decision, status: str) -> None:
    class Saves:
        def evaluate(self, spec: object, report: Any) -> float:
            try:
                report(1, 0.25)
            except Exception as error:
                raise TaskFailureError("infrastructure", "no room for the checkpoint") from error
            return 0.75

    ended = run_job(adapt(Saves()), Job(0, 0, "spec", 1.0, 0), lambda *_: decision, "worker")
    assert ended.status == status
    assert ended.failure == ("infrastructure" if status == "failed" else None)


@IGNORES
def test_a_fault_of_the_search_is_not_lost_if_a_task_ignores_what_its_report_raises(then: str) -> None:
    reported: list[int] = []

    def break_down(trial: int, step: int, score: Score) -> Decision:
        reported.append(step)
        raise OSError("the journal cannot be written")

    with pytest.raises(OSError, match="the journal"):
        run_job(adapt(Ignores(then)), Job(0, 0, "spec", 1.0, 0), break_down, "worker")
    assert reported == [1]
