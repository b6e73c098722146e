"""Executors of the user's own that give back what no executor may give, or fail."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from controllers import RandomSearch
from nas import FullTraining, SearchConfig, run_search
from nas.executors import JobResult
from nas.executors.job import run_job
from nas.journal.store import read_events
from nas.plugins.faults import FaultError
from proxy_tasks.task import Score
from search_space import ChoiceSpace

RESULT: Any = JobResult  # Wrong ones are made too.
CONFIG: Any = SearchConfig
SPACE = ChoiceSpace({"a": ["x", "y"], "b": ["x", "y"]})


class Task:
    def evaluate(self, spec: Any) -> float:
        return 1.0


class Mine:
    """Runs a job when it is asked for results; `change` is given each result."""

    workers = 1

    def __init__(self, change: Any) -> None:
        self.change = change
        self.jobs: list[Any] = []

    def open(self, task: Any, on_report: Any) -> None:
        self.task, self.on_report = task, on_report

    def submit(self, job: Any) -> None:
        self.jobs.append(job)

    def wait(self, timeout: float) -> Any:
        found = [run_job(self.task, job, self.on_report, "mine") for job in self.jobs]
        self.jobs.clear()
        return self.change(found)

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        pass


def search(executor: Any, run_dir: Path | None = None) -> Any:
    task: Any = Task()
    return run_search(SPACE, RandomSearch(SPACE, seed=0), task, executor, 2, run_dir)


def fail(found: Sequence[JobResult]) -> Any:
    raise KeyError("boom")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda found: None, r"Mine\.wait must give a list of JobResult, not a NoneType"),
        (lambda found: [Score(1.0)], r"Mine\.wait must give JobResults, not a Score"),
        (
            lambda found: [RESULT(99, 0, "completed", Score(1.0))],
            "a result of trial 99; 1 trials",
        ),
        (lambda found: [RESULT(-1, 0, "completed", Score(1.0))], r"a result of trial -1; 1 trials"),
        (
            lambda found: [RESULT(0, 0, "done", Score(1.0))],
            "status must be one of .*, not done",
        ),
        (
            lambda found: [RESULT(0, 0, "failed", failure="crash")],
            "failure must be one of .*, not crash",
        ),
        (lambda found: [RESULT(0, 0, "failed")], "failure must be one of .*, not None"),
        (lambda found: [RESULT(0, 0, "completed")], "a completed job must have a score"),
        (lambda found: [RESULT(0, 0, "completed", 1.0)], "score must be a Score, not a float"),
        (fail, r"test_job_results\.py, line \d+: KeyError in Mine\.wait: 'boom'"),
    ],
)
def test_what_is_no_result_is_told_with_the_executors_name(change: Any, told: str) -> None:
    with pytest.raises(FaultError, match=told):
        search(Mine(change))


def test_a_score_that_is_not_finite_is_a_failed_trial(tmp_path: Path) -> None:
    def change(found: Sequence[JobResult]) -> list[JobResult]:
        nan = Score(float("nan"))
        return [RESULT(r.trial, 0, "completed", Score(0.5) if r.trial else nan) for r in found]

    found = search(Mine(change), tmp_path / "run")
    assert (found.best.number, found.best.rewards) == (1, (0.5,))
    ends = [event.data for event in read_events(tmp_path / "run") if event.kind == "ended"]
    assert [(end["status"], end["failure"]) for end in ends] == [("failed", "diverged"), ("completed", "")]


def test_an_executor_that_fails_before_it_runs_anything_is_named() -> None:
    class Closed(Mine):
        def open(self, task: Any, on_report: Any) -> None:
            raise RuntimeError("no place")

    class Full(Mine):
        def submit(self, job: Any) -> None:
            raise RuntimeError("no place")

    for kind, call in ((Closed, "open"), (Full, "submit")):
        with pytest.raises(FaultError, match=rf"RuntimeError in {kind.__name__}\.{call}: no place"):
            search(kind(list))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"space": ChoiceSpace}, "space must be an object, not the class ChoiceSpace; write ChoiceSpace"),
        ({"space": 3}, r"space: int has no decisions; inherit search_space\.Space"),
        ({"controller": RandomSearch}, "controller must be an object, not the class RandomSearch"),
        ({"controller": "random"}, "controller: str has no method ask"),
        ({"executor": "ray"}, "executor: str has no workers"),
        ({"trials": "3"}, "trials must be a whole number of at least 1, not '3'"),
        ({"trials": 3.0}, r"trials must be a whole number of at least 1, not 3\.0"),
        ({"config": {}}, r"config must be a nas\.SearchConfig, not a dict"),
        ({"observers": object()}, "observers must be a list of observers, not a object"),
        ({"observers": [print]}, "observers: builtin_function_or_method has no method on_event"),
        (
            {"config": CONFIG(scheduler=FullTraining)},
            "config.scheduler must be an object, not the class",
        ),
        ({"config": CONFIG(scheduler=3)}, r"int has no method promote; inherit nas\.FullTraining"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    right: dict[str, Any] = {
        "space": SPACE,
        "controller": RandomSearch(SPACE, seed=0),
        "task": Task(),
        "executor": Mine(list),
        "trials": 2,
        "run_dir": tmp_path / "run",
    }
    with pytest.raises(ValueError, match=told):
        run_search(**{**right, **change})
    assert not (tmp_path / "run").exists()
