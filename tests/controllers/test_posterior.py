"""What a search's measurements tell together, and how controllers and filters are told of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from controllers import (
    BudgetFilter,
    OptunaController,
    PolicyGradient,
    PredictorSearch,
    Proposal,
    RandomSearch,
    ZeroCostFilter,
)
from controllers.controller import Reward
from controllers.evidence import Evidence, LearnsFromEvidence, Length, Prior
from controllers.posterior import Posterior
from search_space import Genotype, published_space
from search_space.choices import ChoiceSpace
from search_space.encoding import Matrix
from tests.controllers.landscapes import CELLS, cell_score

EIGHT = ChoiceSpace({f"d{i}": ["a", "b"] for i in range(8)})

SPACE = ChoiceSpace({str(i): list(range(4)) for i in range(6)})
QUARTER, WHOLE = Length(1.0, 140), Length(1.0)


def quality(genotype: Genotype) -> float:
    return genotype[0] / 4 + genotype[1] / 8 + genotype[2] * genotype[0] / 16


def evidence(length: Length, reward: float, **metrics: float) -> Evidence:
    return Evidence(length=length, metrics={"reward": reward, **metrics})


def genotypes(count: int, seed: int = 0) -> list[Genotype]:
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def test_longer_lengths_are_greater() -> None:
    assert Length(0.25) < Length(1.0, 70) < Length(1.0, 140) < Length(1.0) < Length(2.0, 70)


def test_short_trainings_and_losses_tell_of_rewards_at_the_greatest_length() -> None:
    rng, known = np.random.default_rng(1), genotypes(60)
    found: dict[str, float] = {}
    own: dict[str, float] = {}
    for what in ("long alone", "short too", "losses too"):
        posterior = Posterior(SPACE, losses=("loss",) if what == "losses too" else ())
        noise = np.random.default_rng(2)
        for number, genotype in enumerate(known):
            short = 0.1 * quality(genotype) + 0.04 * noise.normal()
            loss = 1 - quality(genotype) + 0.1 * noise.normal()
            if what != "long alone":
                posterior.add(number, genotype, evidence(QUARTER, short, loss=loss))
            if number < 12:
                posterior.add(number, genotype, evidence(WHOLE, quality(genotype) + 0.1 * noise.normal()))
        assert posterior.fit()
        asked = [SPACE.sample(rng) for _ in range(200)]
        mean, deviation = posterior.predict(asked)
        found[what] = float(np.corrcoef(mean, [quality(g) for g in asked])[0, 1])
        assert (deviation > 0).all()
        expected = posterior.expect(own=True)
        own[what] = float(np.corrcoef(list(expected.values()), [quality(known[n]) for n in expected])[0, 1])
    assert found["long alone"] < found["short too"]
    assert own["short too"] < own["losses too"]


def test_what_was_measured_later_of_a_training_is_added_to_what_was_known() -> None:
    expected = []
    for reward in (0.6, 1.0):
        posterior = Posterior(SPACE)
        for number, genotype in enumerate(genotypes(10)):
            posterior.add(number, genotype, evidence(QUARTER, quality(genotype)))
        for number in range(4, 8):
            whole = reward if number == 4 else quality(genotypes(10)[number])
            posterior.add(number, genotypes(10)[number], evidence(WHOLE, whole))
        assert posterior.trainings == 10
        assert posterior.fit()
        assert posterior.genotype(4) == genotypes(10)[4]
        expected.append(posterior.expect(own=True)[4])
        assert posterior.expect(own=True).keys() == set(range(10))
    assert expected[0] < expected[1]


def test_a_failure_is_as_bad_as_the_worst_of_those_that_came_as_far() -> None:
    known = genotypes(30)
    alike = Posterior(SPACE)
    failing = Posterior(SPACE)
    for posterior in (alike, failing):
        for number, genotype in enumerate(known[:20]):
            posterior.add(number, genotype, evidence(QUARTER, quality(genotype)))
    worst = min(quality(genotype) for genotype in known[:20])
    for number, genotype in enumerate(known[20:], start=20):
        alike.add(number, genotype, evidence(QUARTER, worst))
        failing.add_failure(number, genotype)
    assert alike.fit()
    assert failing.fit()
    np.testing.assert_allclose(failing.predict(known)[0], alike.predict(known)[0], rtol=1e-6)
    # What was measured before a failure is forgotten.
    late = Posterior(SPACE)
    for number, genotype in enumerate(known):
        late.add(number, genotype, evidence(QUARTER, quality(genotype) if number < 20 else 9.0))
    for number in range(20, 30):
        late.add_failure(number, known[number])
    assert late.fit()
    assert late.predict(known)[0][20:].mean() < 9.0


def test_nothing_is_learned_from_nothing() -> None:
    posterior = Posterior(SPACE)
    assert not posterior.fit()
    with pytest.raises(ValueError, match="nothing has been learned yet"):
        posterior.predict(genotypes(2))
    posterior.add_failure(0, genotypes(1)[0])
    assert not posterior.fit()
    posterior.add(1, genotypes(2)[1], evidence(WHOLE, math.inf, loss_25=0.3))
    assert not posterior.fit()


def test_of_many_trainings_the_best_and_the_latest_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controllers.posterior.MOST_TRAININGS", 40)
    known = genotypes(100)
    posteriors = []
    for change in ({}, {5: -3.0}, {90: 3.0}):
        posterior = Posterior(SPACE)
        rewards = [quality(genotype) for genotype in known]
        rewards[5] = 0.0  # Poor, and long ago.
        for number, genotype in enumerate(known):
            posterior.add(number, genotype, evidence(WHOLE, change.get(number, rewards[number])))
        assert posterior.fit()
        posteriors.append(posterior.predict(known)[0])
    np.testing.assert_array_equal(posteriors[0], posteriors[1])
    assert np.abs(posteriors[0] - posteriors[2]).max() > 0.001
    assert np.corrcoef(posteriors[0], [quality(genotype) for genotype in known])[0, 1] > 0.8


def test_what_is_not_learned_from_is_not_asked_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ask costs no more after thousands of trainings."""
    monkeypatch.setattr("controllers.posterior.MOST_TRAININGS", 40)
    posterior, known = Posterior(SPACE), genotypes(100)
    for number, genotype in enumerate(known):
        posterior.add(number, genotype, evidence(QUARTER, quality(genotype)))
    for number in range(3):  # The later length is learned from trainings of its own.
        posterior.add(number, known[number], evidence(WHOLE, quality(known[number])))
    assert posterior.fit()
    expected = posterior.expect(own=True)
    assert {0, 1, 2, *range(80, 100)} <= expected.keys()
    assert 40 <= len(expected) <= 43
    assert posterior.expect(own=False).keys() == expected.keys()


