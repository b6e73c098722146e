"""What a resumed search may not change, and what must come out as if it had never been cut off."""

from __future__ import annotations

import json
import logging
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest

from controllers import Proposal, RandomSearch
from controllers.evidence import Evidence
from nas.executors import SimulatedExecutor
from nas.executors.job import Decision, InterruptedEvaluationError
from nas.executors.local_executor import LocalExecutor
from nas.executors.on_ray.second_copy import FOLDER
from nas.journal.errors import JournalError
from nas.journal.event import Event
from nas.journal.history import read_history
from nas.journal.reading import read_events
from nas.journal.store import MemoryJournal, SqliteJournal
from nas.journal.trials import Trial, Trials, finalist_rewards
from nas.search.config import SearchConfig, default_staleness
from nas.search.halving import HalvingScheduler
from nas.search.loop import run_search
from nas.search.objective import Objective
from nas.search.pruning import PruningScheduler
from nas.search.result import SearchResult
from nas.search.scheduler import FullTraining
from proxy_tasks.adapted_task import adapt
from proxy_tasks.engine.progress import Progress, write_progress
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import Genotype, Space, published_space
from search_space.choices import ChoiceSpace
from tests.nas.search.small_training import count_steps, small_training

SPACE = published_space("r35-sp18")


def search(folder: Path, task: Any, trials: int, space: Space = SPACE, **more: Any) -> SearchResult:
    controller = more.pop("controller", None) or RandomSearch(space, 0)
    return run_search(space, controller, task, LocalExecutor(), trials, folder, **more)


class Cut(KeyboardInterrupt):
    """The process ends here."""


@dataclass
class Given:
    """Proposes what it is given."""

    genotypes: list[Genotype]
    asked: int = 0

    def ask(self) -> Proposal:
        self.asked += 1
        return Proposal(self.asked - 1, self.genotypes[self.asked - 1])

    def tell(self, proposal: Proposal, reward: object) -> None:
        pass


@pytest.mark.parametrize("other", [{"minimize": ["seconds"]}, {"limits": {"seconds": 5.0}}])
def test_a_search_keeps_its_objective(tmp_path: Path, other: dict[str, Any]) -> None:
    search(tmp_path, SyntheticTask(), 6)
    before = list(read_events(tmp_path))
    with pytest.raises(JournalError, match="began with the objective"):
        search(tmp_path, SyntheticTask(), 8, resume=True, config=SearchConfig(objective=Objective(**other)))
    assert list(read_events(tmp_path)) == before
    assert len(search(tmp_path, SyntheticTask(), 8, resume=True).trials.all) == 8


def test_a_search_keeps_what_its_genotypes_stand_for(tmp_path: Path) -> None:
    one, other = (ChoiceSpace({"a": ["1", "2", x], "b": ["1", "2"]}) for x in "34")

    class Short:
        def evaluate(self, spec: tuple[str, ...]) -> float:
            return float(spec[0])

    search(tmp_path, Short(), 10, one)
    with pytest.raises(JournalError, match=r"what its genotype stands for now.*space.*changed"):
        search(tmp_path, Short(), 12, other, resume=True)


def test_a_failed_network_that_several_wait_for_is_trained_once_more_only(tmp_path: Path) -> None:
    class OnceFailing:
        def __init__(self) -> None:
            self.seen: Counter[str] = Counter()

        def evaluate(self, spec: tuple[str, ...], seed: int) -> float:
            self.seen[spec[0]] += 1
            if self.seen[spec[0]] == 1:
                raise TaskFailureError("diverged", "once")
            return float(self.seen[spec[0]])

    space = ChoiceSpace({"a": ["1", "2"]})
    more: dict[str, Any] = {"space": space, "config": SearchConfig(max_failures=1.0)}
    task = OnceFailing()
    whole = search(tmp_path / "whole", task, 3, controller=Given([(0,), (0,), (0,)]), **more)

    class CutAtTheFirstEnd:
        def on_event(self, event: Event, trials: Trials) -> None:
            if event.kind == "ended":
                raise Cut

        def close(self) -> None:
            pass

    task = OnceFailing()
    with pytest.raises(Cut):
        search(
            tmp_path / "cut",
            task,
            3,
            controller=Given([(0,), (0,), (0,)]),
            observers=[CutAtTheFirstEnd()],
            **more,
        )
    resumed = search(tmp_path / "cut", task, 3, controller=Given([(0,), (0,), (0,)]), resume=True, **more)
    assert [t.status for t in whole.trials.all] == ["failed", "completed", "cached"]
    assert [t.rewards for t in resumed.trials.all] == [t.rewards for t in whole.trials.all]
    assert task.seen["1"] == 2


