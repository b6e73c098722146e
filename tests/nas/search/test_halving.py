"""Successive halving: who is paused, who goes on, and that nothing of it depends on cuts and workers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from controllers import PredictorSearch, Proposal, RandomSearch, ZeroCostFilter
from controllers.posterior import Posterior
from nas.cli.main import main
from nas.config import load_task
from nas.executors import LocalExecutor, SimulatedExecutor
from nas.executors.job import Job
from nas.journal.event import Event
from nas.journal.trials import Trial, Trials
from nas.reporting.trial_table import trial_rows
from nas.search.halving import HalvingScheduler, order
from nas.search.objective import Objective, ObjectiveError
from nas.search.scheduler import Decision, Promotion
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score
from search_space import Genotype, Space, published_space
from search_space.choices import ChoiceSpace
from tests.nas.search.stepwise import STEPS, Stepwise, check_cuts, picture, search, stepwise


def chain(trials: Trials, trial: Trial) -> list[Trial]:
    """A trial and those that it goes on from, the first one first."""
    found = [trial]
    while found[0].resume_from is not None:
        found.insert(0, trials.all[found[0].resume_from])
    return found


CHOICES = ChoiceSpace({str(i): list(range(10)) for i in range(8)})


def halving(**more: Any) -> HalvingScheduler:
    return HalvingScheduler(rungs=(1, 3), **more)


def test_a_limit_of_what_is_measured_at_the_end_alone_lets_trials_be_paused() -> None:
    class Measured(Stepwise):
        """Knows at the end how long its network takes."""

        def evaluate(self, *arguments: Any) -> Score:
            return Score(super().evaluate(*arguments).reward, {"latency_ms": 3.0})

    config = {"objective": Objective(limits={"latency_ms": 5.0})}
    found = search(None, Measured(), halving(), trials=8, config=config).trials
    assert found.counts["completed"]
    assert found.counts["paused"]
    assert all(trial.rewards for trial in found.search if trial.status == "paused")


def test_of_two_at_a_rung_the_better_one_goes_on_from_where_it_was(tmp_path: Path) -> None:
    task = stepwise(tmp_path / "trace")
    trials = search(tmp_path / "run", task, halving(random=0), trials=40, config={"max_staleness": 1}).trials
    arrived: dict[int, list[Trial]] = {0: [], 1: []}
    gone: set[int] = set()
    for trial in trials.search:
        if trial.resume_from is not None:
            source = trials.all[trial.resume_from]
            rung = len(chain(trials, source)) - 1
            waiting = [t for t in arrived[rung] if t.number not in gone and t.number < trial.number]
            assert source.rewards == max(t.rewards for t in waiting if t.rewards is not None)
            gone.add(source.number)
        if trial.status == "paused":
            arrived[len(chain(trials, trial)) - 1].append(trial)
    for rung in (0, 1):
        promoted = sum(trial.number in gone for trial in arrived[rung])
        assert promoted == len(arrived[rung]) // 2
    assert [len(arrived[0]), len(arrived[1])] == [40, 20]
    finished = [trial for trial in trials.search if trial.status == "completed"]
    assert len(finished) == 10
    for trial in finished:
        assert [len(t.curve) for t in chain(trials, trial)] == [1, 3, 4], "each begins with a known step"
        assert task.trained(trial.seed) == list(range(1, STEPS + 1)), "no step is trained twice"


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_cut_at_any_transition_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    check_cuts(tmp_path, monkeypatch, lambda: halving(random=0.3), deterministic, count=10)


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_cut_changes_nothing_where_the_posterior_promotes_and_proposes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    check_cuts(
        tmp_path,
        monkeypatch,
        lambda: halving(random=0.3, space=CHOICES),
        deterministic,
        count=6,
        make_controller=lambda space: PredictorSearch(space, 0, initial=4),
    )


@pytest.mark.parametrize("what", ["proposals", "promotions"])
def test_a_search_goes_on_where_its_proposals_or_promotions_would_be_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As on another processor, which rounds otherwise: what is recorded counts."""

    def go(trials: int, **more: Any) -> Trials:
        controller: Any = RandomSearch(CHOICES, 0)
        if what == "proposals":
            predictor = PredictorSearch(CHOICES, 0, initial=4)
            controller = ZeroCostFilter(predictor, CHOICES.decode, lambda spec: float(spec[0]), 0.8)
        scheduler = halving(random=0.3, space=CHOICES if what == "promotions" else None)
        found = search(
            tmp_path / "run",
            Stepwise(),
            scheduler,
            trials=trials,
            space=CHOICES,
            controller=controller,
            **more,
        )
        return found.trials

    before = picture(go(16))
    predict, expect = Posterior.predict, Posterior.expect

    def worst_first(self: Posterior, genotypes: Any) -> Any:
        mean, deviation = predict(self, genotypes)
        return -10 * mean, deviation

    def other_way(self: Posterior, *, own: bool) -> dict[int, float]:
        return {number: -reward for number, reward in expect(self, own=own).items()}

    monkeypatch.setattr(Posterior, "predict", worst_first)
    monkeypatch.setattr(Posterior, "expect", other_way)
    told: list[int] = []

    class Listening:
        def on_event(self, event: Event, trials: Trials) -> None:
            if event.kind == "session":
                told.append(event.data["recalled"])

        def close(self) -> None:
            pass

    after = go(32, resume=True, observers=[Listening()])
    assert picture(after)[: len(before)] == before
    assert len(after.proposed) == 32
    assert told[0] > (4 if what == "proposals" else 1)
    assert sum(trial.promoted for trial in after.search[: len(before)]) > 4
    # It goes on as it is, and again.
    monkeypatch.undo()
    again = go(33, resume=True, observers=[Listening()])
    assert picture(again)[: len(picture(after))] == picture(after)


