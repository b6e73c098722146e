"""The scheduler seam: trials that are paused, promoted and continued, in process, after cuts, and on Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controllers import BudgetFilter, Proposal, RandomSearch, Reward
from controllers.controller import AskTell
from nas.executors import LocalExecutor, RayExecutor, SimulatedExecutor
from nas.journal.trials import Trial, Trials
from nas.plugins.faults import FaultError
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.objective import Objective
from nas.search.rewards import TrialRewards
from nas.search.scheduler import Decision, FullTraining, Promotion, Scheduler
from proxy_tasks.task import Score
from search_space import published_space
from tests.nas.search.small_training import count_steps, small_training
from tests.nas.search.stepwise import STEPS, Stepwise, check_cuts, picture, search, stepwise
from tests.search_space.cell_space import CellSpace


@dataclass
class Halving(FullTraining):
    """Pauses every trial at step 2, and continues the better half of every four.

    Args:
        fidelity: of the promoted trials; None for the same evaluation.
    """

    fidelity: float | None = None
    paused: list[Trial] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        return Decision.PAUSE if trial.resume_from is None and step == 2 else Decision.CONTINUE

    def observe(self, trial: Trial) -> None:
        if trial.status == "paused":
            self.paused.append(trial)
        if len(self.paused) == 4:
            best = sorted(self.paused, key=lambda paused: paused.rewards or (0.0,), reverse=True)
            self.promotions += [Promotion(paused.number, self.fidelity) for paused in best[:2]]
            self.paused.clear()

    def promote(self) -> Promotion | None:
        return self.promotions.pop(0) if self.promotions else None

    def may_resume(self, trial: Trial) -> bool:
        return trial in self.paused or any(wish.trial == trial.number for wish in self.promotions)


@pytest.mark.parametrize("fidelity", [None, 2.0])
def test_paused_trials_are_promoted_and_go_on_from_their_checkpoints(
    tmp_path: Path, fidelity: float | None
) -> None:
    task = stepwise(tmp_path / "trace")
    trials = search(tmp_path / "run", task, Halving(fidelity)).trials
    promoted = [trial for trial in trials.search if trial.promoted]
    assert len(promoted) >= 6
    assert {trial.status for trial in trials.search if not trial.promoted} == {"paused"}
    for trial in promoted:
        assert trial.resume_from is not None
        source = trials.all[trial.resume_from]
        assert (trial.genotype, trial.key, trial.seed) == (source.genotype, source.key, source.seed)
        assert (trial.status, trial.fidelity) == ("completed", fidelity or 1.0)
        assert source.status == "paused"
        # No step is trained twice.
        assert task.trained(trial.seed) == list(range(1, round(STEPS * (fidelity or 1.0)) + 1))
    for four in range(0, 16, 4):
        group = [t for t in trials.search if not t.promoted][four : four + 4]
        chosen = {t.resume_from for t in promoted} & {t.number for t in group}
        if chosen:
            best = sorted(group, key=lambda t: t.rewards or (0.0,), reverse=True)[:2]
            assert chosen <= {t.number for t in best}
    assert trials.best is not None
    assert trials.all[trials.best].promoted


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_promotions_are_the_same_on_any_number_of_workers(workers: int) -> None:
    alone = search(None, Stepwise(), Halving()).trials
    assert picture(search(None, Stepwise(), Halving(), SimulatedExecutor(workers)).trials) == picture(alone)


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_search_with_promotions_cut_off_anywhere_ends_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    check_cuts(tmp_path, monkeypatch, Halving, deterministic)


def test_checkpoints_live_as_long_as_a_trial_can_go_on_from_them(tmp_path: Path) -> None:
    trials = search(tmp_path / "run", stepwise(tmp_path / "trace"), Halving(), trials=26).trials
    kept = {int(path.parent.name) for path in (tmp_path / "run" / "trials").glob("*/checkpoint")}
    gone = {t.number for t in trials.search if t.status != "paused"}
    gone |= {t.resume_from for t in trials.search if t.resume_from is not None}
    assert not kept & gone
    assert kept
    assert kept <= {t.number for t in trials.search if t.status == "paused"}
    full = search(tmp_path / "full", stepwise(tmp_path / "other trace"), None).trials
    assert full.counts["completed"] == 24
    assert not list((tmp_path / "full").glob("trials/*/checkpoint"))


def test_the_controller_is_told_each_of_its_own_proposals_once() -> None:
    told: list[tuple[int, Reward]] = []

    class Watched(RandomSearch):
        def tell(self, proposal: Proposal, reward: Reward) -> None:
            told.append((proposal.number, reward))

    controller = Watched(published_space("r35-sp18"), 0)
    trials = search(None, Stepwise(), Halving(), controller=controller).trials
    own = [t for t in trials.search if not t.promoted and t.observed]
    assert told == [(i, (t.rewards or (None,))[0]) for i, t in enumerate(own)]


class Doubling(RandomSearch):
    """Proposes each network at fidelity 1/3 and then, going on from there, at fidelity 1."""

    def ask(self) -> Proposal:
        if self._asked % 2 == 0:
            proposal = super().ask()
            self.last = proposal
            return Proposal(proposal.number, proposal.genotype, fidelity=1 / 3)
        self._asked += 1
        return Proposal(self._asked - 1, self.last.genotype, 1.0, self.last.number)


class DoublingAndKeeping(Doubling):
    """Says itself which checkpoints it needs."""

    def may_resume(self, proposal: Proposal) -> bool:
        return proposal.number % 2 == 0


class KeepingScheduler(FullTraining):
    """Keeps them for the controller."""

    def may_resume(self, trial: Trial) -> bool:
        return trial.resume_from is None


def double(controller: AskTell, folder: Path, scheduler: Scheduler | None) -> tuple[Trials, Stepwise]:
    space, task = published_space("r35-sp18"), stepwise(folder / "trace")
    config = SearchConfig(scheduler=scheduler, max_staleness=1)
    found = run_search(space, controller, task, LocalExecutor(), 8, folder / "run", config=config)
    return found.trials, task


def passing(controller: AskTell) -> BudgetFilter:
    space = published_space("r35-sp18")
    return BudgetFilter(controller, space.decode, lambda _: {"cost": 1.0}, {"cost": 1.0})


@pytest.mark.parametrize(
    ("make", "scheduler", "wrap"),
    [
        (Doubling, KeepingScheduler(), lambda controller: controller),
        (DoublingAndKeeping, None, lambda controller: controller),
        (DoublingAndKeeping, None, passing),
    ],
    ids=["the scheduler keeps", "the controller keeps", "behind a filter"],
)
def test_a_controller_may_propose_fidelities_and_checkpoints_to_go_on_from(
    make: type[Doubling],
    scheduler: Scheduler | None,
    wrap: Callable[[AskTell], AskTell],
    tmp_path: Path,
) -> None:
    trials, task = double(wrap(make(published_space("r35-sp18"), 0)), tmp_path, scheduler)
    assert [t.resume_from for t in trials.search] == [None, 0, None, 2, None, 4, None, 6]
    assert [t.fidelity for t in trials.search] == [1 / 3, 1.0] * 4
    assert all(task.trained(t.seed) == list(range(1, STEPS + 1)) for t in trials.search)


def test_a_training_goes_on_from_one_that_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, task = published_space("r35-sp18"), small_training(tmp_path / "cache", 3)
    steps, config = count_steps(monkeypatch), SearchConfig(max_staleness=1)
    controller = DoublingAndKeeping(space, 0)
    found = run_search(space, controller, task, LocalExecutor(), 2, tmp_path / "run", config=config).trials
    assert [trial.status for trial in found.search] == ["completed"] * 2
    assert len(steps) == 3, "of the second trial, the step of the first one is not trained again"
    score, last = found.search[1].score, found.search[1]
    anew = task.evaluate(space.decode(last.genotype), 1.0, last.seed, lambda *_: None, None)
    assert score is not None
    assert (score.reward, score.metrics["loss"]) == (anew.reward, anew.metrics["loss"])


def test_going_on_from_a_checkpoint_that_nobody_keeps_is_the_controllers_fault(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"checkpoint of trial 0 was removed .* may_resume"):
        double(Doubling(published_space("r35-sp18"), 0), tmp_path, None)


def test_the_cache_knows_fidelities() -> None:
    class Alternating(RandomSearch):
        def ask(self) -> Proposal:
            self._asked += 1
            return Proposal(self._asked - 1, (0, 0, 0, 4, 4, 4), fidelity=(0.5, 1.0)[(self._asked - 1) % 2])

    space = CellSpace()
    config = SearchConfig(max_staleness=1)
    trials = run_search(
        space, Alternating(space, 0), Stepwise(), LocalExecutor(), 6, None, config=config
    ).trials
    assert [t.status for t in trials.search] == ["completed", "completed", *["cached"] * 4]
    assert [t.source for t in trials.search] == [None, None, 0, 1, 0, 1]
    assert trials.front == [1], "rewards of a lower fidelity are not compared"


def test_a_scheduler_that_fails_is_named() -> None:
    class Greedy(FullTraining):
        def promote(self) -> Promotion | None:
            return Promotion(3)

    class Broken(FullTraining):
        def observe(self, trial: Trial) -> None:
            raise KeyError("rung")

    class Vague(FullTraining):
        def report(self, trial: Trial, step: int, reward: float) -> Any:
            return True

    with pytest.raises(FaultError, match=r"Greedy.promote: there is no trial 3 to go on from"):
        search(None, Stepwise(), Greedy())
    with pytest.raises(FaultError, match=r"KeyError in Broken.observe: 'rung'"):
        search(None, Stepwise(), Broken())
    with pytest.raises(FaultError, match=r"Vague.report must give a Decision, not True"):
        search(None, Stepwise(), Vague())


def test_pruned_and_paused_trials_are_scored_by_the_objective() -> None:
    config = {"objective": Objective(maximize=[], minimize=["reward"])}
    trials = search(None, Stepwise(), Halving(), config=config).trials
    assert {trial.status for trial in trials.search} >= {"completed", "paused"}
    for trial in trials.search:
        assert trial.score is not None
        assert trial.rewards == (-trial.score.reward,)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_promotions_on_ray_are_those_in_one_process(tmp_path: Path) -> None:
    task = stepwise(tmp_path / "trace")
    found = search(tmp_path / "ray", task, Halving(), RayExecutor(workers=2), trials=12).trials
    assert picture(found) == picture(search(None, Stepwise(), Halving(), trials=12).trials)
    promoted = [trial for trial in found.search if trial.promoted]
    assert promoted
    for trial in promoted:
        assert task.trained(trial.seed) == list(range(1, STEPS + 1))


def test_a_limit_that_no_report_tells_leaves_reports_their_rewards() -> None:
    """What a limit is set to may be known at the end of a training alone, such as its latency."""
    rewards = TrialRewards(objective=Objective(limits={"latency_ms": 5.0}), trials=Trials(), scheduled=True)
    trial = Trial(0, Proposal(0, ()), "key", 0, 1.0)
    assert rewards.of_report(trial, Score(0.5, {})) == 0.5