@dataclass
class Climbing:
    """Reports four times; ends the process after a report if it shall, and goes on after it from there."""

    cut_at: int | None = None
    done: dict[str, int] = field(default_factory=dict)
    trained: int = 0

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        reward = SyntheticTask().evaluate(spec, fidelity, seed, lambda *_: None, None).reward
        for step in range(self.done.get(str(checkpoint), 0), 4):
            self.done[str(checkpoint)] = step + 1
            self.trained += 1
            report(step, Score(reward * (step + 1) / 4))
            if self.trained == self.cut_at:
                raise Cut
        return Score(reward)


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=2),
        optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4, reduction_factor=2),
    ],
    ids=["median", "asha", "hyperband"],
)
def test_a_pruner_prunes_and_gives_the_same_verdicts_after_cuts(tmp_path: Path, pruner: Any) -> None:
    config = SearchConfig(scheduler=PruningScheduler(pruner))
    whole = search(tmp_path / "whole", Climbing(), 30, config=config).trials
    assert whole.counts["pruned"] > 2
    assert whole.counts["completed"] > 2
    for cut_at in (9, 30, 41):
        folder, task = tmp_path / str(cut_at), Climbing(cut_at)
        with pytest.raises(Cut):
            search(folder, task, 30, config=config)
        resumed = search(folder, task, 30, config=config, resume=True).trials
        assert [t.status for t in resumed.all] == [t.status for t in whole.all]
        assert [t.rewards for t in resumed.all] == [t.rewards for t in whole.all]


def test_pruned_trials_are_told_by_the_objective() -> None:
    class Erring:
        def evaluate(self, spec: Any, seed: int, report: Report) -> Score:
            error = 0.2 + (seed % 97) / 100
            for step in (0, 1):  # The task's own reward is not what is searched for.
                report(step, Score(error, {"error": error}))
            return Score(error, {"error": error})

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    config = SearchConfig(
        objective=Objective(maximize=[], minimize=["error"]), scheduler=PruningScheduler(pruner)
    )
    found = _in_memory(Erring(), config)
    pruned = [t.rewards[0] for t in found.all if t.status == "pruned" and t.rewards]
    completed = [t.rewards[0] for t in found.all if t.status == "completed" and t.rewards]
    assert len(pruned) > 3
    assert max(pruned) < 0
    assert sum(pruned) / len(pruned) < sum(completed) / len(completed)


def test_reports_that_the_objective_cannot_judge_end_no_trial() -> None:
    class Silent:
        def evaluate(self, spec: Any, seed: int, report: Report) -> Score:
            for step in (0, 1):  # The limit is exceeded, so that there is no reward yet.
                report(step, Score(seed % 97 / 97, {"cost": 3.0}))
            return Score(seed % 97 / 97, {"cost": 1.0})

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    objective = Objective(limits={"cost": 2.0})
    found = _in_memory(Silent(), SearchConfig(objective=objective, scheduler=PruningScheduler(pruner)))
    assert {trial.status for trial in found.all} == {"completed"}
    assert {len(trial.curve) for trial in found.all} == {0}


def test_a_metric_that_is_no_number_or_not_there_fails_its_trial_and_no_other() -> None:
    class Lacking:
        def __init__(self) -> None:
            self.count = 0

        def evaluate(self, spec: Any) -> Score:
            self.count += 1
            metrics = {2: {"AP": float("nan")}, 5: {}, 7: {"AP": float("inf")}}
            return Score(0.5, metrics.get(self.count, {"AP": 0.1 * self.count}))

    found = _in_memory(Lacking(), SearchConfig(objective=Objective(maximize=["AP"], limits={"AP": 0.95})))
    assert [t.number for t in found.all if t.status == "failed"] == [1, 4, 6]
    assert found.best == 8


def _in_memory(task: Any, config: SearchConfig) -> Trials:
    return run_search(SPACE, RandomSearch(SPACE, 0), task, LocalExecutor(), 20, None, config=config).trials