@dataclass(frozen=True)
class Noisy:
    """What it comes to is told by the genotype, but for luck of the training, and noise of each report."""

    def evaluate(self, spec: tuple[str, ...], seed: int, report: Report) -> Score:
        rng = np.random.default_rng(seed)
        luck, score = 0.1 * rng.normal(), Score(0.0)
        for step in range(1, 5):
            noise = 0.1 * (1.25 - step / 4) * rng.normal()
            score = Score(step / 4 * (worth(spec) + luck) + noise)
            report(step, score)
        return score


FEW_LABELS = ChoiceSpace({str(i): list(range(3)) for i in range(6)})


def worth(spec: tuple[str, ...]) -> float:
    return (int(spec[0]) + int(spec[1])) / 4


def test_those_of_which_most_is_expected_go_on() -> None:
    """What is known of their like outweighs a short training's luck, so that better networks are trained."""
    ends: dict[bool, list[float]] = {}
    for learns in (True, False):
        for seed in range(20):
            trials = search(
                None,
                Noisy(),
                HalvingScheduler(random=0, space=FEW_LABELS if learns else None),
                trials=60,
                space=FEW_LABELS,
                controller=RandomSearch(FEW_LABELS, seed),
                config={"seed": seed, "max_staleness": 1},
            ).trials
            done = [t for t in trials.search if t.status == "completed"]
            ended = [worth(FEW_LABELS.decode(t.genotype)) for t in done]
            assert len(ended) >= 13, "some have one key, and share a score"
            ends.setdefault(learns, []).append(float(np.mean(ended)))
    assert stats.wilcoxon(ends[True], ends[False], alternative="greater").pvalue < 0.01


@pytest.mark.parametrize(("trials", "finished"), [(4, 1), (10, 2), (11, 2), (16, 4)])
def test_promotions_come_on_top_of_the_budget(trials: int, finished: int) -> None:
    """With the default lag no score is known before the last proposals are made."""
    found = search(None, Stepwise(), halving(), SimulatedExecutor(3), trials).trials
    assert (len(found.proposed), found.counts["completed"]) == (trials, finished)
    assert found.finished == "budget"
    assert found.proposals_over == trials
    assert found.best is not None


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_promotions_are_the_same_on_any_number_of_workers(workers: int) -> None:
    def go(executor: Any) -> Trials:
        return search(None, Stepwise(), halving(), executor, 40).trials

    assert picture(go(SimulatedExecutor(workers))) == picture(go(LocalExecutor()))


