"""The loop: budgets, order, cache, failures, kills; on a task that takes no time."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest

from controllers import (
    Controller,
    LocalSearch,
    OptunaController,
    PolicyGradient,
    PredictorSearch,
    Proposal,
    RandomSearch,
    RegularizedEvolution,
    Reward,
)
from nas.cli.main import main
from nas.executors.job import evaluation_seed
from nas.executors.local_executor import LocalExecutor
from nas.executors.simulated_executor import SimulatedExecutor
from nas.journal.errors import JournalError, JournalWriteError
from nas.journal.event import Event
from nas.journal.folders import holds_search
from nas.journal.history import read_history
from nas.journal.reading import read_events
from nas.journal.store import MemoryJournal, SqliteJournal, open_journal
from nas.journal.trials import Trials, best_by_reward, finalist_rewards
from nas.plugins.faults import FaultError
from nas.reporting.html_report import write_report
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.objective import Objective, ObjectiveError
from nas.search.pruning import PruningScheduler
from nas.search.result import SearchError, SearchResult
from nas.utils.files import FolderInUseError
from nas.utils.run_files import JOURNAL_FILE
from proxy_tasks.adapted_task import adapt
from proxy_tasks.engine.progress import Progress, write_progress
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import ChoiceSpace, Genotype, Space, SpineNetSpec, load_spec, published_space
from tests.nas.search.killing import picture
from tests.search_space.cell_space import CellSpace

SPACE = published_space("r35-sp18")
MAKERS: dict[str, Callable[[Space], Controller]] = {
    "random": lambda space: RandomSearch(space, 1),
    "local": lambda space: LocalSearch(space, 1),
    "evolution": lambda space: RegularizedEvolution(space, 1, trials=40),
    "ppo": lambda space: PolicyGradient(space, 1, method="ppo", trials=40, batch=5),
    "reinforce": lambda space: PolicyGradient(space, 1, method="reinforce", trials=40, batch=5),
    "predictor": lambda space: PredictorSearch(space, 1, initial=10),
    "tpe": lambda space: OptunaController(space, 1),
}


@dataclass
class CellTask:
    """Scores a cell by its name; fails, repeats and reports as told."""

    evaluated: list[tuple[str, ...]] = field(default_factory=list)
    fail: Callable[[tuple[str, ...], int], None] = lambda spec, seed: None

    def evaluate(
        self, spec: tuple[str, ...], fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        self.evaluated.append(spec)
        self.fail(spec, seed)
        reward = sum(len(operation) for operation in spec) / 100
        return Score(reward, {"AP": reward, "macs": 1e6 * spec.count("conv 3x3"), "seconds": 1.0 + reward})


def search(folder: Path | None, task: Any = None, controller: Any = None, **more: Any) -> SearchResult:
    space = more.pop("space", CellSpace())
    return run_search(
        space,
        controller or RandomSearch(space, 0),
        task or CellTask(),
        more.pop("executor", LocalExecutor()),
        more.pop("trials", 20),
        folder,
        **more,
    )


def test_a_search_ends_at_its_budget_with_a_winner_that_is_the_best(tmp_path: Path) -> None:
    result = search(tmp_path, SyntheticTask(), space=SPACE)
    assert result.reason == "budget"
    assert len(result.trials.all) == 20
    rewards = [t.rewards[0] for t in result.trials.all if t.rewards]
    assert result.best is not None
    assert (result.best.rewards or ())[0] == max(rewards)
    winner = load_spec(tmp_path / "winners" / "best.json")
    assert isinstance(winner, SpineNetSpec)
    assert SPACE.key(winner) == result.best.key
    assert (tmp_path / "winners" / "best.svg").is_file()
    assert json.loads((tmp_path / "winners" / "pareto.json").read_text())[0]["trial"] == result.best.number


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("space", [CellSpace(), SPACE], ids=["cells", "r35-sp18"])
def test_one_seed_gives_one_search_on_any_number_of_workers(name: str, space: Space) -> None:
    task = CellTask() if isinstance(space, CellSpace) else SyntheticTask()
    found = [
        picture(
            search(
                None,
                task,
                MAKERS[name](space),
                space=space,
                executor=SimulatedExecutor(workers),
                trials=40,
                config=SearchConfig(max_staleness=8),
            ).trials
        )
        for workers in (1, 2, 4, 8)
    ]
    assert found[0] == found[1] == found[2] == found[3]


def test_when_not_deterministic_the_controller_is_told_at_once(tmp_path: Path) -> None:
    told: list[int] = []
    known: list[int] = []

    class Watched(RandomSearch):
        def ask(self) -> Proposal:
            known.append(len(told))
            return super().ask()

        def tell(self, proposal: Proposal, reward: Reward) -> None:
            told.append(proposal.number)

    controller = Watched(CellSpace(), 0)
    search(
        tmp_path,
        controller=controller,
        executor=SimulatedExecutor(4),
        config=SearchConfig(deterministic=False, cache=False),
    )
    assert sorted(told) == list(range(20))
    assert told != sorted(told)
    # At most three others run while one is asked for, and the rest is told.
    assert all(told_before >= number - 3 for number, told_before in enumerate(known))


def test_more_workers_than_max_staleness_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_staleness must be at least the number of workers, 9, not 8"):
        search(tmp_path, executor=SimulatedExecutor(9), config=SearchConfig(max_staleness=8))


class Repeating(Controller):
    """Asks for the same few genotypes again and again."""

    def _propose(self) -> Genotype:
        return (self._asked % 3, 0, 0, 4, 4, 4)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        pass


@pytest.mark.parametrize("workers", [1, 4])
def test_a_key_is_evaluated_once(tmp_path: Path, workers: int) -> None:
    task = CellTask()
    result = search(tmp_path, task, Repeating(CellSpace()), executor=SimulatedExecutor(workers))
    keys = {trial.key for trial in result.trials.all}
    assert len(task.evaluated) == len(keys) < 4
    assert result.trials.counts["cached"] == 20 - len(keys)
    by_key: dict[str, set[object]] = {}
    for trial in result.trials.all:
        by_key.setdefault(trial.key, set()).add(trial.rewards)
    assert all(len(rewards) == 1 for rewards in by_key.values())


def test_without_cache_every_proposal_is_evaluated(tmp_path: Path) -> None:
    task = CellTask()
    search(tmp_path, task, Repeating(CellSpace()), config=SearchConfig(cache=False))
    assert len(task.evaluated) == 20


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failed_key_is_tried_again_when_it_is_proposed_again(tmp_path: Path, workers: int) -> None:
    def fail(spec: tuple[str, ...], seed: int) -> None:
        if len([s for s in task.evaluated if s == spec]) == 1:
            raise TaskFailureError("diverged", "once")

    task = CellTask(fail=fail)
    result = search(tmp_path, task, Repeating(CellSpace()), executor=SimulatedExecutor(workers))
    assert {t.status for t in result.trials.all} == {"failed", "completed", "cached"}
    assert all(count == 2 for count in Counter(task.evaluated).values())


def test_faults_of_the_infrastructure_are_tried_again_and_others_not(tmp_path: Path) -> None:
    def fail(spec: tuple[str, ...], seed: int) -> None:
        count = sum(s == spec for s in task.evaluated)
        if spec[0] == "none" and count < 3:
            raise TaskFailureError("infrastructure", "a node went away")
        if spec[0] == "skip":
            raise TaskFailureError("invalid", "no such network")

    task = CellTask(fail=fail)
    result = search(tmp_path, task, trials=30, config=SearchConfig(max_failures=1.0))
    first_words = set()
    for trial in result.trials.all:
        spec = CellSpace().decode(trial.proposal.genotype)
        if trial.status == "cached":
            continue
        first_words.add(spec[0])
        assert trial.status == ("failed" if spec[0] == "skip" else "completed")
        assert trial.attempts == (3 if spec[0] == "none" else 1)
    assert first_words > {"none", "skip"}


def test_a_search_whose_trials_fail_stops_and_says_why(tmp_path: Path) -> None:
    def fail(spec: tuple[str, ...], seed: int) -> None:
        raise TaskFailureError("out of memory", "no room for 7 GB")

    with pytest.raises(SearchError, match=r"10 of 10 trials failed.*no room for 7 GB"):
        search(tmp_path, CellTask(fail=fail), trials=100)
    # And it goes on once the cause is mended.
    result = search(tmp_path, trials=30, resume=True)
    assert (result.trials.counts["failed"], len(result.trials.all)) == (10, 30)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("0.5", "must return a number or a Score, not a str"),
        (None, "must return a number or a Score, not a NoneType"),
        (Score(float("nan")), "the reward is nan"),
        (Score("high"), "no number"),  # type: ignore[arg-type]
        (Score(1.0, {"AP": "x"}), "no number"),  # type: ignore[dict-item]
    ],
)
def test_what_is_no_score_is_a_failure_with_its_reason(tmp_path: Path, bad: object, told: str) -> None:
    class Bad:
        def evaluate(self, *_: object) -> object:
            return bad

    with pytest.raises(SearchError, match=told):
        search(tmp_path, Bad())


def test_wall_time_and_target_stop_a_search(tmp_path: Path) -> None:
    executor = SimulatedExecutor(2)

    class TenSeconds(CellTask):
        def evaluate(self, spec: tuple[str, ...], *more: Any) -> Score:
            score = super().evaluate(spec, *more)
            return Score(score.reward, {**score.metrics, "seconds": 10.0})

    config = SearchConfig(wall_time=35, cache=False)
    timed = search(tmp_path / "a", TenSeconds(), trials=1000, executor=executor, config=config)
    assert (timed.reason, executor.now()) == ("wall time", 40.0)
    # Of the two that end at that instant, the first one is taken.
    assert (timed.trials.counts["completed"], timed.trials.counts["running"]) == (7, 1)
    aimed = search(tmp_path / "b", trials=1000, config=SearchConfig(target=0.6))
    assert aimed.reason == "target"
    *before, last = [trial.rewards[0] for trial in aimed.trials.search if trial.rewards]
    assert max(before) < 0.6 <= last


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    config = SearchConfig(objective=Objective(maximize=["AP"], minimize=["macs"]))
    controller = OptunaController(CellSpace(), 0, sampler="nsga2", objectives=2)
    result = search(tmp_path, None, controller, trials=60, config=config)
    front = [result.trials.all[i].rewards or () for i in result.trials.front]
    everything = [t.rewards for t in result.trials.all if t.rewards]
    for point in front:
        assert not any(all(a >= b for a, b in zip(r, point, strict=True)) and r != point for r in everything)
    for reward in everything:
        assert any(all(a >= b for a, b in zip(point, reward, strict=True)) for point in front)
    assert front == sorted(front, reverse=True)


def test_limits_hard_and_soft(tmp_path: Path) -> None:
    score = Score(0.4, {"AP": 0.4, "macs": 2e6})
    assert Objective(limits={"macs": 1e6}).rewards(score) is None
    assert Objective(limits={"macs": 3e6}).rewards(score) == (0.4,)
    soft = Objective(limits={"macs": 1e6}, penalty_exponent=-0.07).rewards(score)
    assert soft == pytest.approx((0.4 * 2**-0.07,))
    below_zero = Objective(limits={"macs": 1e6}, penalty_exponent=-0.07).rewards(Score(-1.0, {"macs": 2e6}))
    assert below_zero is not None
    assert below_zero[0] < -1
    with pytest.raises(ObjectiveError, match=r"no metric 'speed'.*AP, macs"):
        Objective(maximize=["speed"]).rewards(score)
    result = search(tmp_path, trials=50, config=SearchConfig(objective=Objective(limits={"macs": 1.5e6})))
    for number in result.trials.front:
        assert CellSpace().decode(result.trials.genotype(number)).count("conv 3x3") <= 1


def test_poor_trials_are_stopped_early_whatever_the_objectives(tmp_path: Path) -> None:
    scheduler = PruningScheduler(optuna.pruners.MedianPruner(n_startup_trials=4))
    task = SyntheticTask(reports=4)
    two = Objective(maximize=["AP"], minimize=["seconds"])
    for number, objective in enumerate((Objective(), two)):
        folders = [tmp_path / f"{number}-{workers}" for workers in (1, 4)]
        found = [
            search(
                folder,
                task,
                space=SPACE,
                trials=40,
                config=SearchConfig(objective=objective, scheduler=scheduler),
                executor=SimulatedExecutor(workers),
            ).trials
            for folder, workers in zip(folders, (1, 4), strict=True)
        ]
        assert found[0].counts["pruned"] > 3
        assert found[0].counts["completed"] > 3
        assert [t.status for t in found[0].all] == [t.status for t in found[1].all]
        best = max(t.curve[max(t.curve)] for t in found[0].all if t.curve)
        winner = found[0].all[found[0].best or 0]
        assert best == winner.curve[max(winner.curve)]


def test_the_winner_is_picked_from_the_finalists(tmp_path: Path) -> None:
    config = SearchConfig(finalists=3, finalist_seeds=2, finalist_fidelity=5.0)
    result = search(tmp_path, SyntheticTask(noise=0.3), space=SPACE, config=config)
    finalists = result.trials.finalists
    assert len(finalists) == 6
    assert {trial.fidelity for trial in finalists} == {5.0}
    assert len(result.trials.search) == 20
    sums: dict[int, float] = {}
    for trial in finalists:
        assert trial.finalist_of is not None
        assert trial.rewards is not None
        sums[trial.finalist_of] = sums.get(trial.finalist_of, 0.0) + trial.rewards[0]
    assert result.best is result.trials.all[max(sums, key=lambda n: sums[n])]
    # Going on evaluates nothing twice.
    resumed = search(tmp_path, SyntheticTask(noise=0.3), space=SPACE, config=config, resume=True)
    assert [trial.attempts for trial in resumed.trials.finalists] == [1] * 6


def test_a_search_that_is_over_starts_no_workers(tmp_path: Path) -> None:
    """But more trials, more finalists and failed trials do."""
    opened: list[int] = []

    class Watched(LocalExecutor):
        def open(self, task: Any, on_report: Any) -> None:
            opened.append(1)
            super().open(task, on_report)

    def go(trials: int = 10, finalists: int = 2, resume: bool = True, **fail: Any) -> SearchResult:
        opened.clear()
        config = SearchConfig(finalists=finalists, finalist_seeds=1)
        return search(
            tmp_path, CellTask(**fail), trials=trials, config=config, executor=Watched(), resume=resume
        )

    first = go(resume=False)
    assert opened
    again = go()
    assert not opened
    assert (again.reason, again.best) == (first.reason, first.best)
    assert len(go(finalists=3).trials.finalists) == 3
    assert opened
    assert len(go(finalists=1).trials.finalists) == 3
    assert not opened

    def fail(spec: tuple[str, ...], seed: int) -> None:
        if seed == evaluation_seed(0, 11):
            raise ValueError("a mistake")

    assert [trial.status for trial in go(trials=12, fail=fail).trials.search].count("failed") == 1
    assert opened
    assert all(trial.status != "failed" for trial in go(trials=12).trials.search)
    assert opened
    go(trials=12)
    assert not opened


def test_what_was_cut_off_by_the_target_is_not_run_again_by_each_resume(tmp_path: Path) -> None:
    def go(resume: bool, **limits: Any) -> SearchResult:
        executor = SimulatedExecutor(4)
        config = SearchConfig(**limits)
        return search(tmp_path, trials=500, executor=executor, config=config, resume=resume)

    first = go(False, target=0.48)
    assert first.reason == "target"
    left = [trial.attempts for trial in first.trials.all if trial.status == "running"]
    assert left
    again = go(True, target=0.48)
    assert again.reason == "target"
    assert [trial.attempts for trial in again.trials.all if trial.status == "running"] == left
    more = go(True, target=0.50)
    assert len(more.trials.all) > len(first.trials.all)


def test_a_resume_that_cannot_begin_leaves_the_search_as_it_was(tmp_path: Path) -> None:
    class NotThere(CellTask):
        def setup(self, run_dir: Path) -> None:
            raise OSError("the disk is not mounted")

    def fail(spec: tuple[str, ...], seed: int) -> None:
        if seed == evaluation_seed(0, 11):
            raise ValueError("a mistake")

    first = search(tmp_path, CellTask(fail=fail))
    with pytest.raises(FaultError, match="not mounted"):
        search(tmp_path, NotThere(), resume=True)
    trials = read_history(tmp_path).trials
    assert (trials.finished, trials.picked) == ("budget", first.trials.picked)
    assert trials.counts["failed"] == 1


def test_finalists_without_a_task_for_them_fail_instead_of_being_mixed(tmp_path: Path) -> None:
    class Divided(CellTask):
        def for_finalists(self) -> Any:
            return CellTask()

    config = SearchConfig(finalists=2, finalist_seeds=1)
    events = Counting(fail_at="")

    class Cut(Counting):
        def on_event(self, event: Event, trials: Trials) -> None:
            if trials.finalists:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Divided(), config=config, observers=[Cut()])
    found = search(tmp_path, CellTask(), config=config, resume=True, observers=[events])
    failed = [trial for trial in found.trials.finalists if trial.status == "failed"]
    assert failed
    assert all(trial.apart for trial in failed)
    assert "no task for the finalists any more" in str([row.message for row in found.history().rows])


def test_finalists_are_evaluated_by_the_task_for_finalists(tmp_path: Path) -> None:
    """The second session runs what the first one left running with the same task."""

    class Divided(CellTask):
        """Scores finalists on other data, where one cell is far better than the rest."""

        def __init__(self, interrupt: bool = False, other: bool = False) -> None:
            super().__init__()
            self.interrupt, self.other = interrupt, other

        def for_finalists(self) -> Any:
            return None if self.other else Divided(self.interrupt, other=True)

        def evaluate(self, spec: Any, fidelity: float, seed: int, report: Any, checkpoint: Any) -> Score:
            if not self.other:
                return super().evaluate(spec, fidelity, seed, report, checkpoint)
            if self.interrupt:
                raise KeyboardInterrupt
            return Score(100.0 + len(set(spec)))

    config = SearchConfig(finalists=3, finalist_seeds=1, pick="reward")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Divided(interrupt=True), config=config)
    result = search(tmp_path, Divided(), config=config, resume=True)
    assert all(trial.apart for trial in result.trials.finalists)
    assert not any(trial.apart for trial in result.trials.search)
    rewards = [rewards for (rewards,) in finalist_rewards(result.trials).values()]
    assert len(rewards) == 3
    assert min(rewards) > 100
    assert max((trial.rewards or (0.0,))[0] for trial in result.trials.search) < 100
    page = write_report(tmp_path).read_text()
    assert "some that no trial of the search was scored on" in page


def test_more_trials_after_the_finalists_are_those_of_a_longer_search(tmp_path: Path) -> None:
    config = SearchConfig(finalists=2)
    search(tmp_path / "a", trials=10, config=config)
    more = search(tmp_path / "a", trials=25, config=config, resume=True).trials
    whole = search(tmp_path / "b", trials=25, config=config).trials
    assert picture(more) == picture(whole)
    assert [t.seed for t in more.search] == [t.seed for t in whole.search]
    assert set(best_by_reward(more, 2)) <= set(finalist_rewards(more))


class Counting:
    """Counts the events of each kind, and fails at the first one of a kind if it shall."""

    def __init__(self, fail_at: str = "") -> None:
        self.kinds: Counter[str] = Counter()
        self.fail_at, self.closed = fail_at, 0

    def on_event(self, event: Event, trials: Trials) -> None:
        self.kinds[event.kind] += 1
        if event.kind == self.fail_at:
            raise ConnectionError("nobody listens")

    def close(self) -> None:
        self.closed += 1


def test_finalists_survive_faults_and_go_by_the_objective(tmp_path: Path) -> None:
    in_search = {evaluation_seed(0, number) for number in range(20)}
    seen: Counter[int] = Counter()

    def fail(spec: tuple[str, ...], seed: int) -> None:
        seen[seed] += 1
        if seed not in in_search and seen[seed] == 1:
            raise TaskFailureError("infrastructure", "a node went away")

    config = SearchConfig(finalists=2, objective=Objective(maximize=("macs",)))
    result = search(tmp_path, CellTask(fail=fail), trials=20, config=config)
    assert [len(rewards) for rewards in finalist_rewards(result.trials).values()] == [2, 2]
    for trial in result.trials.finalists:
        assert (trial.status, trial.attempts, trial.faults) == ("completed", 2, 1)
        assert trial.score is not None
        assert trial.rewards == (trial.score.metrics["macs"],)


def test_what_still_runs_when_the_target_is_reached_does_not_disturb_the_finalists(tmp_path: Path) -> None:
    config = SearchConfig(target=0.48, finalists=2, finalist_seeds=1)
    result = search(tmp_path, trials=500, executor=SimulatedExecutor(8), config=config)
    assert result.reason == "target"
    assert [trial.status for trial in result.trials.finalists] == ["completed"] * 2
    assert {trial.finalist_of for trial in result.trials.finalists} <= {
        t.number for t in result.trials.search if t.status == "completed"
    }


def test_the_controller_never_hears_of_finalists(tmp_path: Path) -> None:
    told: list[int] = []

    class Watched(RandomSearch):
        def tell(self, proposal: Proposal, reward: Reward) -> None:
            told.append(proposal.number)

    config = SearchConfig(deterministic=False, finalists=3)
    search(tmp_path, controller=Watched(CellSpace(), 0), config=config)
    assert told == list(range(20))


def test_observers_get_every_event_and_one_that_fails_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy, failing = Counting(), Counting(fail_at="ended")
    search(tmp_path, trials=6, observers=[failing, healthy])
    assert healthy.kinds == Counter(event.kind for event in read_events(tmp_path))
    assert failing.kinds["ended"] == 1
    assert (healthy.closed, failing.closed) == (1, 1)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Counting failed" in error
    assert "ConnectionError: nobody listens; it gets no further events" in error


def test_an_observer_may_stop_the_search(tmp_path: Path) -> None:
    class Stopping(Counting):
        def on_event(self, event: Event, trials: Trials) -> None:
            super().on_event(event, trials)
            if self.kinds["ended"] == 3:
                raise SearchError("enough")

    stopping = Stopping()
    with pytest.raises(SearchError, match="enough"):
        search(tmp_path, observers=[stopping])
    assert stopping.closed == 1
    assert len(search(tmp_path, resume=True).trials.all) == 20


def test_a_search_in_memory_is_the_same_and_writes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = SearchConfig(finalists=2)
    space = CellSpace()
    found = run_search(space, RandomSearch(space, 0), CellTask(), LocalExecutor(), 20, None, config=config)
    assert list(tmp_path.iterdir()) == []
    kept = search(tmp_path / "kept", config=config)
    assert picture(found.trials) == picture(kept.trials)
    assert (found.best, found.reason) == (kept.best, kept.reason)


def test_a_search_in_a_journal_of_ones_own_goes_on(tmp_path: Path) -> None:
    journal, space = MemoryJournal(), CellSpace()

    def go(trials: int) -> Trials:
        controller = RandomSearch(space, 0)
        return run_search(
            space, controller, CellTask(), LocalExecutor(), trials, None, journal=journal
        ).trials

    go(8)
    assert picture(go(20)) == picture(search(tmp_path, trials=20).trials)


class HaltError(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_search_cut_off_anywhere_ends_as_if_it_had_not(
    tmp_path: Path, name: str, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cuts after the n-th write to the journal, for many n; on one worker both modes are repeatable."""
    config = SearchConfig(
        deterministic=deterministic, max_staleness=1 if deterministic else None, finalists=2
    )

    def go(folder: Path, resume: bool = False) -> Trials:
        controller = MAKERS[name](CellSpace())
        return search(folder, CellTask(), controller, trials=12, config=config, resume=resume).trials

    whole = go(tmp_path / "whole")
    assert [trial.status for trial in whole.finalists] == ["completed"] * 4
    writes = len(read_events(tmp_path / "whole"))
    original = SqliteJournal.write
    # The finalists write the last twelve events but one.
    for cut in [*random.Random(name).sample(range(1, writes - 12), 6), writes - 6]:
        left = cut

        def write(self: SqliteJournal, kind: str, trial: int | None, data: dict[str, Any]) -> Event:
            nonlocal left
            left -= 1
            if left < 0:
                raise HaltError
            return original(self, kind, trial, data)

        monkeypatch.setattr(SqliteJournal, "write", write)
        with pytest.raises(HaltError):
            go(tmp_path / str(cut))
        monkeypatch.setattr(SqliteJournal, "write", original)
        resumed = go(tmp_path / str(cut), resume=True)
        assert picture(resumed) == picture(whole), cut
        assert [t.rewards for t in resumed.finalists] == [t.rewards for t in whole.finalists], cut


