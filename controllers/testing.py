"""Contract tests for controllers: a controller of your own passes those that ours pass.

One function checks all promises, up to the first that is broken:

    from controllers.testing import check_controller

    def test_my_controller() -> None:
        check_controller(lambda space, seed: MyController(space, seed), a_space)

A class to inherit makes each promise a test of its own, for pytest:

    from controllers.testing import ControllerContract

    class TestMyController(ControllerContract):
        space = a_space

        def make(self, space: Space, seed: int) -> MyController:
            return MyController(space, seed)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from unittest import SkipTest

import numpy as np

from controllers.controller import AskTell, Proposal, Reward
from search_space import Genotype, Space
from search_space.testing import expect
from search_space.utils.numbers import whole_numbers

Feedback = Literal["late", "failing", "equal", "never"]
"""How rewards arrive: out of order; often as failures; all alike; often not at all."""


class ControllerContract:
    """The promises on which a search relies; inherit it in a class whose name begins with Test.

    Attributes:
        space: the space that the controllers search.
        asks: length of each check.
    """

    space: Space
    asks: int = 60

    def make(self, space: Space, seed: int) -> AskTell:
        """Makes a new controller."""
        raise NotImplementedError("define make(self, space, seed), which returns a new controller")

    def test_proposals_are_numbered_genotypes_of_the_space(self) -> None:
        """Asking never needs a reward."""
        _check_proposals(self.make(self.space, 0), self.space, self.asks)

    def test_late_rewards_give_the_same_proposals_again(self) -> None:
        """Rewards may come late and out of order."""
        _check_repetition(self.make, self.space, self.asks, "late")

    def test_failures_give_the_same_proposals_again(self) -> None:
        """A reward may be None."""
        _check_repetition(self.make, self.space, self.asks, "failing")

    def test_equal_rewards_give_the_same_proposals_again(self) -> None:
        """Rewards without any deviation do no harm."""
        _check_repetition(self.make, self.space, self.asks, "equal")

    def test_missing_rewards_give_the_same_proposals_again(self) -> None:
        """A reward may never come."""
        _check_repetition(self.make, self.space, self.asks, "never")

    def test_a_warm_start_is_proposed_first(self) -> None:
        """Concerns only controllers with a method `warm_start`."""
        if not hasattr(self.make(self.space, 0), "warm_start"):
            raise SkipTest("the controller has no warm_start")
        _check_warm_start(self.make, self.space, self.asks)


def check_controller(make: Callable[[Space, int], AskTell], space: Space, asks: int = 60) -> None:
    """Checks what a search relies on.

    Proposals are genotypes of the space, numbered from 0; asking never needs a reward; rewards may come
    late, out of order, as failures, or never; the same seed and history give the same proposals, so that
    replaying a journal restores the controller; equal rewards do no harm. A controller with `warm_start`
    proposes those genotypes first.

    Args:
        make: makes a new controller from a space and a seed.
        space: the space that the controllers search.
        asks: length of each check.

    Raises:
        AssertionError: naming the promise that is broken.
    """
    _check_proposals(make(space, 0), space, asks)
    feedbacks: tuple[Feedback, ...] = ("late", "failing", "equal", "never")
    for feedback in feedbacks:
        _check_repetition(make, space, asks, feedback)
    if hasattr(make(space, 0), "warm_start"):
        _check_warm_start(make, space, asks)


def _check_proposals(controller: AskTell, space: Space, asks: int) -> None:
    for number in range(asks):
        proposal = controller.ask()
        expect(proposal.number == number, f"proposals are numbered from 0: {proposal.number} is not {number}")
        space.check(_genotype(proposal))


def _check_repetition(
    make: Callable[[Space, int], AskTell], space: Space, asks: int, feedback: Feedback
) -> None:
    first = _propose(make(space, 7), feedback, asks)
    again = _propose(make(space, 7), feedback, asks)
    expect(first == again, f"the same seed and history give the same proposals ({feedback})")
    for genotype in first:
        space.check(genotype)


def _check_warm_start(make: Callable[[Space, int], Any], space: Space, asks: int) -> None:
    """Genotypes from elsewhere are proposed first, can be rewarded, and are learned from like any others."""
    rng = np.random.default_rng(3)
    given = [space.sample(rng) for _ in range(8)]
    histories = []
    for _ in range(2):
        controller = make(space, 7)
        controller.warm_start(given)
        histories.append(_propose(controller, "late", asks))
    expect(histories[0] == histories[1], "the same warm start, seed and history give the same proposals")
    keys = [space.key(space.decode(genotype)) for genotype in histories[0][: len(given)]]
    expected = [space.key(space.decode(genotype)) for genotype in given]
    expect(keys == expected, "a controller proposes the genotypes of its warm start first")


def _propose(controller: AskTell, feedback: Feedback, asks: int) -> list[Genotype]:
    """Returns the proposals of a controller that gets random rewards in a random order."""
    rng: Any = np.random.default_rng(5)
    waiting: list[Proposal] = []
    genotypes: list[Genotype] = []
    for _ in range(asks):
        proposal = controller.ask()
        number = proposal.number
        expect(number == len(genotypes), f"proposals are numbered from 0: {number} is not {len(genotypes)}")
        genotypes.append(_genotype(proposal))
        waiting.append(proposal)
        while len(waiting) > rng.integers(1, 12):
            chosen = waiting.pop(int(rng.integers(len(waiting))))
            value = 0.5 if feedback == "equal" else float(rng.normal())
            objectives = getattr(controller, "objectives", None) or 1
            reward: Reward = value if objectives == 1 else (value,) * objectives
            if feedback == "failing" and rng.random() < 0.6:
                reward = None
            if feedback == "never" and rng.random() < 0.6:
                continue
            controller.tell(chosen, reward)
    return genotypes


def _genotype(proposal: Proposal) -> Genotype:
    found = whole_numbers(proposal.genotype)
    assert found is not None, f"broken promise: a genotype is of whole numbers, not {proposal.genotype!r}"
    return found