def test_a_lost_checkpoint_costs_the_steps_again_and_no_wrong_score(tmp_path: Path) -> None:
    class Losing(Stepwise):
        def evaluate(self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Any) -> Score:
            shutil.rmtree(checkpoint)
            checkpoint.mkdir()
            return super().evaluate(spec, fidelity, seed, report, checkpoint)

    whole = search(tmp_path / "whole", stepwise(tmp_path / "trace"), halving(), trials=20).trials
    (tmp_path / "other").mkdir()
    lossy = search(tmp_path / "run", Losing(str(tmp_path / "other")), halving(), trials=20).trials
    assert picture(lossy) == picture(whole)
    assert any(trial.status == "completed" for trial in lossy.search)


def test_the_disk_holds_no_more_than_those_that_wait(tmp_path: Path) -> None:
    trials = search(tmp_path / "run", stepwise(tmp_path / "trace"), halving(), trials=30).trials
    kept = {int(path.parent.name) for path in (tmp_path / "run" / "trials").glob("*/checkpoint")}
    sources = {trial.resume_from for trial in trials.search}
    assert kept <= {t.number for t in trials.search if t.status == "paused" and t.number not in sources}


def test_with_several_objectives_the_undominated_go_on() -> None:
    class Two(Stepwise):
        def evaluate(self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Any) -> Score:
            cost = float(seed % 7)

            def tell(step: int, score: Score) -> None:
                report(step, Score(score.reward, {"cost": cost}))

            found = super().evaluate(spec, fidelity, seed, tell, checkpoint)
            return Score(found.reward, {"cost": cost})

    config = {"objective": Objective(minimize=("cost",)), "max_staleness": 1}
    trials = search(None, Two(), halving(random=0), trials=40, config=config, controller=Pareto()).trials
    assert len([t for t in trials.search if t.status == "completed"]) >= 3
    assert all(t.rewards is not None and len(t.rewards) == 2 for t in trials.search)
    everyone = [(0.5, -1.0), (0.4, -2.0), (0.4, -0.5), (0.6, -3.0)]
    assert sorted(everyone, key=lambda r: order(r, everyone)) == [
        (0.6, -3.0),
        (0.5, -1.0),
        (0.4, -0.5),
        (0.4, -2.0),
    ]


class Pareto:
    """Random proposals for any number of objectives."""

    objectives = None

    def __init__(self) -> None:
        self.inner = RandomSearch(published_space("r35-sp18"), 0)

    def ask(self) -> Any:
        return self.inner.ask()

    def tell(self, proposal: Any, reward: Any) -> None:
        """Learns nothing."""


class Repeating(RandomSearch):
    """Proposes each network twice, far apart."""

    def ask(self) -> Proposal:
        proposal = super().ask()
        return (
            proposal if proposal.number < 20 else Proposal(proposal.number, self.made[proposal.number - 20])
        )

    def _propose(self) -> Genotype:
        genotype = super()._propose()
        self.made.append(genotype)
        return genotype

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        self.made: list[Genotype] = []
        self.told: dict[Genotype, list[Any]] = {}

    def tell(self, proposal: Proposal, reward: Any) -> None:
        self.told.setdefault(proposal.genotype, []).append(reward)


def test_a_repeated_network_is_told_the_score_of_the_same_length(tmp_path: Path) -> None:
    controller = Repeating(published_space("r35-sp18"), 0)
    config = {"max_staleness": 1}
    task = stepwise(tmp_path / "trace")
    found = search(tmp_path / "run", task, halving(), trials=40, controller=controller, config=config)
    assert found.trials.counts["cached"] == 20
    assert all(len(set(told)) == 1 for told in controller.told.values())
    rows = found.history().scored_rows() if callable(found.history) else found.history.scored_rows()
    assert {row.status for row in rows} == {"completed"}, (
        "what is shared with a paused trial is no whole score"
    )


def test_the_virtual_clock_counts_no_step_twice() -> None:
    executor = SimulatedExecutor(1)
    task = SyntheticTask(reports=4)
    found = search(None, task, HalvingScheduler(random=0), executor, trials=16).trials
    whole = {trial.key: 0.0 for trial in found.search}
    for trial in found.search:
        seconds = (
            SyntheticTask()
            .evaluate(published_space("r35-sp18").decode(trial.genotype), 1.0, 0, lambda *_: None, None)
            .metrics["seconds"]
        )
        part = {"paused": 0.25, "completed": 0.5}[trial.status]
        whole[trial.key] += seconds * part
    assert executor.busy == pytest.approx(sum(whole.values()))
    assert executor.busy < 0.6 * 16 * 60, "sixteen whole trainings take 60 seconds each on average"