def test_more_trials_can_be_asked_for_later(tmp_path: Path) -> None:
    first = search(tmp_path / "a", trials=10)
    assert len(first.trials.all) == 10
    more = search(tmp_path / "a", trials=25, resume=True)
    assert picture(more.trials) == picture(search(tmp_path / "b", trials=25).trials)


def test_a_folder_that_holds_a_search_is_not_begun_anew(tmp_path: Path) -> None:
    search(tmp_path, trials=2)
    with pytest.raises(JournalError, match="already holds a search; to continue: nas resume"):
        search(tmp_path, trials=2)
    with pytest.raises(JournalError, match="other: no such folder"):
        search(tmp_path / "other", trials=2, resume=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(JournalError, match="file is a file; give the folder of a search"):
        search(tmp_path / "file", trials=2, resume=True)
    with pytest.raises(JournalError, match="file is a file; choose another run_dir="):
        search(tmp_path / "file", trials=2)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["metrics.json", "training.pt"])
def test_no_search_begins_in_the_folder_of_a_training(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(JournalError, match="holds a training; choose another run_dir="):
        search(tmp_path, trials=2)
    words = ["search", "task=synthetic", "executor=in_process", "trials=1", f"run_dir={tmp_path}"]
    assert main(words) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["config.yaml", name])
    assert (tmp_path / "config.yaml").read_text() == "seed: 1\n"