def test_where_most_are_the_best_possible_the_others_are_told_apart() -> None:
    posterior, known = Posterior(SPACE), genotypes(60)
    rewards = [min(0.1, quality(genotype)) for genotype in known]
    assert np.mean(np.array(rewards) == 0.1) > 0.5
    for number, (genotype, reward) in enumerate(zip(known, rewards, strict=True)):
        posterior.add(number, genotype, evidence(WHOLE, reward))
    assert posterior.fit()
    expected = posterior.expect(own=False)
    best = max(expected, key=lambda number: expected[number])
    assert rewards[best] == 0.1
    assert np.corrcoef(list(expected.values()), rewards)[0, 1] > 0.8


def test_rewards_far_below_the_others_are_cut_off() -> None:
    """How poor the poor ones are explains nothing."""
    expected = []
    for poor in (-10.0, -1e9, -1e30):
        posterior = Posterior(SPACE)
        for number, genotype in enumerate(genotypes(20)):
            reward = poor if number == 3 else quality(genotype)
            posterior.add(number, genotype, evidence(QUARTER, reward))
        for number in (4, 5, 6):
            posterior.add(number, genotypes(20)[number], evidence(WHOLE, 2 * quality(genotypes(20)[number])))
        assert posterior.fit()
        expected.append(list(posterior.expect(own=True).values()))
    np.testing.assert_array_equal(expected[0], expected[1])
    np.testing.assert_array_equal(expected[0], expected[2])
    assert expected[0][3] < np.median(expected[0])


def test_what_short_trainings_misjudge_is_learned_from_those_that_were_continued() -> None:
    """Here networks with the answer 3 to the last question learn slowly, and are as good in the end."""
    rng = np.random.default_rng(0)
    known = genotypes(120)
    posterior = Posterior(SPACE)
    for number, genotype in enumerate(known):
        slow = 0.5 * (genotype[5] == 3)
        posterior.add(number, genotype, evidence(QUARTER, quality(genotype) - slow + 0.02 * rng.normal()))
        if number < 60:
            posterior.add(number, genotype, evidence(WHOLE, quality(genotype) + 0.02 * rng.normal()))
    assert posterior.fit()
    expected = posterior.expect(own=True)
    slow_ones = [expected[n] - quality(known[n]) for n in range(60, 120) if known[n][5] == 3]
    others = [expected[n] - quality(known[n]) for n in range(60, 120) if known[n][5] != 3]
    assert abs(np.mean(slow_ones) - np.mean(others)) < 0.1


