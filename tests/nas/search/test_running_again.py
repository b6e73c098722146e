"""A resumed search runs failed trials again, and the journal still replays exactly."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controllers import Proposal, Reward
from nas.executors.job import Decision
from nas.executors.local_executor import LocalExecutor
from nas.executors.simulated_executor import SimulatedExecutor
from nas.journal.event import Event
from nas.journal.history import replay_history
from nas.journal.reading import read_events
from nas.journal.store import MemoryJournal, SqliteJournal
from nas.journal.trials import Trial, Trials
from nas.search.checkpoints import Checkpoints
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.result import SearchResult
from nas.search.scheduler import FullTraining
from proxy_tasks.task import Report, TaskFailureError
from search_space.choices import ChoiceSpace
from tests.nas.search.killing import picture
from tests.nas.search.test_loop import MAKERS, CellTask
from tests.nas.search.test_loop import search as search_cells
from tests.nas.search.test_resuming import Given
from tests.search_space.cell_space import CellSpace

SPACE = ChoiceSpace({"a": [str(number) for number in range(10)]})


def breaks(spec: tuple[str, ...], seed: int) -> None:
    if spec[0] in ("none", "skip"):
        raise KeyError("a slip of the pen")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("ppo", "reinforce", "predictor") else [])
        for name in MAKERS
    ],
)
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_mended_search_goes_on_exactly_wherever_it_is_cut(
    tmp_path: Path, name: str, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every controller is asked and told as before; on one worker both modes are repeatable."""
    config = SearchConfig(
        deterministic=deterministic, max_staleness=2 if deterministic else None, max_failures=1.0
    )

    def go(folder: Path, task: CellTask, trials: int, resume: bool = True) -> Trials:
        controller = MAKERS[name](CellSpace())
        return search_cells(folder, task, controller, trials=trials, config=config, resume=resume).trials

    broken = go(tmp_path / "broken", CellTask(fail=breaks), 12, resume=False)
    failed = [trial.number for trial in broken.search if trial.status == "failed"]
    assert failed
    shutil.copytree(tmp_path / "broken", tmp_path / "whole")
    whole = go(tmp_path / "whole", CellTask(), 18)
    events = read_events(tmp_path / "whole")
    (again,) = [event.data for event in events if event.kind == "retried"]
    assert again == {"trials": failed}
    assert whole.counts["failed"] == 0
    assert [trial.genotype for trial in whole.search[:12]] == [trial.genotype for trial in broken.search]
    told = Counter(event.trial for event in events if event.kind == "observed")
    assert set(told.values()) == {1}
    original, written = SqliteJournal.write, len(events) - len(read_events(tmp_path / "broken"))
    for cut in random.Random(name).sample(range(1, written), 4):
        left, folder = cut, tmp_path / str(cut)
        shutil.copytree(tmp_path / "broken", folder)

        def write(self: SqliteJournal, kind: str, trial: int | None, data: dict[str, Any]) -> Event:
            nonlocal left
            left -= 1
            if left < 0:
                raise Cut
            return original(self, kind, trial, data)

        monkeypatch.setattr(SqliteJournal, "write", write)
        with pytest.raises(Cut):
            go(folder, CellTask(), 18)
        monkeypatch.setattr(SqliteJournal, "write", original)
        assert picture(go(folder, CellTask(), 18)) == picture(whole), cut
    # A search in which nothing has failed evaluates nothing a second time.
    task = CellTask()
    assert picture(go(tmp_path / "whole", task, 18)) == picture(whole)
    assert task.evaluated == []


class Cut(KeyboardInterrupt):
    """The process ends here."""


@dataclass
class Scripted:
    """Fails as told, by the first word of a spec, so many times."""

    faults: dict[str, tuple[str, int]]
    seen: Counter[str] = field(default_factory=Counter)

    def evaluate(self, spec: tuple[str, ...]) -> float:
        self.seen[spec[0]] += 1
        kind, times = self.faults.get(spec[0], ("", 0))
        if self.seen[spec[0]] <= times:
            raise TaskFailureError(kind, "as told")  # type: ignore[arg-type]
        return float(spec[0])


def search(
    journal: MemoryJournal, task: Any, genotypes: list[int], executor: Any = None, **settings: Any
) -> SearchResult:
    controller = Given([(number,) for number in genotypes])
    config = SearchConfig(max_failures=1.0, **settings)
    executor = executor or LocalExecutor()
    return run_search(SPACE, controller, task, executor, len(genotypes), None, config=config, journal=journal)


def statuses(result: SearchResult) -> list[str]:
    return [trial.status for trial in result.trials.search]