def test_a_start_that_was_cut_off_before_its_first_event_can_be_made_again(tmp_path: Path) -> None:
    open_journal(tmp_path, create=True).close()
    assert not holds_search(tmp_path)
    assert len(search(tmp_path, trials=3).trials.all) == 3
    assert holds_search(tmp_path)


def test_two_searches_cannot_share_a_folder(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, create=True)
    try:
        with pytest.raises(
            FolderInUseError, match=f"in use by another search or training .process {os.getpid()}"
        ):
            open_journal(tmp_path, create=False)
    finally:
        journal.close()
    open_journal(tmp_path, create=False).close()


def test_another_controller_cannot_go_on(tmp_path: Path) -> None:
    search(tmp_path, trials=5)
    before = (tmp_path / JOURNAL_FILE).read_bytes()
    with pytest.raises(JournalError, match="differs from what the controller proposes now"):
        search(tmp_path, None, RandomSearch(CellSpace(), 99), trials=5, resume=True)
    assert (tmp_path / JOURNAL_FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "empty", "garbage"])
def test_a_damaged_journal_is_said_and_left_alone(tmp_path: Path, damage: str) -> None:
    search(tmp_path, trials=60)
    path = tmp_path / JOURNAL_FILE
    content = path.read_bytes()
    assert len(content) > 20_000
    changed = {
        "truncated": content[: len(content) // 2],
        "overwritten": content[:8192] + os.urandom(4096) + content[12288:],
        "empty": b"",
        "garbage": b"not a database" * 500,
    }[damage]
    path.write_bytes(changed)
    for attempt in (lambda: search(tmp_path, resume=True), lambda: read_events(tmp_path)):
        with pytest.raises(JournalError, match="damaged"):
            attempt()
    assert path.read_bytes() == changed


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    search(tmp_path, trials=2)
    connection = sqlite3.connect(tmp_path / JOURNAL_FILE)
    connection.execute("PRAGMA user_version=99")
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="version 99, this program knows 2; update"):
        search(tmp_path, resume=True)