def test_a_second_training_tells_how_much_of_the_first_was_luck() -> None:
    rng = np.random.default_rng(0)
    known = genotypes(40)
    found = {}
    for noise in (0.0, 2.0):
        posterior = Posterior(SPACE)
        own = rng.normal(size=len(known))
        for number in range(40):
            value = quality(known[number]) + own[number]
            posterior.add(number, known[number], evidence(WHOLE, value + noise * rng.normal()))
            if number < 20:
                posterior.add(100 + number, known[number], evidence(WHOLE, value + noise * rng.normal()))
        assert posterior.fit()
        once = {n: posterior.expect(own=True)[n] for n in range(20, 40)}
        again = {n: posterior.expect(own=False)[n] for n in range(20, 40)}
        usual = posterior.predict([known[n] for n in range(20, 40)])[0]
        kept = np.array(list(again.values())) - usual
        found[noise] = float(np.linalg.norm(kept) / np.linalg.norm(np.array(list(once.values())) - usual))
        assert posterior.expect(own=False)[0] == posterior.expect(own=False)[100]
    assert found[0.0] > 0.85
    assert found[2.0] < 0.65


def test_expectations_follow_when_all_rewards_are_higher() -> None:
    """Whatever scale rewards are on, what is expected is on the same."""
    known, asked = genotypes(40), genotypes(50, seed=1)
    found = {}
    for above in (0.0, 10.0):
        posterior = Posterior(SPACE)
        noise = np.random.default_rng(2)
        for number, genotype in enumerate(known):
            short = 0.1 * quality(genotype) + 0.04 * noise.normal()
            posterior.add(number, genotype, evidence(QUARTER, above + short))
            if number % 2:
                posterior.add(
                    number, genotype, evidence(WHOLE, above + quality(genotype) + 0.1 * noise.normal())
                )
        assert posterior.fit()
        again = np.array(list(posterior.expect(own=False).values()))
        found[above] = np.concatenate([posterior.predict(asked)[0], again]) - above
        assert abs(again.mean() - above - np.mean([quality(genotype) for genotype in known])) < 0.3
    assert found[10.0] == pytest.approx(found[0.0], abs=1e-6)


@pytest.mark.parametrize("sense", [1, 0, -1])
def test_a_search_learns_what_a_prior_is_worth(sense: int) -> None:
    rng = np.random.default_rng(5)
    values = np.array([quality(genotype) for genotype in genotypes(500)])

    def prior(specs: Sequence[Any]) -> Matrix:
        known = [SPACE.encode(spec) for spec in specs]
        noise = [np.random.default_rng(genotype).normal() for genotype in known]
        good = (np.array([quality(genotype) for genotype in known]) - values.mean()) / values.std()
        return np.asarray(sense * good + 0.5 * np.array(noise))

    def tau(count: int, *, prior: Prior | None) -> float:
        found = []
        for seed in range(5):
            posterior = Posterior(SPACE, prior=prior)
            for number, genotype in enumerate(genotypes(count, seed=10 + seed)):
                value = quality(genotype) + 0.3 * rng.normal()
                posterior.add(number, genotype, evidence(WHOLE, value))
            assert posterior.fit()
            asked = genotypes(200, seed=3)
            found.append(kendalltau(posterior.predict(asked)[0], [quality(g) for g in asked]).statistic)
        return float(np.mean(found))

    if sense == 1:
        assert tau(6, prior=prior) > tau(6, prior=None) + 0.2
    # One that says nothing, or the opposite, costs little once there are some trainings.
    assert tau(40, prior=prior) > tau(40, prior=None) - 0.1


def test_the_predictor_begins_with_what_the_prior_likes() -> None:
    def prior(specs: Sequence[Any]) -> Matrix:
        return np.array([SPACE.encode(spec)[0] - 1.5 for spec in specs])

    def first(prior: Prior | None) -> list[Genotype]:
        controller = PredictorSearch(SPACE, 4, initial=20)
        if prior is not None:
            controller.take_prior(prior)
        return [controller.ask().genotype for _ in range(20)]

    assert first(prior) == first(prior)
    plain, liked = (np.mean([genotype[0] for genotype in first(p)]) for p in (None, prior))
    assert liked > plain + 0.5
    assert len(set(first(prior))) == 20


def drive(controller: PredictorSearch | ZeroCostFilter, asks: int, told: bool) -> list[Genotype]:
    """Proposes, gives evidence of a short training, and of the whole one if that was good."""
    found = []
    for _ in range(asks):
        proposal = controller.ask()
        score = cell_score(proposal.genotype)
        found.append(proposal.genotype)
        if told:
            controller.learn_evidence(proposal, evidence(QUARTER, score / 10))
        controller.tell(proposal, score / 10)
        if told and score > 80:
            controller.learn_evidence(proposal, evidence(WHOLE, score))
    return found