def test_the_class_of_a_failure_decides() -> None:
    kinds = ["error", "infrastructure", "invalid", "diverged", "out of memory"]
    task = Scripted({str(number): (kind, 3) for number, kind in enumerate(kinds)})
    journal = MemoryJournal()
    first = search(journal, task, [0, 1, 2, 3, 4, 5], retries=2)
    assert statuses(first) == ["failed"] * 5 + ["completed"]
    assert task.seen == {"0": 1, "1": 3, "2": 1, "3": 1, "4": 1, "5": 1}
    again = search(journal, task, [0, 1, 2, 3, 4, 5], retries=2)
    assert statuses(again) == ["failed", "completed", "failed", "failed", "failed", "completed"]
    assert task.seen == {"0": 2, "1": 4, "2": 1, "3": 1, "4": 1, "5": 1}
    assert again.trials.counts["running"] == 0
    # Once for each resume.
    search(journal, task, [0, 1, 2, 3, 4, 5], retries=2)
    mended = search(journal, task, [0, 1, 2, 3, 4, 5], retries=2)
    assert statuses(mended)[:2] == ["completed", "completed"]
    assert task.seen["0"] == 4


def test_a_trial_that_the_machine_fails_has_all_its_retries_again() -> None:
    task = Scripted({"0": ("infrastructure", 5)})
    journal = MemoryJournal()
    assert statuses(search(journal, task, [0, 1], retries=2)) == ["failed", "completed"]
    assert statuses(search(journal, task, [0, 1], retries=2)) == ["completed", "completed"]
    assert task.seen["0"] == 6


def test_a_new_score_counts_as_any_other() -> None:
    journal, task = MemoryJournal(), Scripted({"9": ("error", 1)})
    best = search(journal, task, [1, 9, 3]).best
    assert best is not None
    assert best.number == 2
    best = search(journal, task, [1, 9, 3, 9]).best
    assert best is not None
    assert best.number == 1
    assert statuses(search(journal, task, [1, 9, 3, 9])) == ["completed"] * 3 + ["cached"]


@pytest.mark.parametrize("deterministic", [True, False])
def test_trials_of_one_spec_run_it_once_more_only(deterministic: bool) -> None:
    journal, task = MemoryJournal(), Scripted({"7": ("error", 2)})
    more: dict[str, Any] = {"deterministic": deterministic}
    executor = SimulatedExecutor(3)
    # The second waits for the first, and has its own turn when that one has failed.
    assert statuses(search(journal, task, [7, 7, 1], executor, **more)) == ["failed", "failed", "completed"]
    again = search(journal, task, [7, 7, 1, 7], executor, **more)
    assert statuses(again) == ["completed", "cached", "completed", "cached"]
    assert task.seen["7"] == 3
    assert {trial.rewards for trial in again.trials.search if trial.key == again.trials.all[0].key} == {
        (7.0,)
    }


def test_a_spec_that_fails_again_is_shared_by_none() -> None:
    journal, task = MemoryJournal(), Scripted({"7": ("error", 4)})
    assert statuses(search(journal, task, [7, 1, 7])) == ["failed", "completed", "failed"]
    assert statuses(search(journal, task, [7, 1, 7])) == ["failed", "completed", "failed"]
    mended = search(journal, task, [7, 1, 7, 7])
    assert statuses(mended) == ["completed", "completed", "completed", "cached"]


@pytest.mark.parametrize("settings", [{"target": 3.0}, {"wall_time": 1e-9}])
def test_a_search_that_is_over_for_another_reason_runs_nothing_again(settings: dict[str, Any]) -> None:
    journal, task = MemoryJournal(), Scripted({"0": ("error", 1)})
    search(journal, task, [0, 4])
    executor = SimulatedExecutor(1)
    if "wall_time" in settings:
        journal = FromLongAgo(journal)
    over = search(journal, task, [0, 4, 5], executor, **settings)
    assert over.reason == next(iter(settings)).replace("_", " ")
    assert statuses(over) == ["failed", "completed"]


