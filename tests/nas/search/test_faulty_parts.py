"""Controllers, schedulers, spaces and tasks of the user's own that give what cannot be, or unusual things."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers import Proposal, RandomSearch
from nas.executors import LocalExecutor
from nas.journal.event import Event
from nas.journal.history import read_history
from nas.journal.reading import read_events
from nas.journal.trials import Trial, Trials
from nas.plugins.faults import FaultError
from nas.reporting.winners import holds_winner
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.objective import Objective, ObjectiveError
from nas.search.result import SearchResult
from nas.search.scheduler import FullTraining, Promotion, Scheduler
from proxy_tasks.task import Report, Score
from search_space.choices import ChoiceSpace
from search_space.decisions import Decision, Decisions

SPACE = ChoiceSpace({"a": list(range(10)), "b": list(range(10))})


class Quick:
    def evaluate(self, spec: tuple[str, ...]) -> Score:
        return Score(float(spec[0]), {"cost": 1.0})


def search(folder: Path, **more: Any) -> SearchResult:
    space = more.pop("space", SPACE)
    controller = more.pop("controller", None) or RandomSearch(space, 0)
    task, observers = more.pop("task", Quick()), more.pop("observers", ())
    config = SearchConfig(**more)
    return run_search(space, controller, task, LocalExecutor(), 6, folder, config=config, observers=observers)


class Wishing(RandomSearch):
    """Wants a fidelity."""

    def __init__(self, fidelity: Any) -> None:
        super().__init__(SPACE, 0)
        self.fidelity = fidelity

    def ask(self) -> Proposal:
        return replace(super().ask(), fidelity=self.fidelity)


@pytest.mark.parametrize("fidelity", [-1, 0, "0.5", float("nan"), 2e6, True])
def test_a_fidelity_that_cannot_be_is_the_controllers_fault(fidelity: Any, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"Wishing\.ask: fidelity must be a number above 0"):
        search(tmp_path, controller=Wishing(fidelity))
    read_events(tmp_path)


@pytest.mark.parametrize("fidelity", [np.float32(0.5), 2, 0.25])
def test_a_fidelity_may_be_any_number(fidelity: Any, tmp_path: Path) -> None:
    search(tmp_path, controller=Wishing(fidelity))
    assert {row.fidelity for row in read_history(tmp_path).rows} == {float(fidelity)}


class Giving(FullTraining):
    """Gives what it is told to give."""

    def __init__(self, promotion: Any = None, attrs: Any = None) -> None:
        self.promotion, self.attrs, self.asked = promotion, attrs or {}, 0

    def promote(self) -> Promotion | None:
        self.asked += 1
        return self.promotion if self.asked == 4 else None

    def end(self, trial: Trial) -> dict[str, Any]:
        return dict(self.attrs) if isinstance(self.attrs, dict) else self.attrs


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        (Giving(Promotion("0")), r"promote: trial must be a whole number, not '0'"),  # type: ignore[arg-type]
        (Giving(Promotion(0, -1.0)), r"promote: fidelity must be a number above 0"),
        (Giving(attrs={"x": object()}), r"end must give a dict that JSON can keep"),
        (Giving(attrs=[1]), r"end must give a dict that JSON can keep"),
    ],
)
def test_what_a_scheduler_gives_is_checked(scheduler: Scheduler, told: str, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=rf"Giving\.{told}"):
        search(tmp_path, scheduler=scheduler, max_staleness=1)
    read_events(tmp_path)


def test_a_scheduler_may_promote_with_numbers_of_numpy(tmp_path: Path) -> None:
    scheduler = Giving(Promotion(np.int64(1), np.float64(2.0)))  # type: ignore[arg-type]
    search(tmp_path, scheduler=scheduler, max_staleness=1)
    promoted = [trial for trial in read_history(tmp_path).trials.all if trial.promoted]
    assert [(trial.resume_from, trial.fidelity) for trial in promoted] == [(1, 2.0)]


def test_a_scheduler_is_not_asked_about_finalists(tmp_path: Path) -> None:
    class Begun(FullTraining):
        def __init__(self) -> None:
            self.begun: set[int] = set()

        def begin(self, trial: Trial) -> None:
            self.begun.add(trial.number)

        def may_resume(self, trial: Trial) -> bool:
            assert trial.number in self.begun
            return False

    assert len(search(tmp_path, scheduler=Begun(), finalists=2).trials.finalists) == 4


class NumberedSpace:
    """Its labels are numbers."""

    decisions: Decisions = (Decision("layers", (1, 2, 4)), Decision(7, (8, 16)))  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(ChoiceSpace({"layers": ["1", "2", "4"], "7": ["8", "16"]}), name)


def test_labels_may_be_numbers(tmp_path: Path) -> None:
    space: Any = NumberedSpace()
    search(tmp_path, space=space, controller=RandomSearch(space, 0))
    names = [(decision.name, decision.labels) for decision in read_history(tmp_path).decisions]
    assert names == [("layers", ("1", "2", "4")), ("7", ("8", "16"))]


class Stepping:
    def __init__(self, step: int) -> None:
        self.step = step

    def evaluate(self, spec: tuple[str, ...], report: Report) -> float:
        report(self.step, Score(1.0))
        return float(spec[0])


def test_a_step_beyond_all_bounds_fails_its_trial(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"step must be a whole number in 0\.\."):
        search(tmp_path, task=Stepping(2**64))
    assert {row.failure for row in read_history(tmp_path).rows if row.failure is not None} == {"error"}


def test_a_limit_may_be_a_whole_number_of_any_size(tmp_path: Path) -> None:
    search(tmp_path, objective=Objective(limits={"cost": 10**20}))
    assert read_history(tmp_path).objective["limits"] == {"cost": 1e20}


@pytest.mark.parametrize("settings", [{"seed": 2**64}, {"finalist_fidelity": 2e6}, {"fidelity": 2e6}])
def test_settings_that_no_journal_could_keep_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SearchConfig(**settings)


def test_a_task_in_this_process_may_report_from_a_thread(tmp_path: Path) -> None:
    class Threaded:
        def evaluate(self, spec: tuple[str, ...], report: Callable[[int, float], None]) -> float:
            thread = threading.Thread(target=lambda: report(1, 0.5))
            thread.start()
            thread.join()
            return float(spec[0])

    trials = search(tmp_path, task=Threaded()).trials
    assert [trial.curve for trial in trials.search] == [{1: 0.5}] * 6


class Ends(Quick):
    """Ends the program where it should not, as a script of a training does at its end."""

    def check_spec(self, spec: tuple[str, ...]) -> None:
        raise SystemExit(0)


class EndsAsked(RandomSearch):
    def ask(self) -> Proposal:
        raise SystemExit(0)


@pytest.mark.parametrize("parts", [{"task": Ends()}, {"controller": EndsAsked(SPACE, 0)}])
def test_code_that_ends_the_program_is_a_fault(parts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="SystemExit in "):
        search(tmp_path, **parts)


class TextAsked(RandomSearch):
    def ask(self) -> Proposal:
        return replace(super().ask(), genotype="ab")  # type: ignore[arg-type]


def test_a_genotype_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"a genotype of whole numbers, not 'ab'"):
        search(tmp_path, controller=TextAsked(SPACE, 0))


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"minimize": ("reward",)}, "reward is to be maximized and minimized; give objective.maximize too"),
        ({"maximize": ("reward", "reward")}, "reward stands 2 times"),
    ],
)
def test_a_metric_has_one_place_in_an_objective(metrics: dict[str, Any], told: str) -> None:
    with pytest.raises(ObjectiveError, match=told):
        Objective(**metrics)


class Undrawable(ChoiceSpace):
    """Its specs cannot be drawn."""

    def decode(self, genotype: Any) -> Any:
        return _Spec(super().decode(genotype))

    def encode(self, spec: Any) -> Any:
        return super().encode(tuple(spec))

    def key(self, spec: Any) -> str:
        return super().key(tuple(spec))


class _Spec(tuple[str, ...]):
    def draw(self, path: Path, title: str) -> None:
        raise RuntimeError("no display")


def test_a_drawing_that_fails_costs_no_winner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = search(tmp_path, space=Undrawable({"a": list(range(10)), "b": list(range(10))}))
    assert result.best is not None
    assert holds_winner(tmp_path / "winners", result.best.number)
    errors = capsys.readouterr().err
    assert errors.count("the winner cannot be drawn: ") == errors.count("no display") == 1


def test_a_winner_that_could_not_be_written_is_written_when_it_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "winners").write_text("in the way")

    class Clears(Quick):
        done = 0

        def evaluate(self, spec: tuple[str, ...]) -> Score:
            self.done += 1
            if self.done == 5:
                (tmp_path / "winners").unlink()
            return super().evaluate(spec)

    result = search(tmp_path, task=Clears())
    assert result.best is not None
    assert holds_winner(tmp_path / "winners", result.best.number)
    assert capsys.readouterr().err.count("the winner cannot be written: ") == 1


def test_an_interrupt_that_python_wraps_is_one(tmp_path: Path) -> None:
    """Python does so where Ctrl-C comes while a class is made, as in a first import of matplotlib."""

    class Wrapping:
        def on_event(self, event: Event, trials: Trials) -> None:
            raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

        def close(self) -> None:
            pass

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, observers=[Wrapping()])
