"""Executors of the user's own that give back what no executor may give, or fail."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers import RandomSearch
from nas import FullTraining, SearchConfig, run_search
from nas.analysis.proxy_study import run_proxy_study
from nas.analysis.settings import ProxyStudyConfig
from nas.executors import JobResult
from nas.executors.fleet import Fleet
from nas.executors.job import run_job
from nas.journal.reading import read_events
from nas.journal.trials import Trial
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


def search(executor: Any, run_dir: Path | None = None, **settings: Any) -> Any:
    task: Any = Task()
    config = SearchConfig(**settings)
    return run_search(SPACE, RandomSearch(SPACE, seed=0), task, executor, 2, run_dir, config=config)


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
        (
            lambda found: [RESULT(r.trial, None, "completed", r.score) for r in found],
            r"Mine\.wait: attempt must be a whole number of at least 0, not None",
        ),
        (
            lambda found: [RESULT(r.trial, 0, "completed", r.score, seconds="3") for r in found],
            r"Mine\.wait: seconds must be a number, not '3'",
        ),
        (
            lambda found: [RESULT(r.trial, 0, "completed", r.score, seconds=float("nan")) for r in found],
            r"Mine\.wait: seconds must be a number, not nan",
        ),
        (
            lambda found: [RESULT(r.trial, 0, "completed", r.score, message=3) for r in found],
            r"Mine\.wait: message must be a text, not 3",
        ),
        (
            lambda found: [RESULT(r.trial, 0, "completed", r.score, worker=b"w") for r in found],
            r"Mine\.wait: worker must be a text, not b'w'",
        ),
        (
            lambda found: [RESULT(r.trial, 0, "completed", r.score, failure="infrastructure") for r in found],
            r"Mine\.wait: a completed job has no failure, and this one has 'infrastructure'",
        ),
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


def test_results_may_come_from_a_generator_and_have_numpys_numbers(tmp_path: Path) -> None:
    def change(found: Sequence[JobResult]) -> Iterator[JobResult]:
        for r in found:
            yield RESULT(
                np.int64(r.trial), np.int64(0), "completed", r.score, message=None, seconds=np.float32(2)
            )

    executor: Any = Mine(change)
    executor.workers = np.int64(1)
    task: Any = Task()
    controller = RandomSearch(SPACE, seed=0)
    found = run_search(SPACE, controller, task, executor, np.int64(3), tmp_path / "run")  # type: ignore[arg-type]
    assert [trial.status for trial in found.trials.all] == ["completed"] * 3
    ends = [event.data for event in read_events(tmp_path / "run") if event.kind == "ended"]
    assert [(end["seconds"], end["message"]) for end in ends] == [(2.0, "")] * 3


def test_observers_may_be_any_collection() -> None:
    class Counts:
        events = closed = 0

        def on_event(self, event: Any, trials: Any) -> None:
            self.events += 1

        def close(self) -> None:
            self.closed += 1

    known = {"a": Counts(), "b": Counts()}
    task: Any = Task()
    for observers in (known.values(), (each for each in known.values())):
        run_search(SPACE, RandomSearch(SPACE, seed=0), task, Mine(list), 2, None, observers=observers)
    assert known["a"].events == known["b"].events > 0
    assert known["a"].closed == known["b"].closed == 2


class Fails(Mine):
    """Fails in one of its methods."""

    def __init__(self, where: str, answer: Any = None) -> None:
        super().__init__(list)
        self.where, self.answer = where, answer

    def _fail_in(self, where: str) -> Any:
        if where == self.where and self.answer is None:
            raise ValueError("boom")
        return self.answer if where == self.where else None

    def now(self) -> Any:
        return self._fail_in("now") or super().now()

    def close(self) -> None:
        self._fail_in("close")

    def fleet(self) -> Any:
        return self._fail_in("fleet") or Fleet()


@pytest.mark.parametrize("where", ["now", "close", "fleet"])
def test_an_executor_that_fails_in_the_middle_or_at_the_end_is_named(where: str) -> None:
    with pytest.raises(FaultError, match=rf"test_job_results\.py, .*ValueError in Fails\.{where}: boom"):
        search(Fails(where))


class Pairs(Mine):
    """Runs two jobs at a time."""

    workers = 2


class FailsLate(Pairs):
    """Fails after it has found an end."""

    def wait(self, timeout: float) -> Any:
        self.found = super().wait(timeout)
        raise OSError("the cluster is gone")

    def ended_before_error(self) -> list[JobResult]:
        return [self.found[0]]


def test_ends_that_an_executor_had_found_before_it_failed_are_recorded(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^the cluster is gone$"):
        search(FailsLate(lambda found: found), tmp_path)
    ended = [event for event in read_events(tmp_path) if event.kind == "ended"]
    assert [(event.trial, event.data["status"]) for event in ended] == [(0, "completed")]


def test_what_an_executor_gives_after_it_failed_does_not_hide_why(tmp_path: Path) -> None:
    class GivesNonsense(FailsLate):
        def ended_before_error(self) -> Any:
            return ["nonsense"]

    with pytest.raises(OSError, match=r"^the cluster is gone$"):
        search(GivesNonsense(lambda found: found), tmp_path)


def test_an_error_with_one_result_does_not_lose_those_that_came_with_it(tmp_path: Path) -> None:
    class FailsOnce(FullTraining):
        def end(self, trial: Trial) -> dict[str, Any]:
            if trial.number == 0:
                raise LookupError("no rung")
            return {}

    with pytest.raises(FaultError, match=r"LookupError in FailsOnce\.end: no rung"):
        search(Pairs(lambda found: found), tmp_path, scheduler=FailsOnce(), cache=False)
    ended = [event for event in read_events(tmp_path) if event.kind == "ended"]
    assert [event.trial for event in ended] == [1]


def test_of_several_errors_with_results_the_first_one_is_told(tmp_path: Path) -> None:
    class FailsAlways(FullTraining):
        def end(self, trial: Trial) -> dict[str, Any]:
            raise LookupError(f"no rung for trial {trial.number}")

    with pytest.raises(FaultError, match=r"no rung for trial 0$"):
        search(Pairs(lambda found: found), tmp_path, scheduler=FailsAlways(), cache=False)


def test_an_executors_clock_must_give_a_number() -> None:
    with pytest.raises(FaultError, match=r"Fails\.now must give a number of seconds, not 'noon'"):
        search(Fails("now", "noon"))


def test_an_executor_that_cannot_be_closed_does_not_hide_why_the_search_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    executor = Fails("close")
    executor.change = fail
    with pytest.raises(FaultError, match=r"KeyError in Fails\.wait: 'boom'"):
        search(executor)
    assert "ValueError in Fails.close: boom" in capsys.readouterr().err


def test_an_executor_of_a_study_is_named_too(tmp_path: Path) -> None:
    task: Any = Task()
    plan = ProxyStudyConfig(specs=3, seeds=1, neighbors=0)
    for executor, told in ((Mine(fail), r"KeyError in Mine\.wait"), (Fails("close"), r"in Fails\.close")):
        with pytest.raises(FaultError, match=told):
            run_proxy_study(SPACE, task, executor, plan, tmp_path / told)


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


class BrokenSpace(ChoiceSpace):
    @property
    def decisions(self) -> Any:
        return dict[str, Any]()["blocks"]


class BrokenExecutor(Mine):
    @property
    def workers(self) -> Any:  # type: ignore[override]
        return self.wrokers  # type: ignore[attr-defined]


def test_a_property_that_fails_is_told_as_a_fault_of_its_own() -> None:
    task: Any = Task()
    controller = RandomSearch(SPACE, seed=0)
    space: Any = object.__new__(BrokenSpace)
    with pytest.raises(
        FaultError, match=r"test_job_results\.py, .*KeyError in BrokenSpace\.decisions: 'blocks'"
    ):
        run_search(space, controller, task, Mine(list), 2, None)
    executor: Any = BrokenExecutor(list)
    with pytest.raises(FaultError, match=r"AttributeError in BrokenExecutor\.workers: .*wrokers"):
        run_search(SPACE, controller, task, executor, 2, None)


def test_an_observer_whose_method_cannot_be_had_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    class Disconnected:
        @property
        def on_event(self) -> Any:
            raise RuntimeError("no connection")

        def close(self) -> None:
            pass

    task: Any = Task()
    observer = Disconnected()
    found = run_search(SPACE, RandomSearch(SPACE, seed=0), task, Mine(list), 2, None, observers=[observer])
    assert found.trials.counts["completed"] == 2
    assert "RuntimeError: no connection; it gets no further events" in capsys.readouterr().err


def test_what_passes_calls_on_to_another_object_has_its_methods() -> None:
    class Passes:
        def __init__(self, whole: Any) -> None:
            self.whole = whole

        def __getattr__(self, name: str) -> Any:
            if name == "tell":
                raise KeyError(name)
            return getattr(self.__dict__["whole"], name)

    task: Any = Task()
    executor: Any = Passes(Mine(list))
    run_search(SPACE, RandomSearch(SPACE, seed=0), task, executor, 2, None)
    controller: Any = Passes(RandomSearch(SPACE, seed=0))
    with pytest.raises(ValueError, match="controller: Passes has no method tell"):
        run_search(SPACE, controller, task, executor, 2, None)
