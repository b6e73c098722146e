"""A controller whose proposals cost no more than allowed; checked before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from controllers.controller import Proposal, Reward
from search_space import Genotype

TRIES = 1000
"""Proposals in a row that may cost too much before the filter gives up."""


class FilterError(ValueError):
    """A limit that the controller's proposals never meet."""


class _Asks(Protocol):
    def ask(self) -> Proposal: ...

    def tell(self, proposal: Proposal, reward: Reward) -> None: ...


class CostFilter:
    """Passes on what is cheap enough; what is not counts as failed for the controller.

    Args:
        controller: whose proposals are filtered.
        cost: of a genotype's spec, such as its multiply-adds.
        most: the largest cost that passes.
        decode: genotype to spec.
    """

    def __init__(
        self, controller: _Asks, decode: Callable[[Genotype], Any], cost: Callable[[Any], float], most: float
    ) -> None:
        self.controller, self.decode, self.cost, self.most = controller, decode, cost, most
        self.rejected = 0
        self._asked = 0
        self._inner: dict[int, Proposal] = {}

    def ask(self) -> Proposal:
        """The controller's next proposal that is cheap enough.

        Raises:
            FilterError: if a thousand in a row are not.
        """
        cheapest = float("inf")
        for _ in range(TRIES):
            inner = self.controller.ask()
            cost = self.cost(self.decode(inner.genotype))
            if cost <= self.most:
                proposal = Proposal(self._asked, inner.genotype)
                self._inner[self._asked] = inner
                self._asked += 1
                return proposal
            cheapest = min(cheapest, cost)
            self.rejected += 1
            self.controller.tell(inner, None)
        raise FilterError(
            f"{TRIES} proposals in a row cost more than {self.most:g}; the cheapest {cheapest:g}"
        )

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Passes the reward on."""
        inner = self._inner.pop(proposal.number, None)
        if inner is not None:
            self.controller.tell(inner, reward)
