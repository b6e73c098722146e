"""The contract itself: a class to inherit, and broken controllers that each fail the right promise."""

from __future__ import annotations

from collections.abc import Callable
from unittest import SkipTest

import numpy as np
import pytest

from controllers import AskTell, Controller, Proposal, RandomSearch, RegularizedEvolution, Reward
from controllers.controller import ProposedKeys
from controllers.testing import ControllerContract, check_controller
from search_space import Genotype, Space
from tests.controllers.landscapes import CELLS
from tests.search_space.cell_space import CellSpace


class TestRandomSearch(ControllerContract):
    space = CELLS

    def make(self, space: Space, seed: int) -> AskTell:
        return RandomSearch(space, seed)


class TestEvolution(ControllerContract):
    space = CELLS
    asks = 40

    def make(self, space: Space, seed: int) -> AskTell:
        return RegularizedEvolution(space, seed, population=10)


class Misnumbered(RandomSearch):
    def ask(self) -> Proposal:
        proposal = super().ask()
        return Proposal(proposal.number + 1, proposal.genotype)


class Unseeded(RandomSearch):
    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space, seed)
        self.rng = np.random.default_rng()


class Forgetful(RandomSearch):
    """Throws the warm start away."""

    def ask(self) -> Proposal:
        self._initial.clear()
        return super().ask()


class Outside(Controller):
    def _propose(self) -> Genotype:
        return (99,) * len(self.space.decisions)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        pass


class NeedsRewards(RandomSearch):
    """Fails on a trial that failed."""

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        assert reward is not None, "a reward is needed"


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Misnumbered, "proposals are numbered from 0"),
        (Unseeded, "the same seed and history give the same proposals"),
        (Forgetful, "proposes the genotypes of its warm start first"),
        (NeedsRewards, "a reward is needed"),
    ],
)
def test_a_broken_promise_is_found(broken: Callable[[Space, int], AskTell], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_controller(broken, CELLS, asks=30)
    with pytest.raises(ValueError, match="99"):
        check_controller(Outside, CELLS)


def test_each_promise_of_the_class_is_a_test_of_its_own() -> None:
    class Broken(ControllerContract):
        space, asks = CELLS, 30

        def make(self, space: Space, seed: int) -> AskTell:
            return NeedsRewards(space, seed)

    def failing(contract: ControllerContract) -> list[str]:
        failed = []
        for name in dir(contract):
            if name.startswith("test_"):
                try:
                    getattr(contract, name)()
                except AssertionError:
                    failed.append(name)
        return failed

    assert failing(Broken()) == ["test_failures_give_the_same_proposals_again"]


def test_a_warm_start_is_no_promise_of_a_controller_without_one() -> None:
    class Plain:
        def __init__(self, space: Space) -> None:
            self.inner = RandomSearch(space, 0)

        def ask(self) -> Proposal:
            return self.inner.ask()

        def tell(self, proposal: Proposal, reward: Reward) -> None:
            pass

    class Contract(ControllerContract):
        space = CELLS

        def make(self, space: Space, seed: int) -> AskTell:
            return Plain(space)

    with pytest.raises(SkipTest, match="no warm_start"):
        Contract().test_a_warm_start_is_proposed_first()
    check_controller(lambda space, seed: Plain(space), CELLS, asks=20)


def test_a_genotype_is_decoded_once_for_its_key() -> None:
    class Counting(CellSpace):
        decoded = 0

        def decode(self, genotype: Genotype) -> tuple[str, ...]:
            Counting.decoded += 1
            return super().decode(genotype)

    keys = ProposedKeys(Counting())
    genotype = Counting().sample(np.random.default_rng(0))
    assert [keys.add(genotype) for _ in range(3)] == [True, False, False]
    assert Counting.decoded == 1


class Halves(RandomSearch):
    """Forgets to round."""

    def ask(self) -> Proposal:
        proposal = super().ask()
        halves: tuple[int, ...] = tuple(answer + 0.5 for answer in proposal.genotype)  # type: ignore[misc]
        return Proposal(proposal.number, halves)


def test_a_genotype_that_is_not_of_whole_numbers_is_found() -> None:
    with pytest.raises(AssertionError, match="a genotype is of whole numbers, not"):
        check_controller(Halves, CELLS)