class FromLongAgo(MemoryJournal):
    """A journal whose search has run for a while."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__()
        self._events = [event._replace(time=float(number)) for number, event in enumerate(journal.events())]

    def write(self, kind: str, trial: int | None, data: dict[str, Any]) -> Event:
        event = super().write(kind, trial, data)._replace(time=1000.0)
        self._events[-1] = event
        return event


def test_finalists_that_failed_are_evaluated_again() -> None:
    class Finalists:
        failing = True

        def evaluate(self, spec: tuple[str, ...], fidelity: float) -> float:
            if fidelity == 2.0 and self.failing:
                raise KeyError("only when it is long")
            return float(spec[0])

    journal, task = MemoryJournal(), Finalists()
    settings = {"finalists": 2, "finalist_seeds": 1, "finalist_fidelity": 2.0}
    first = search(journal, task, [1, 2, 3], **settings).trials
    assert [trial.status for trial in first.finalists] == ["failed"] * 2
    task.failing = False
    again = search(journal, task, [1, 2, 3], **settings).trials
    assert [trial.status for trial in again.finalists] == ["completed"] * 2
    assert [trial.finalist_of for trial in again.finalists] == [2, 1]


class Watching(FullTraining):
    """Writes down what it hears, and stops every trial that it is asked about."""

    def __init__(self, heard: list[tuple[str, int]]) -> None:
        self.heard = heard

    def __deepcopy__(self, memo: object) -> Watching:
        return self

    def begin(self, trial: Trial) -> None:
        self.heard.append(("begin", trial.number))

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        return Decision.STOP

    def end(self, trial: Trial) -> dict[str, Any]:
        self.heard.append(("end", trial.number))
        return {}

    def observe(self, trial: Trial) -> None:
        self.heard.append(("observe", trial.number))


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_scheduler_hears_of_each_end_once(deterministic: bool) -> None:
    """What it has observed as failed runs to its end; what it has not observed yet begins again."""

    class Reports:
        failing = True

        def evaluate(self, spec: tuple[str, ...], report: Report) -> float:
            if self.failing:
                raise KeyError("before any report")
            report(1, 0.5)  # type: ignore[arg-type]
            return float(spec[0])

    journal, task = MemoryJournal(), Reports()
    settings: dict[str, Any] = {"deterministic": deterministic}
    search(journal, task, [1, 2], scheduler=Watching([]), **settings)
    task.failing = False
    heard: list[tuple[str, int]] = []
    result = search(journal, task, [1, 2], scheduler=Watching(heard), **settings)
    if deterministic:
        assert statuses(result) == ["pruned", "pruned"]
        assert Counter(heard)["begin", 0] == Counter(heard)["end", 0] == 2
    else:
        assert statuses(result) == ["completed", "completed"]
        assert Counter(heard) == {(what, n): 1 for what in ("begin", "end", "observe") for n in (0, 1)}


def test_a_controller_is_told_of_each_proposal_once() -> None:
    class Told(Given):
        rewards: list[tuple[int, Reward]]

        def tell(self, proposal: Proposal, reward: object) -> None:
            self.rewards.append((proposal.number, reward))  # type: ignore[arg-type]

    def go(trials: int) -> list[tuple[int, Reward]]:
        controller = Told([(n,) for n in range(trials)])
        controller.rewards = []
        config = SearchConfig(max_failures=1.0, deterministic=True, max_staleness=2)
        run_search(SPACE, controller, task, LocalExecutor(), trials, None, config=config, journal=journal)
        return controller.rewards

    task: Any = Scripted({str(n): ("error", 1) for n in range(4)})
    journal = MemoryJournal()
    assert go(4) == [(0, None), (1, None)]
    # The others had not been told of yet.
    assert go(6) == [(0, None), (1, None), (2, 2.0), (3, 3.0)]


def test_the_row_of_a_trial_that_runs_again_is_that_of_a_running_one(tmp_path: Path) -> None:
    config = SearchConfig(max_failures=1.0)
    search_cells(tmp_path, CellTask(fail=breaks), config=config)
    search_cells(tmp_path, config=config, resume=True)
    events = read_events(tmp_path)
    at = next(number for number, event in enumerate(events) if event.kind == "retried")
    rows = replay_history(events[: at + 1]).rows
    for number in events[at].data["trials"]:
        row = rows[number]
        assert (row.status, row.ended_at, row.failure, row.message, row.seconds) == ("running", *[None] * 4)
    whole = replay_history(events)
    ended = [attempt for attempt in whole.attempts if attempt.trial == events[at].data["trials"][0]]
    assert [attempt.status for attempt in ended] == ["failed", "completed"]
    assert whole.rows[ended[0].trial].failure == ""


def test_a_checkpoint_of_a_trial_that_runs_again_stays(tmp_path: Path) -> None:
    trials = Trials()
    asked = {"proposal": 0, "genotype": [0], "key": "0", "seed": 0, "fidelity": 1.0}
    ended = {"retry": False, "status": "failed", "rewards": None, "reward": None, "metrics": {}}
    ended |= {"failure": "error", "pruner_attrs": {}}
    for event in (
        Event(0.0, "session", None, {}),
        Event(0.0, "asked", 0, asked),
        Event(0.0, "ended", 0, ended),
        Event(0.0, "retried", None, {"trials": [0]}),
    ):
        trials.apply(event)
    checkpoints, state = Checkpoints(tmp_path, lambda trial: False), tmp_path / "trials/0/checkpoint/state"
    state.parent.mkdir(parents=True)
    state.touch()
    checkpoints.end(trials.all[0])
    checkpoints.sweep(trials, [0])
    assert state.exists()
    trials.apply(Event(0.0, "ended", 0, {**ended, "status": "completed", "rewards": [1.0], "reward": 1.0}))
    checkpoints.end(trials.all[0])
    checkpoints.sweep(trials, [])
    assert not state.exists()
