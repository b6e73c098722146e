"""Contract tests for controllers: one of your own passes the ones that ours pass.

from controllers.testing import check_controller

def test_my_controller() -> None:
    check_controller(lambda space, seed: MyController(space, seed), a_space)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from controllers.controller import Proposal, Reward
from search_space import Genotype, Space
from search_space.testing import expect


class _Asks(Protocol):
    def ask(self) -> Proposal: ...

    def tell(self, proposal: Proposal, reward: Reward) -> None: ...


def check_controller(make: Callable[[Space, int], _Asks], space: Space, asks: int = 60) -> None:
    """Checks what a search relies on.

    Proposals are genotypes of the space, numbered from 0; asking never needs a score; scores may come
    late, out of order, as failures, or never; the same seed and history give the same proposals, so that
    replaying a journal restores the controller; equal rewards do no harm. A controller with `begin_with`
    proposes those genotypes first.

    Args:
        make: a new controller from a space and a seed.
        space: what it searches.
        asks: length of each check.

    Raises:
        AssertionError: saying which promise is broken.
    """
    controller = make(space, 0)
    for number in range(asks):
        proposal = controller.ask()
        expect(proposal.number == number, f"proposals are numbered from 0: {proposal.number} is not {number}")
        space.check(tuple(map(int, proposal.genotype)))

    for plan in ("late", "failing", "equal", "never"):
        first = _history(make(space, 7), plan, asks)
        again = _history(make(space, 7), plan, asks)
        expect(first == again, f"the same seed and history give the same proposals ({plan})")
        for genotype in first:
            space.check(genotype)
    if hasattr(controller, "begin_with"):
        _check_beginning(make, space, asks)


def _check_beginning(make: Callable[[Space, int], Any], space: Space, asks: int) -> None:
    """Genotypes from elsewhere are proposed first, can be told, and are learned from like any others."""
    rng = np.random.default_rng(3)
    given = [space.sample(rng) for _ in range(8)]
    histories = []
    for _ in range(2):
        controller = make(space, 7)
        controller.begin_with(given)
        histories.append(_history(controller, "late", asks))
    expect(histories[0] == histories[1], "the same beginning, seed and history give the same proposals")
    keys = [space.key(space.decode(genotype)) for genotype in histories[0][: len(given)]]
    wanted = [space.key(space.decode(genotype)) for genotype in given]
    expect(keys == wanted, "a controller begins with what it is told to begin with")


def _history(controller: _Asks, plan: str, asks: int) -> list[Genotype]:
    """Proposals of a controller that is told random rewards in a random order."""
    rng: Any = np.random.default_rng(5)
    open_proposals: list[Proposal] = []
    genotypes: list[Genotype] = []
    for _ in range(asks):
        proposal = controller.ask()
        number = proposal.number
        expect(number == len(genotypes), f"proposals are numbered from 0: {number} is not {len(genotypes)}")
        genotypes.append(tuple(map(int, proposal.genotype)))
        open_proposals.append(proposal)
        while len(open_proposals) > rng.integers(1, 12):
            chosen = open_proposals.pop(int(rng.integers(len(open_proposals))))
            value = 0.5 if plan == "equal" else float(rng.normal())
            several = getattr(controller, "objectives", None) or 1
            reward: Reward = value if several == 1 else (value,) * several
            if plan == "failing" and rng.random() < 0.6:
                reward = None
            if plan == "never" and rng.random() < 0.6:
                continue
            controller.tell(chosen, reward)
    return genotypes
