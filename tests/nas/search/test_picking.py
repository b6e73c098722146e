"""What is told of evidence, and how the winner and the finalists are picked from all of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from controllers import Proposal, RandomSearch
from controllers.evidence import Evidence, Length
from nas.journal.errors import JournalError
from nas.journal.event import Event
from nas.journal.reading import read_events
from nas.journal.trials import Trials, finalist_rewards, pick_winner
from nas.search.halving import HalvingScheduler
from nas.search.objective import Objective
from nas.search.picking import evidence_of, expected_rewards, pick
from nas.search.result import load_result
from proxy_tasks.task import Score
from search_space import Genotype
from search_space.choices import ChoiceSpace
from tests.nas.search.stepwise import STEPS, Stepwise, search

SPACE = ChoiceSpace({str(i): list(range(4)) for i in range(8)})
FEW = ChoiceSpace({"a": list(range(3)), "b": list(range(2))})


def worth(genotype: Genotype) -> float:
    return (genotype[0] + genotype[1]) / 6


@dataclass(frozen=True)
class Noisy:
    """Its score is told by the genotype, but for noise that follows from the seed."""

    noise: float = 0.3

    def evaluate(self, spec: tuple[str, ...], seed: int) -> Score:
        luck = float(np.random.default_rng(seed).normal())
        return Score((int(spec[0]) + int(spec[1])) / 6 + self.noise * luck, {"cost": float(spec[0])})


@dataclass(frozen=True)
class Divided(Noisy):
    """Its images for finalists are harder or easier than those of the search."""

    shift: float = 0.0
    apart: bool = False

    def for_finalists(self) -> Divided | None:
        return None if self.apart else replace(self, apart=True)

    def evaluate(self, spec: tuple[str, ...], seed: int) -> Score:
        score = super().evaluate(spec, seed)
        return Score(score.reward + self.shift * self.apart, score.metrics)


class Listening(RandomSearch):
    """Proposes at random, and notes what it is told."""

    def __init__(self, space: Any) -> None:
        super().__init__(space, 0)
        self.heard: list[tuple[int, str, object]] = []

    def learn_evidence(self, proposal: Proposal, evidence: Evidence) -> None:
        self.heard.append((proposal.number, "evidence", evidence))

    def tell(self, proposal: Proposal, reward: object) -> None:
        self.heard.append((proposal.number, "reward", reward))


def test_a_controller_is_told_of_every_length_that_a_training_comes_to(tmp_path: Path) -> None:
    controller = Listening(SPACE)
    scheduler = HalvingScheduler(rungs=(1, 3), random=0)
    more: Any = {"space": SPACE, "trials": 12, "config": {"max_staleness": 1}}
    trials = search(tmp_path, Stepwise(), scheduler, controller=controller, **more).trials
    lengths: dict[int, list[Length]] = {}
    for number, what, found in controller.heard:
        if isinstance(found, Evidence):
            assert found.metrics["reward"] == pytest.approx(
                trials.all[trials.proposed[number]].seed % 1000 / 1000 * min(1, found.length.step / STEPS)
            )
            lengths.setdefault(number, []).append(found.length)
        else:
            assert what == "reward"
            assert len(lengths[number]) == 1, "the evidence of the first length comes before the reward"
    assert sum(what == "reward" for _, what, _ in controller.heard) == 12
    every = [Length(1.0, 1), Length(1.0, 3), Length(1.0)]
    assert sorted(map(len, lengths.values())) == [1] * 6 + [2] * 3 + [3] * 3
    assert all(found == every[: len(found)] for found in lengths.values())
    # Going on tells a new controller the same.
    again = Listening(SPACE)
    search(tmp_path, Stepwise(), scheduler, controller=again, **{**more, "trials": 13}, resume=True)
    assert again.heard[: len(controller.heard)] == controller.heard


def test_who_shares_a_score_shares_the_evidence() -> None:
    controller = Listening(FEW)
    config = {"max_staleness": 1}
    trials = search(None, Noisy(), None, controller=controller, space=FEW, trials=20, config=config).trials
    assert trials.counts["cached"] >= 14
    by_key: dict[str, Evidence] = {}
    for number, _, found in controller.heard:
        if isinstance(found, Evidence):
            assert by_key.setdefault(trials.search[number].key, found) == found
    kinds = Counter(what for _, what, _ in controller.heard)
    assert kinds["evidence"] == kinds["reward"] == 19, "nothing is told of the last one: the search is over"


def test_what_has_no_reward_is_no_evidence() -> None:
    trials = search(None, Noisy(), None, trials=2, space=SPACE).trials
    trial = trials.all[0]
    found = evidence_of(trial)
    assert found is not None
    assert found.length == Length(1.0, math.inf)
    assert found.metrics.keys() == {"cost", "reward"}
    trial.rewards = None
    assert evidence_of(trial) is None


def noisy_search(seed: int, folder: Path | None = None, trials: int = 60, **config: Any) -> Trials:
    settings = {"seed": seed, "max_staleness": 1, **config}
    controller = RandomSearch(SPACE, seed)
    found = search(folder, Noisy(), None, space=SPACE, trials=trials, controller=controller, config=settings)
    assert found.best is not None
    assert found.best.number == pick_winner(found.trials)
    return found.trials


@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_finalists_with_harder_or_easier_images_stay_comparable(tmp_path: Path, shift: float) -> None:
    """They are neither thrown out nor kept in by it, when the search goes on either."""
    for seed in range(4):
        kept, picked = [], []
        for harder in (0.0, shift):
            task, folder = Divided(noise=0.05, shift=harder), tmp_path / f"{seed} {harder}"
            config = {"seed": seed, "max_staleness": 1, "finalists": 4, "finalist_seeds": 2}
            controller: Any = RandomSearch(SPACE, seed)
            more: Any = {"space": SPACE, "config": config}
            first = search(folder, task, None, trials=30, controller=controller, **more).trials
            picked.append(first.picked)
            controller = RandomSearch(SPACE, seed)
            search(folder, task, None, trials=31, controller=controller, resume=True, **more)
            ranked = [e.data["expected"] for e in read_events(folder) if e.kind == "ranked"]
            kept.append([[item["trial"] for item in expected[:4]] for expected in ranked])
        assert picked[0] == picked[1]
        assert kept[0] == kept[1]


def test_the_winner_is_that_of_which_most_is_expected_and_not_the_luckiest() -> None:
    picked, luckiest = [], []
    for seed in range(40):
        trials = noisy_search(seed, finalists=5, finalist_seeds=2)
        assert trials.picked is not None
        assert trials.best is not None
        assert len(trials.finalists) == 10
        assert set(finalist_rewards(trials)) == set(trials.ranked[:5])
        finalists = {n: trials.expected[n] for n in trials.ranked[:5] if n in trials.expected}
        assert max(finalists, key=lambda n: finalists[n]) == trials.picked
        picked.append(worth(trials.genotype(trials.picked)))
        luckiest.append(worth(trials.genotype(trials.best)))
    assert stats.wilcoxon(picked, luckiest, alternative="greater", zero_method="zsplit").pvalue < 0.01


def test_by_reward_nothing_is_expected_and_the_best_reward_wins(tmp_path: Path) -> None:
    trials = noisy_search(0, tmp_path, pick="reward")
    assert (trials.picked, trials.expected) == (None, {})
    assert pick_winner(trials) == trials.best
    assert not {event.kind for event in read_events(tmp_path)} & {"ranked", "picked"}


def test_several_objectives_go_by_rewards() -> None:
    class Two(Listening):
        objectives = None

    config = {"objective": Objective(minimize=("cost",))}
    trials = search(None, Noisy(), None, space=SPACE, controller=Two(SPACE), config=config).trials
    assert trials.picked is None
    assert pick_winner(trials) == trials.best


def test_few_trials_go_by_their_own_rewards() -> None:
    trials = noisy_search(0, trials=4)
    own = {t.number: t.rewards[0] for t in trials.search if t.rewards}
    assert trials.expected == own
    assert list(trials.expected) == sorted(own, key=lambda n: -own[n])
    assert trials.picked == trials.best


def test_a_network_that_was_not_trained_to_its_end_may_be_a_finalist_but_no_winner_without(
    tmp_path: Path,
) -> None:
    scheduler = HalvingScheduler(rungs=(1,), random=0, reduction=4)
    trials = search(None, Stepwise(), scheduler, space=SPACE, trials=40).trials
    expected = expected_rewards(SPACE, trials)
    assert {trials.all[n].status for n in expected} == {"paused", "completed"}
    winner = pick(trials, expected)
    assert winner == trials.picked
    assert winner is not None
    assert trials.all[winner].status == "completed"
    assert list(expected.values()) == sorted(expected.values(), reverse=True)
    keys = [trials.all[n].key for n in expected]
    assert len(set(keys)) == len(keys) == 40


def test_a_finished_search_keeps_its_winner_and_a_longer_one_picks_anew(tmp_path: Path) -> None:
    def go(trials: int, resume: bool) -> Trials:
        controller = RandomSearch(SPACE, 0)
        config = {"finalists": 2, "max_staleness": 1}
        more: Any = {"space": SPACE, "controller": controller, "config": config, "resume": resume}
        return search(tmp_path, Noisy(), None, trials=trials, **more).trials

    first = go(20, False)
    events = len(read_events(tmp_path))
    again = go(20, True)
    assert (again.picked, again.expected, again.ranked) == (first.picked, first.expected, first.ranked)
    assert [e.kind for e in read_events(tmp_path)[events:]] == ["session"]
    longer = go(60, True)
    assert longer.picked is not None
    assert longer.ranked != first.ranked
    kinds = [event.kind for event in read_events(tmp_path)]
    assert (kinds.count("ranked"), kinds.count("picked")) == (2, 2)
    best = load_result(tmp_path).best
    assert best is not None
    assert best.number == longer.picked


def test_a_resume_may_pick_the_winner_in_the_other_way(tmp_path: Path) -> None:
    def go(pick: str, resume: bool) -> Trials:
        more: Any = {"space": SPACE, "controller": RandomSearch(SPACE, 3), "resume": resume}
        return search(tmp_path, Noisy(), None, trials=30, config={"pick": pick}, **more).trials

    first = go("expected", False)
    assert first.picked != first.best
    for way, winner in (("reward", first.best), ("reward", first.best), ("expected", first.picked)):
        again = go(way, True)
        assert pick_winner(again) == winner
        assert bool(again.expected) == (way == "expected")
    assert [event.kind for event in read_events(tmp_path)].count("picked") == 3


@pytest.mark.parametrize(
    "data",
    [
        {"trial": 99, "expected": []},
        {"trial": 0, "expected": [{"trial": 99, "reward": 0.5}]},
        {"trial": 2, "expected": []},
    ],
)
def test_a_journal_that_picks_what_is_no_trial_of_the_search_is_damaged(data: dict[str, Any]) -> None:
    trials = Trials()
    about = {"proposal": 0, "genotype": [0], "key": "a", "seed": 0, "fidelity": 1.0}
    for number, finalist_of in ((0, None), (1, None), (2, 0)):
        event = Event(0.0, "asked", number, {**about, "proposal": number, "finalist_of": finalist_of})
        trials.apply(event)
    with pytest.raises(JournalError, match=r"the journal is damaged: event 'picked'.*there is no trial"):
        trials.apply(Event(0.0, "picked", None, data))


def test_where_all_rewards_are_equal_another_one_is_expected() -> None:
    class Equal:
        def evaluate(self, spec: tuple[str, ...]) -> float:
            return 1.0

    trials = search(None, Equal(), None, space=SPACE, controller=RandomSearch(SPACE, 0)).trials
    assert len(trials.search) > 5

    def prior(specs: Any) -> Any:
        return np.arange(len(specs), dtype=float)

    assert set(expected_rewards(SPACE, trials, prior).values()) == {1.0}


@pytest.mark.parametrize("seed", range(3))
def test_the_winner_is_one_of_the_best_where_most_scores_are_the_best_possible(seed: int) -> None:
    class Saturated:
        def evaluate(self, spec: tuple[str, ...]) -> float:
            return min(0.3, float(sum(map(int, spec)) / 20))

    trials = search(None, Saturated(), None, space=SPACE, controller=RandomSearch(SPACE, seed)).trials
    rewards = [trial.rewards[0] for trial in trials.search if trial.rewards]
    assert rewards.count(0.3) > len(rewards) / 2
    assert trials.picked is not None
    assert trials.first_reward(trials.picked) == 0.3