def test_an_objective_that_no_report_has_is_told_at_once() -> None:
    class Slow(Stepwise):
        def evaluate(self, *arguments: Any) -> Score:
            return Score(super().evaluate(*arguments).reward, {"latency_ms": 3.0})

    config = {"objective": Objective(maximize=("latency_ms",))}
    with pytest.raises(ObjectiveError, match="latency_ms"):
        search(None, Slow(), halving(), trials=8, config=config)
    config = {"objective": Objective(minimize=("longest_path",))}
    found = search(None, Stepwise(), halving(), trials=8, config=config, controller=Pareto())
    assert found.trials.counts["completed"] == 2


def promotions(scheduler: HalvingScheduler, trials: int) -> dict[int, float]:
    """The rewards, uniform in 0..1, of those that are promoted."""
    rewards = np.random.default_rng(0).random(trials).tolist()
    found: dict[int, float] = {}
    for number, reward in enumerate(rewards):
        scheduler.begin(trial := paused(number, reward))
        scheduler.observe(trial)
        while (promotion := scheduler.promote()) is not None:
            assert promotion.trial not in found
            found[promotion.trial] = rewards[promotion.trial]
    return found


def test_some_promotions_are_drawn_at_random_from_all_that_come() -> None:
    """Of the worst quarter, which is never best, a twentieth goes on: a tenth of a half."""
    found = promotions(HalvingScheduler(rungs=(1,), random=0.1, seed=3), 2000)
    assert len(found) == 1000
    poor = [reward for reward in found.values() if reward < 0.25]
    assert stats.binomtest(len(poor), 500, 0.05).pvalue > 0.01
    assert stats.kstest(poor, "uniform", (0, 0.25)).pvalue > 0.01
    assert min(promotions(HalvingScheduler(rungs=(1,), random=0.0), 2000).values()) > 0.25


def test_the_worst_of_those_that_wait_is_dropped_and_the_promotions_stay_the_same() -> None:
    def go(waiting: int) -> dict[int, float]:
        return promotions(HalvingScheduler(rungs=(1,), random=0.1, waiting=waiting), 600)

    assert go(100) == go(10_000)
    scheduler = HalvingScheduler(rungs=(1,), random=0.0, reduction=4, waiting=5)
    promotions(scheduler, 400)
    kept = [number for number in range(400) if scheduler.may_resume(paused(number, 0.0))]
    assert 1 <= len(kept) <= 5  # One may just have been promoted.


def paused(number: int, reward: float) -> Trial:
    genotype: Genotype = (number,)
    trial = Trial(number, Proposal(number, genotype), str(number), number, 1.0)
    trial.status, trial.rewards, trial.curve = "paused", (reward,), {1: reward}
    return trial