def test_a_folder_of_an_older_layout_is_refused_in_one_line(tmp_path: Path) -> None:
    search(tmp_path, trials=2)
    connection = sqlite3.connect(tmp_path / JOURNAL_FILE)
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()
    for attempt in (lambda: search(tmp_path, resume=True), lambda: read_events(tmp_path)):
        with pytest.raises(
            JournalError, match=r"older program \(layout 1, this program writes 2\); start a new"
        ):
            attempt()


def test_a_read_only_disk_can_be_read_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not yet moved from the log into the file is read too."""
    search(tmp_path, trials=5)
    kept = read_events(tmp_path)
    journal = open_journal(tmp_path, create=False)
    journal.write("reported", 4, {"step": 9, "reward": 0.5, "metrics": {}})
    monkeypatch.setattr("nas.journal.reading.os.access", lambda *_: False)
    assert len(read_events(tmp_path)) == len(kept) + 1
    assert [e.data for e in read_events(tmp_path)][: len(kept)] == [e.data for e in kept]
    journal.close()


def test_a_full_disk_stops_with_a_line_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, pages = sqlite3.connect, 4

    def connect_to_a_small_disk(*arguments: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **more)
        connection.execute(f"PRAGMA max_page_count={pages}")
        return connection

    monkeypatch.setattr("sqlite3.connect", connect_to_a_small_disk)
    journal = open_journal(tmp_path / "probe", create=True)

    def fill() -> None:
        for number in range(10_000):
            journal.write("reported", number, {"step": 1, "reward": 0.5, "metrics": {}, "text": "x" * 500})

    with pytest.raises(JournalWriteError, match="the disk is full"):
        fill()
    kept = sum(1 for _ in journal.events())
    journal.close()
    assert len(read_events(tmp_path / "probe")) == kept > 0

    pages = 12
    with pytest.raises(JournalWriteError, match="the disk is full"):
        search(tmp_path / "run", trials=200)
    monkeypatch.undo()
    result = search(tmp_path / "run", trials=200, resume=True)
    assert picture(result.trials) == picture(search(tmp_path / "other", trials=200).trials)


def test_a_metric_of_the_task_is_not_replaced_by_a_feature_of_the_graph() -> None:
    class Own:
        def evaluate(self, spec: object) -> Score:
            return Score(0.5, {"excess": 42.0})

    result = run_search(SPACE, RandomSearch(SPACE, 0), adapt(Own()), LocalExecutor(), 1, None)
    assert result.best is not None
    assert result.best.score is not None
    assert result.best.score.metrics["excess"] == 42
    assert "edges_far" in result.best.score.metrics


def test_a_trial_is_retried_as_often_as_the_configuration_says() -> None:
    class Broken:
        def evaluate(self, spec: object) -> float:
            raise TaskFailureError("infrastructure", "the disk is gone")

    space = ChoiceSpace({"a": ["x", "y"]})
    for retries in (0, 2):
        config = SearchConfig(retries=retries, max_failures=1.0)
        result = run_search(
            space, RandomSearch(space, 0), adapt(Broken()), LocalExecutor(), 1, None, config=config
        )
        assert result.trials.all[0].attempts == retries + 1


@pytest.mark.parametrize(("saves", "attempts"), [(False, 3), (True, 11)])
def test_steps_after_the_last_checkpoint_are_no_progress_of_a_trial(
    tmp_path: Path, saves: bool, attempts: int
) -> None:
    class BreaksDown:
        calls = 0

        def evaluate(self, spec: object, checkpoint: Path) -> float:
            self.calls += 1
            if self.calls > 10:
                return 0.5
            saved = self.calls if saves else 0
            write_progress(checkpoint, Progress(step=self.calls, steps=1000, saved=saved))
            raise TaskFailureError("infrastructure", "an illegal memory access")

    task, space = BreaksDown(), ChoiceSpace({"a": ["x", "y"]})
    config = SearchConfig(retries=2, max_failures=1.0)
    run_search(space, RandomSearch(space, 0), adapt(task), LocalExecutor(), 1, tmp_path, config=config)
    assert task.calls == attempts
