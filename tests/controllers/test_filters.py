from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controllers import (
    BudgetFilter,
    FilterError,
    LocalSearch,
    PredictorSearch,
    RandomSearch,
    RegularizedEvolution,
    ZeroCostFilter,
)
from controllers.testing import check_controller
from search_space.choices import ChoiceSpace

SPACE = ChoiceSpace({f"edge {i}": ["a", "b", "c", "d"] for i in range(5)})


def promise(spec: tuple[str, ...]) -> float | None:
    return None if spec[0] == "d" else float(sum("abcd".index(label) for label in spec))


def test_a_promise_filter_passes_the_best_share() -> None:
    plain = RandomSearch(SPACE, 0)
    usual = [promise(SPACE.decode(plain.ask().genotype)) for _ in range(400)]
    filtered = ZeroCostFilter(RandomSearch(SPACE, 0), SPACE.decode, promise, 0.25)
    passed = [filtered.ask() for _ in range(100)]
    assert [proposal.number for proposal in passed] == list(range(100))
    scores = [promise(SPACE.decode(proposal.genotype)) for proposal in passed]
    assert None not in scores
    known = [score for score in usual if score is not None]
    assert np.mean([s for s in scores[20:] if s is not None]) >= np.quantile(known, 0.7)
    assert 150 < filtered.rejected < 500


def test_what_is_held_back_is_told_as_failed() -> None:
    told: list[object] = []

    class Listening(RandomSearch):
        def _learn(self, proposal: object, reward: object) -> None:
            told.append(reward)

    filtered = ZeroCostFilter(Listening(SPACE, 1), SPACE.decode, promise, 0.5)
    proposals = [filtered.ask() for _ in range(10)]
    assert told == [None] * filtered.rejected
    filtered.tell(proposals[3], 0.7)
    assert told[-1] == 0.7


def test_a_filter_keeps_the_contract_and_gives_up_with_a_reason() -> None:
    check_controller(
        lambda space, seed: ZeroCostFilter(RandomSearch(space, seed), SPACE.decode, promise, 0.5), SPACE
    )
    with pytest.raises(FilterError, match="keep must be above 0 and up to 1, not 0"):
        ZeroCostFilter(RandomSearch(SPACE), SPACE.decode, promise, 0)
    hopeless = ZeroCostFilter(RandomSearch(SPACE), SPACE.decode, lambda _: None, 0.5)
    with pytest.raises(FilterError, match="1000 proposals in a row are not among the best 50 %"):
        hopeless.ask()


def test_what_was_chosen_before_passes_whatever_came_first() -> None:
    controller = RandomSearch(SPACE, 0)
    drawn = [SPACE.sample(np.random.default_rng(seed)) for seed in range(12)]
    chosen = [genotype for genotype in drawn if promise(SPACE.decode(genotype)) is not None][:6]
    chosen.sort(key=lambda genotype: promise(SPACE.decode(genotype)) or 0.0, reverse=True)
    controller.warm_start(chosen)
    filtered = ZeroCostFilter(controller, SPACE.decode, promise, 0.25, first=6)
    assert [filtered.ask().genotype for _ in range(6)] == chosen


def test_what_is_held_back_is_no_failure_for_a_controller_that_takes_it_back() -> None:
    """The predictor would learn that what costs nothing to refuse is the worst of all."""

    def made(inner: PredictorSearch) -> BudgetFilter:
        promising = ZeroCostFilter(inner, SPACE.decode, promise, 0.5)
        return BudgetFilter(promising, SPACE.decode, lambda spec: {"a": spec.count("a")}, {"a": 2})

    controller = PredictorSearch(SPACE, 0, initial=5)
    filtered = made(controller)
    for _ in range(12):
        proposal = filtered.ask()
        filtered.tell(proposal, promise(SPACE.decode(proposal.genotype)))
    assert filtered.controller.rejected > 5  # type: ignore[attr-defined]
    assert controller._posterior.trainings == 12
    # What the budget forbids, the controller behind both filters never proposes.
    assert filtered.rejected == 0


def test_a_start_that_costs_too_much_is_left_out() -> None:
    controller = PredictorSearch(SPACE, 0, initial=5)
    controller.warm_start([(0, 0, 0, 0, i) for i in range(4)] + [(1, 1, 1, 1, 1)])
    filtered = BudgetFilter(controller, SPACE.decode, lambda spec: {"a": spec.count("a")}, {"a": 2})
    assert filtered.ask().genotype == (1, 1, 1, 1, 1)
    assert [filtered.ask().genotype.count(0) <= 2 for _ in range(5)] == [True] * 5