class Timed:
    """Takes as many simulated seconds as its spec says; later choices are better."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.seconds = seconds

    def evaluate(self, spec: tuple[str, ...]) -> Score:
        return Score(float(spec[0]), {"seconds": self.seconds.get(spec[0], 1.0 + float(spec[0]))})


TEN = ChoiceSpace({"a": list(range(10))})


def simulate(folder: Path, seconds: Mapping[str, float], workers: int, **more: Any) -> SearchResult:
    resume, observers = more.pop("resume", False), more.pop("observers", ())
    controller = more.pop("controller", None) or Given([(n,) for n in range(10)])
    trials, executor = more.pop("trials", 8), SimulatedExecutor(workers=workers)
    task: Any = Timed(seconds)
    config = SearchConfig(**more)
    return run_search(
        TEN,
        controller,
        task,
        executor,
        trials,
        folder,
        config=config,
        resume=resume,
        observers=observers,
    )


class CutAfter:
    """Ends the process after so many events of a kind."""

    def __init__(self, kind: str, count: int) -> None:
        self.kind, self.left = kind, count

    def on_event(self, event: Event, trials: Trials) -> None:
        if event.kind == self.kind:
            self.left -= 1
            if self.left == 0:
                raise Cut

    def close(self) -> None:
        pass


def test_what_still_ran_at_the_end_may_win_after_a_resume(tmp_path: Path) -> None:
    class Slow(Timed):
        def evaluate(self, spec: tuple[str, ...]) -> Score:
            time.sleep(0.05)
            return super().evaluate(spec)

    def run(resume: bool, wall_time: float) -> SearchResult:
        config, given = SearchConfig(wall_time=wall_time), Given([(n,) for n in range(4)])
        executor = LocalExecutor(workers=4)  # All four are submitted, and run one after the other.
        task: Any = Slow({})
        return run_search(TEN, given, task, executor, 4, tmp_path, config=config, resume=resume)

    first = run(False, 0.07)
    assert (first.reason, first.trials.counts["running"] > 0) == ("wall time", True)
    again = run(True, 1e6)
    assert again.best is not None
    assert (again.reason, again.best.number, again.trials.picked) == ("budget", 3, 3)
    assert json.loads((tmp_path / "winners" / "summary.json").read_text())["trial"] == 3


def test_what_still_ran_when_the_target_was_reached_may_become_a_finalist(tmp_path: Path) -> None:
    more: dict[str, Any] = {"finalists": 2, "finalist_seeds": 1, "seconds": {"7": 1000.0}, "workers": 8}
    first = simulate(tmp_path, target=6.0, **more)
    assert (first.reason, first.trials.all[7].status) == ("target", "running")
    again = simulate(tmp_path, target=6.5, resume=True, **more)
    assert again.best is not None
    assert again.best.number == 7
    assert {trial.finalist_of for trial in again.trials.finalists} == {5, 6, 7}


@dataclass(frozen=True)
class Lucky:
    """Its score has luck in it."""

    def evaluate(self, spec: tuple[str, ...], seed: int) -> float:
        return int(spec[0]) + 0.1 * int(spec[1]) + random.Random(seed).random()


def test_a_resume_may_have_more_finalists_and_evaluate_them_longer(tmp_path: Path) -> None:
    space = ChoiceSpace({"a": list(range(10)), "b": list(range(10))})

    def finalists(resume: bool, **more: Any) -> list[tuple[int | None, float]]:
        config = SearchConfig(finalist_seeds=1, **more)
        trials = search(tmp_path, Lucky(), 30, space, resume=resume, config=config).trials
        assert trials.picked is not None
        assert trials.picked in finalist_rewards(trials)
        return [(trial.finalist_of, trial.fidelity) for trial in trials.finalists]

    three = finalists(False, finalists=3)
    fifteen = finalists(True, finalists=15)
    assert fifteen[:3] == three
    assert len(set(fifteen)) == 15
    assert finalists(True, finalists=15) == fifteen
    longer = finalists(True, finalists=3, finalist_fidelity=2.0)
    assert longer == [*fifteen, *((number, 2.0) for number, _ in three)]
    assert set(finalist_rewards(read_history(tmp_path).trials)) == {number for number, _ in three}


def test_finalists_that_have_begun_are_evaluated_to_their_end(tmp_path: Path) -> None:
    """As without a cut: the wall time is not looked at while they run."""
    more: dict[str, Any] = {"finalists": 3, "finalist_seeds": 2, "seconds": {}, "workers": 2, "trials": 6}
    with pytest.raises(Cut):
        simulate(tmp_path, wall_time=1e9, observers=[CutAfter("ended", 8)], **more)
    again = simulate(tmp_path, wall_time=1e-9, resume=True, **more)
    assert (again.reason, [trial.status for trial in again.trials.finalists]) == ("budget", ["completed"] * 6)
    more["trials"] = 8
    assert simulate(tmp_path, wall_time=1e-9, resume=True, **more).reason == "wall time"


def test_a_resume_in_order_tells_each_reward_once(tmp_path: Path) -> None:
    class Told(Given):
        def __init__(self) -> None:
            super().__init__([(n % 10,) for n in range(30)])
            self.told: list[int] = []

        def tell(self, proposal: Proposal, reward: object) -> None:
            self.told.append(proposal.number)

    more: dict[str, Any] = {"seconds": {"0": 100.0}, "workers": 4, "trials": 30, "cache": False}
    with pytest.raises(Cut):
        simulate(
            tmp_path, deterministic=False, controller=Told(), observers=[CutAfter("observed", 8)], **more
        )
    controller = Told()
    assert simulate(tmp_path, controller=controller, resume=True, **more).reason == "budget"
    # The last ones are not needed by any proposal, and are not told.
    assert sorted(controller.told) == list(range(30 - default_staleness(4, 30, differ=False)))
    assert 0 not in controller.told[:8], "others were observed before the first one"


class Learning(Given):
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        super().__init__([(1,), (1,), (1,), *((n % 10,) for n in range(2, 20))])
        self.heard: list[tuple[str, int]] = []

    def tell(self, proposal: Proposal, reward: object) -> None:
        self.heard.append(("reward", proposal.number))

    def learn_evidence(self, proposal: Proposal, evidence: Evidence) -> None:
        self.heard.append((f"evidence at {evidence.length.fidelity}", proposal.number))


def test_a_controller_hears_the_same_again_where_the_source_of_a_score_had_failed(tmp_path: Path) -> None:
    class FirstFails:
        calls = 0

        def evaluate(self, spec: tuple[str, ...]) -> float:
            self.calls += 1
            if self.calls == 1:
                raise TaskFailureError("diverged", "once")
            return 1.0

    def run(controller: Learning, task: Any, resume: bool = False, **more: Any) -> SearchResult:
        config, executor = SearchConfig(fidelity=0.25, max_staleness=4), LocalExecutor(workers=4)
        return run_search(TEN, controller, task, executor, 12, tmp_path, config=config, resume=resume, **more)

    first, again, task = Learning(), Learning(), FirstFails()
    with pytest.raises(Cut):
        run(first, task, observers=[CutAfter("ended", 9)])
    trials = run(again, task, resume=True).trials
    assert [(trial.status, trial.shares) for trial in trials.search[:3]] == [
        ("failed", None),
        ("completed", None),
        ("cached", 1),
    ]
    assert ("evidence at 0.25", 2) in first.heard
    assert again.heard[: len(first.heard)] == first.heard
    rows = read_history(tmp_path).rows
    assert [row.shares for row in rows[:3]] == [None, None, 1]


def in_memory(task: Any, journal: MemoryJournal, trials: int, config: SearchConfig) -> SearchResult:
    """A search, or what is left of it."""
    controller = RandomSearch(SPACE, 0)
    return run_search(
        SPACE, controller, adapt(task), LocalExecutor(), trials, None, config=config, journal=journal
    )


def test_a_search_whose_reports_are_beyond_a_limit_is_resumed() -> None:
    class Slow:
        calls = 0

        def evaluate(self, spec: object, report: Report) -> Score:
            self.calls += 1
            score = Score(0.5, {"latency": 900.0})
            report(1, score)
            if self.calls == 1:
                raise Cut
            return score

    task, journal = Slow(), MemoryJournal()
    config = SearchConfig(objective=Objective(limits={"latency": 500.0}))
    with pytest.raises(Cut):
        in_memory(task, journal, 2, config)
    assert in_memory(task, journal, 2, config).trials.counts["completed"] == 2


def test_a_pause_that_got_lost_keeps_the_reward_of_its_step() -> None:
    """The first attempt finds no room for its state, and the second is killed at an earlier step."""

    class Halved:
        calls = 0

        def evaluate(self, spec: object, report: Report) -> Score:
            self.calls += 1
            report(1, Score(0.1))
            if self.calls == 2:
                raise Cut
            try:
                report(2, Score(0.9))
            except InterruptedEvaluationError:
                if self.calls > 1:
                    raise
                raise TaskFailureError("infrastructure", "no room for the checkpoint") from None
            return Score(1.0)

    task, journal = Halved(), MemoryJournal()
    with pytest.raises(Cut):
        in_memory(task, journal, 1, SearchConfig(scheduler=HalvingScheduler(rungs=(2,))))
    again = in_memory(task, journal, 1, SearchConfig(scheduler=HalvingScheduler(rungs=(2,))))
    trial = again.trials.all[0]
    assert (trial.status, trial.rewards) == ("paused", (0.9,))


def test_the_winners_files_tell_what_is_expected_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.reporting.winners.SECONDS_BETWEEN", 0.0)  # The last trial's end is written.
    monkeypatch.setattr("nas.reporting.winners.TIMES_LONGER", 0.0)
    search(tmp_path, Lucky(), 20, ChoiceSpace({"a": list(range(10)), "b": list(range(10))}))
    summary = json.loads((tmp_path / "winners" / "summary.json").read_text())
    expected = read_history(tmp_path).trials.expected
    assert summary["expected_reward"] == expected[summary["trial"]]
    assert "expected_reward" in json.loads((tmp_path / "winners" / "pareto.json").read_text())[0]


def test_a_resume_looks_for_no_checkpoint_that_was_removed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(tmp_path, Climbing(), 20)
    looked: list[str] = []
    monkeypatch.setattr("nas.search.checkpoints._remove", lambda folder: looked.append(folder.parent.name))
    search(tmp_path, Climbing(), 22, resume=True)
    # The record does not tell whether that of the last trial of a session was removed.
    assert sorted(set(looked)) == ["19", "20", "21"]
    assert not list(tmp_path.glob("trials/*/checkpoint/*"))


class KeepsAll(FullTraining):
    """Pauses all trials, and counts how often it is asked whether one may go on."""

    asked = 0

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        return Decision.PAUSE

    def may_resume(self, trial: Trial) -> bool:
        KeepsAll.asked += 1
        return True


def test_a_resume_does_not_look_at_all_that_waits_before_each_trial_of_the_record(tmp_path: Path) -> None:
    trials = 64
    config = SearchConfig(scheduler=KeepsAll(), pick="reward")
    search(tmp_path, Climbing(), trials, config=config)
    KeepsAll.asked = 0
    search(tmp_path, Climbing(), trials, config=config, resume=True)
    assert KeepsAll.asked < 4 * trials


def test_a_resume_that_takes_long_to_go_through_its_record_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    search(tmp_path, SyntheticTask(), 20)
    monkeypatch.setattr("nas.search.restoring.READING_SECONDS", -1.0)
    with caplog.at_level(logging.INFO, logger="nas.notices"):
        search(tmp_path, SyntheticTask(), 20, resume=True)
    assert caplog.messages[0] == "going through the record: 0 trials so far"
    assert caplog.messages[-1] == "going through the record: 20 trials so far"


@pytest.mark.parametrize(("of_the_copy", "goes_on_from"), [(5000, 5000), (50, 100)])
def test_a_killed_search_goes_on_from_the_later_checkpoint_of_two_workers(
    tmp_path: Path, of_the_copy: int, goes_on_from: int
) -> None:
    def write_state(checkpoint: Path, step: int) -> None:
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / "state").write_text(str(step))
        write_progress(checkpoint, Progress(step=step, steps=10_000, saved=step))

    class Killed:
        """Two workers have its second trial when the process ends."""

        began: list[int]

        def evaluate(self, spec: object, checkpoint: Path) -> float:
            state = checkpoint / "state"
            self.began.append(int(state.read_text()) if state.exists() else 0)
            if len(self.began) == 2:
                write_state(checkpoint, 100)
                write_state(checkpoint.parent / FOLDER / checkpoint.name, of_the_copy)
                raise Cut
            return 0.5

    task = Killed()
    task.began = []
    with pytest.raises(Cut):
        search(tmp_path, task, 3)
    search(tmp_path, task, 3, resume=True)
    assert task.began == [0, 0, goes_on_from, 0]
    assert not list(tmp_path.glob(f"trials/*/{FOLDER}"))


def test_a_training_that_was_over_when_the_search_was_killed_is_only_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, steps, write = small_training(tmp_path / "cache", 3), count_steps(monkeypatch), SqliteJournal.write
    whole = search(tmp_path / "whole", task, 1).trials.all[0]

    def cut_at_the_end(journal: SqliteJournal, kind: str, *more: Any) -> Event:
        if kind == "ended":
            raise Cut
        return write(journal, kind, *more)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteJournal, "write", cut_at_the_end)
        with pytest.raises(Cut):
            search(tmp_path / "cut", task, 1)
    assert len(steps) == 2 * 3
    resumed = search(tmp_path / "cut", task, 1, resume=True).trials.all[0]
    assert len(steps) == 2 * 3, "no step is trained again"
    assert whole.score is not None
    assert resumed.score is not None
    changing = {"training_seconds": 0.0}
    assert {**resumed.score.metrics, **changing} == {**whole.score.metrics, **changing}
    assert (resumed.status, resumed.rewards) == ("completed", whole.rewards)
    assert not list(tmp_path.glob("*/trials/*/checkpoint")), "once the score is recorded, the state goes"