def test_the_predictor_learns_from_evidence_once_and_proposes_the_same_again() -> None:
    proposals = drive(PredictorSearch(CELLS, 3), 60, told=True)
    assert drive(PredictorSearch(CELLS, 3), 60, told=True) == proposals
    assert max(map(cell_score, proposals)) > 92
    assert isinstance(PredictorSearch(CELLS, 0), LearnsFromEvidence)
    assert not isinstance(RandomSearch(CELLS, 0), LearnsFromEvidence)


def test_filters_pass_evidence_on_to_who_proposed() -> None:
    def pass_all(_: object) -> float:
        return 1.0

    filtered = ZeroCostFilter(PredictorSearch(CELLS, 3), CELLS.decode, pass_all, 1.0)
    # All scores are equal, so that all pass, and the same is learned.
    assert drive(filtered, 40, told=True) == drive(PredictorSearch(CELLS, 3), 40, told=True)


class Resuming(RandomSearch):
    """Wants a fidelity, and to go on from the proposal before the last."""

    def ask(self) -> Proposal:
        found = super().ask()
        return Proposal(found.number, found.genotype, 0.5, found.number - 2 if found.number > 1 else None)


def test_filters_keep_the_fidelity_and_where_a_proposal_goes_on_from() -> None:
    inner = Resuming(SPACE, 0)
    kept: list[Genotype] = []

    def costs(spec: tuple[str, ...]) -> Mapping[str, float]:
        return {"first": float("0123".index(spec[0]))}

    filtered = BudgetFilter(inner, SPACE.decode, costs, {"first": 2})
    for _ in range(20):
        proposal = filtered.ask()
        kept.append(proposal.genotype)
        assert proposal.fidelity == 0.5
        if proposal.resume_from is not None:
            assert proposal.resume_from < proposal.number
    plain = Resuming(SPACE, 0)
    outer: dict[int, int] = {}
    again = BudgetFilter(Resuming(SPACE, 0), SPACE.decode, costs, {"first": 2})
    for number in range(20):
        expected = plain.ask()
        while SPACE.decode(expected.genotype)[0] == "3":
            expected = plain.ask()
        outer[expected.number] = number
        source = None if expected.resume_from is None else outer.get(expected.resume_from)
        assert again.ask() == Proposal(number, expected.genotype, 0.5, source)


def test_the_predictor_keeps_within_limits_instead_of_failing_with_them() -> None:
    space = published_space("spinenet-49")
    told: list[Reward] = []

    class Listening(PredictorSearch):
        def tell(self, proposal: Proposal, reward: Reward) -> None:
            told.append(reward)
            super().tell(proposal, reward)

    def costs(spec: object) -> Mapping[str, float]:
        from search_space import graph_features

        return graph_features(spec)

    filtered = BudgetFilter(Listening(space, 0, initial=5), space.decode, costs, {"excess": 0})
    for number in range(25):
        proposal = filtered.ask()
        assert costs(space.decode(proposal.genotype))["excess"] == 0
        filtered.tell(proposal, float(number % 7))
    assert filtered.rejected == 0
    assert None not in told


def test_a_limit_that_nothing_passes_is_told() -> None:
    from controllers import FilterError

    hopeless = BudgetFilter(PredictorSearch(SPACE, 0), SPACE.decode, lambda _: {"cost": 2.0}, {"cost": 1.0})
    with pytest.raises(FilterError, match="cost too much; the nearest: cost 2"):
        hopeless.ask()


def test_trainings_that_were_ended_early_are_compared_with_what_others_reported_there() -> None:
    """A pruner ends poor ones after any report; what the whole ones taught must not get lost."""

    def tau(ended: int, *, curve: bool) -> float:
        found = []
        for seed in range(5):
            posterior, rng = Posterior(SPACE), np.random.default_rng(seed)
            for number, genotype in enumerate(genotypes(30, seed=seed)):
                reports = {step: step / 8 * (quality(genotype) + 0.05 * rng.normal()) for step in range(1, 9)}
                steps = number % 7 + 1 if number < ended else 8
                length = Length(1.0, math.inf if steps == 8 else steps)
                way = {step: reports[step] for step in range(1, steps + 1)} if curve else {}
                measured = {"reward": reports[steps]}
                posterior.add(number, genotype, Evidence(length=length, metrics=measured, curve=way))
            assert posterior.fit()
            asked = genotypes(200, seed=50)
            found.append(kendalltau(posterior.predict(asked)[0], [quality(g) for g in asked]).statistic)
        return float(np.mean(found))

    assert tau(15, curve=True) > tau(15, curve=False) + 0.1
    assert tau(1, curve=True) > tau(0, curve=True) - 0.1