def test_reports_are_counted_once_however_often_they_come() -> None:
    scheduler = halving()
    trial = paused(0, 0.5)
    scheduler.begin(trial)
    assert scheduler.report(trial, 1, 0.5) is Decision.PAUSE
    scheduler.observe(trial)
    again = paused(1, 0.5)
    again.resume_from, again.promoted = 0, True
    scheduler.begin(again)
    assert scheduler.report(again, 1, 0.5) is Decision.CONTINUE
    again.curve = {1: 0.5, 2: 0.6}
    assert scheduler.report(again, 2, 0.6) is Decision.CONTINUE
    again.curve = {1: 0.5, 2: 0.6, 3: 0.6}
    assert scheduler.report(again, 3, 0.6) is Decision.PAUSE


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rungs": ()}, "rungs must ascend"),
        ({"rungs": (2, 1)}, "rungs must ascend"),
        ({"rungs": (0, 1)}, "rungs"),
        ({"reduction": 1}, "reduction must be a whole number of at least 2"),
        ({"random": 1.5}, "random must be a number of at least 0 and at most 1"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        HalvingScheduler(**wrong)


SMALL = [
    *("task=cpu", "executor=in_process", "workers=1", "trials=4", "controller=random", "fidelity=0.02"),
    *("task.data.shapes.train=16", "task.data.shapes.val=8", "task.train.image_size=64"),
    *("task.train.batch=4", "task.evaluations=4", "search.max_staleness=1"),
    *("task.scale.endpoints=16", "task.scale.head_filters=16", "task.scale.head_convs=1"),
]


@pytest.mark.slow
def test_a_real_training_that_was_paused_ends_like_one_that_was_not(tmp_path: Path) -> None:
    words = ["scheduler=halving", "scheduler.random=0"]
    assert main(["search", *SMALL, *words, f"run_dir={tmp_path / 'paused'}"]) == 0
    rows = trial_rows(tmp_path / "paused")
    ended = [row for row in rows if row["status"] == "completed"]
    assert len(ended) == 1, "of four trials one comes to its end"
    task = load_task("cpu", *(word.removeprefix("task.") for word in SMALL if word.startswith("task.")))
    for row in ended:
        spec = published_space("spinenet-49").decode(tuple(row["genotype"]))
        assert spec.key() == row["key"]
        full = task.evaluate(spec, 0.02, row["seed"], lambda *_: None, None)
        assert row["reward"] == full.reward, "to the last bit"
        assert row["loss"] == full.metrics["loss"]


def test_a_task_that_reports_too_seldom_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in SMALL if not word.startswith("task.evaluations")]
    assert main(["search", *words, "scheduler=halving", f"run_dir={tmp_path / 'run'}"]) == 2
    assert (
        "scheduler.rungs: a trial is paused after 2 reports, but each has 1, the last one included"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
    few = ["search", "task=synthetic", "task.reports=2", *SMALL[1:4], "scheduler=halving"]
    assert main([*few, "run_dir=run"]) == 2
    assert "give task.reports=4" in capsys.readouterr().err
    assert main([*few, "task.reports=4", "trials=3", "run_dir=run"]) == 2
    assert "trials must be at least 4" in capsys.readouterr().err
    assert main([*few, "task.reports=4", "scheduler.rungs=2", "run_dir=run"]) == 2
    assert "rungs must be" in capsys.readouterr().err


def pause(scheduler: HalvingScheduler, number: int) -> Trial:
    trial = Trial(number, Proposal(number, (0,)), f"key {number}", 0, 1.0)
    scheduler.begin(trial)
    trial.status, trial.rewards, trial.curve = "paused", (float(number),), {1: float(number)}
    scheduler.observe(trial)
    return trial


def test_whoever_was_not_promoted_after_all_waits_again() -> None:
    scheduler = HalvingScheduler(rungs=(1,), random=0.0)
    worse, better = pause(scheduler, 0), pause(scheduler, 1)
    made = scheduler.promote()
    assert made == Promotion(1)
    scheduler.recall(made, Promotion(0))
    assert (scheduler.may_resume(worse), scheduler.may_resume(better)) == (False, True)
    pause(scheduler, -2), pause(scheduler, -1)
    assert scheduler.promote() == Promotion(1)


def test_the_checkpoint_of_one_that_was_drawn_is_kept() -> None:
    scheduler = HalvingScheduler(rungs=(1,), random=1.0)
    assert all(scheduler.may_resume(trial) for trial in [pause(scheduler, n) for n in range(20)])


def test_equal_rewards_beat_each_other_in_none() -> None:
    assert order((1.0, 1.0), [(1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 0.0)]) == (1, -1.0)


def test_a_job_tells_the_step_that_it_goes_on_from(tmp_path: Path) -> None:
    starts: list[tuple[int | None, int]] = []

    @dataclass
    class Listing(LocalExecutor):
        def submit(self, job: Job) -> None:
            starts.append((job.resumed_trial, job.start))
            super().submit(job)

    trials = search(tmp_path / "run", stepwise(tmp_path / "trace"), halving(), Listing(), 8).trials
    wanted = [max(trials.all[source].curve) if source is not None else 0 for source, _ in starts]
    assert [start for _, start in starts] == wanted
    assert len(set(wanted)) == 3