def test_a_recalled_proposal_takes_the_place_of_the_one_behind_filters() -> None:
    controller = PredictorSearch(SPACE, 0, initial=5)
    filtered = ZeroCostFilter(controller, SPACE.decode, promise, 0.5)
    made = filtered.ask()
    recorded = replace(made, genotype=(2, 2, 2, 2, 2))
    filtered.recall(recorded)
    filtered.tell(recorded, 5.0)
    assert controller._posterior.genotype(controller._asked - 1) == (2, 2, 2, 2, 2)
    assert (2, 2, 2, 2, 2) not in [controller.ask().genotype for _ in range(500)]


def few(spec: tuple[str, ...]) -> dict[str, float]:
    """One in four passes a limit of 0."""
    return {"not a": float(spec[0] != "a")}


@pytest.mark.parametrize("seed", range(3))
def test_a_population_is_bred_from_once_it_is_there_whatever_is_held_back(seed: int) -> None:
    controller = RegularizedEvolution(SPACE, seed, population=12)
    filtered = BudgetFilter(controller, SPACE.decode, few, {"not a": 0})
    bred = 0
    breed = controller._breed

    def counted() -> tuple[int, ...]:
        nonlocal bred
        bred += 1
        assert len(controller.members) == 12
        return breed()

    controller._breed = counted  # type: ignore[method-assign]
    for _ in range(30):
        proposal = filtered.ask()
        filtered.tell(proposal, float(sum(proposal.genotype)))
    assert bred >= 18


def test_a_start_that_is_held_back_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    climbs: list[int] = []
    controller = LocalSearch(SPACE, 0, starts=8)
    filtered = BudgetFilter(controller, SPACE.decode, few, {"not a": 0})
    next_neighbor = LocalSearch._next_neighbor

    def counted(self: LocalSearch) -> tuple[int, ...] | None:
        climbs.append(len(known))
        return next_neighbor(self)

    monkeypatch.setattr(LocalSearch, "_next_neighbor", counted)
    known: list[float] = []
    for _ in range(12):
        proposal = filtered.ask()
        known.append(float(sum(proposal.genotype)))
        filtered.tell(proposal, known[-1])
    assert climbs[0] == 8, "it climbs after eight starts that were evaluated"


def test_the_nearest_that_is_told_exceeds_the_limit() -> None:
    passed = BudgetFilter(RandomSearch(SPACE, 0), SPACE.decode, few, {"not a": 0})
    passed.ask()
    hopeless = ZeroCostFilter(passed, SPACE.decode, lambda _: None, 0.5)
    with pytest.raises(FilterError):
        hopeless.ask()
    assert "not a 1 (limit 0)" in passed._why()


def test_a_budget_without_limits_passes_everything() -> None:
    filtered = BudgetFilter(RandomSearch(SPACE, 0), SPACE.decode, few, {})
    assert [filtered.ask().genotype for _ in range(9)]
    assert filtered.rejected == 0


@pytest.mark.parametrize("make", [RegularizedEvolution, LocalSearch, RandomSearch, PredictorSearch])
def test_a_reward_that_is_no_number_counts_as_a_failure(make: type[RandomSearch]) -> None:
    controller, scores = make(SPACE, 0), []
    for number in range(40):
        proposal = controller.ask()
        scores.append(float(sum(proposal.genotype)))
        controller.tell(proposal, float("nan") if number % 3 == 1 else scores[-1])
    if isinstance(controller, RegularizedEvolution):
        assert not [reward for reward, _ in controller.members if math.isnan(reward)]


def test_of_two_the_worse_is_not_among_the_best_half() -> None:
    controller = RandomSearch(SPACE, 0)
    controller.warm_start([(2, 2, 2, 2, 2), (0, 0, 0, 0, 0)])
    filtered = ZeroCostFilter(controller, SPACE.decode, promise, 0.5)
    assert filtered.ask().genotype == (2, 2, 2, 2, 2)
    assert filtered.ask().genotype != (0, 0, 0, 0, 0)
    assert filtered.rejected >= 1


def test_a_recalled_proposal_takes_the_place_of_the_made_one_in_the_ranking() -> None:
    controller = RandomSearch(SPACE, 0)
    controller.warm_start([(2, 3, 3, 3, 3), (1, 1, 1, 1, 1)])
    filtered = ZeroCostFilter(controller, SPACE.decode, promise, 0.3)
    filtered.recall(replace(filtered.ask(), genotype=(0, 0, 0, 0, 0)))
    assert filtered.ask().genotype == (1, 1, 1, 1, 1), "it is better than what was recorded"