def test_however_many_lengths_there_are_only_some_are_learned() -> None:
    posterior = Posterior(SPACE)
    for number, genotype in enumerate(genotypes(100)):
        way = {step: quality(genotype) * step for step in range(1, number + 1)}
        found = {"reward": quality(genotype) * number}
        posterior.add(number, genotype, Evidence(length=Length(1.0, number), metrics=found, curve=way))
    assert posterior.fit()
    assert len(posterior._levels) == 4
    assert len(posterior.expect(own=True)) == 100


def test_what_an_evaluation_ends_with_is_always_learned() -> None:
    """Three rungs of short trainings, their ends and finalists are five lengths; none of them is too many."""
    posterior = Posterior(SPACE)
    lengths = [Length(0.25, 1), Length(0.25, 2), Length(0.25, 3), Length(0.25), Length(1.0)]
    for number, genotype in enumerate(genotypes(24)):
        for length in lengths[: 1 + number % 5]:
            posterior.add(number, genotype, evidence(length, quality(genotype)))
    assert posterior.fit()
    assert list(posterior._levels) == lengths


def test_a_training_that_was_ended_where_no_other_was_is_not_forgotten() -> None:
    posterior = Posterior(SPACE)
    for number, genotype in enumerate(genotypes(30)):
        posterior.add(number, genotype, evidence(Length(1.0, 1 + number), quality(genotype)))
    assert posterior.fit()
    assert sorted(posterior.expect(own=True)) == list(range(30))


def test_what_a_prior_likes_comes_often_first_and_not_always() -> None:
    space = ChoiceSpace({f"d{i}": ["0", "1", "2"] for i in range(9)})

    def prior(specs: object) -> np.ndarray:
        return np.array([(sum(map(int, spec)) - 9) / 6**0.5 for spec in specs])  # type: ignore[attr-defined]

    first = []
    for seed in range(60):
        controller = PredictorSearch(space, seed)
        controller.take_prior(prior)
        first.append(float(prior([space.decode(controller.ask().genotype)])[0]))
    # The best of a hundred are at 2.5; of scores that a prior tells by 0.6, the others by luck, at 0.6 of it.
    assert 1.2 < np.mean(first) < 1.9


def test_what_a_recalled_proposal_has_replaced_may_be_proposed_again() -> None:
    two = ChoiceSpace({"a": ["x", "y"]})
    for seed in range(20):
        controller = PredictorSearch(two, seed, initial=5)
        made = controller.ask()
        other = (1 - made.genotype[0],)
        controller.recall(replace(made, genotype=other))
        assert controller.ask().genotype == made.genotype


def test_a_policy_learns_from_a_recalled_proposal_and_may_make_the_replaced_one_again() -> None:
    two, same = ChoiceSpace({"a": ["x", "y"]}), 0
    for seed in range(20):
        controller = PolicyGradient(two, seed, batch=2)
        made = controller.ask()
        recorded = replace(made, genotype=(1 - made.genotype[0],))
        controller.recall(recorded)
        assert controller._log_probs == {0: pytest.approx(math.log(0.5))}
        again = controller.ask()
        same += again.genotype == made.genotype
        controller.tell(recorded, 1.0)
        controller.tell(again, 0.0)
        assert controller.diagnostics is not None
    assert same > 16  # Six draws look for a new one; without it half would be the same.


def test_a_sampler_of_optuna_is_told_of_a_recalled_proposal() -> None:
    controller = OptunaController(SPACE, 0)
    made = controller.ask()
    recorded = replace(made, genotype=tuple(3 - answer for answer in made.genotype))
    controller.recall(recorded)
    controller.tell(recorded, 0.7)
    failed, told = controller._study.trials
    assert failed.state.name == "FAIL"
    assert (told.value, controller._genotype(told.params)) == (0.7, recorded.genotype)


def test_a_reward_is_that_of_the_fidelity_that_was_proposed() -> None:
    from controllers import Proposal
    from controllers.evidence import Length

    controller = PredictorSearch(EIGHT, 0)
    for number, fidelity in enumerate((0.5, None)):
        controller.tell(Proposal(number, (number,) * 8, fidelity), 0.3)
    found = controller._posterior._measurements._trainings
    assert [list(found[number].measured) for number in (0, 1)] == [[Length(0.5)], [Length(1.0)]]
