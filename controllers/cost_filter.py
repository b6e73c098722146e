"""A controller whose proposals cost no more than allowed; checked before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from controllers.controller import Proposal, Reward
from search_space import Genotype

TRIES = 1000
"""Proposals in a row that may cost too much before the filter gives up."""


class FilterError(ValueError):
    """Limits that the controller's proposals never meet, or that name no cost."""


class _Asks(Protocol):
    def ask(self) -> Proposal: ...

    def tell(self, proposal: Proposal, reward: Reward) -> None: ...


class CostFilter:
    """Passes on what is cheap enough; what is not counts as failed for the controller.

    Args:
        controller: whose proposals are filtered.
        decode: genotype to spec.
        costs: of a spec by name, such as {"params": 2e6, "macs": 1e9}.
        limits: the largest that passes, by name.

    Raises:
        FilterError: if a limit is not above 0.
    """

    def __init__(
        self,
        controller: _Asks,
        decode: Callable[[Genotype], Any],
        costs: Callable[[Any], Mapping[str, float]],
        limits: Mapping[str, float],
    ) -> None:
        if any(limit <= 0 for limit in limits.values()):
            raise FilterError(f"limits of cost must be above 0, not {dict(limits)}")
        self.controller, self.decode, self.costs, self.limits = controller, decode, costs, dict(limits)
        self.rejected = 0
        self._asked = 0
        self._inner: dict[int, Proposal] = {}

    def ask(self) -> Proposal:
        """The controller's next proposal that is cheap enough.

        Raises:
            FilterError: if a thousand in a row are not, or a limit is on no cost of the task.
        """
        cheapest: tuple[float, Mapping[str, float]] = (float("inf"), {})
        for _ in range(TRIES):
            inner = self.controller.ask()
            costs = self.costs(self.decode(inner.genotype))
            unknown = sorted(set(self.limits) - set(costs))
            if unknown:
                raise FilterError(
                    f"no cost {unknown[0]!r} is known before training; there are {sorted(costs)}"
                )
            over = max(costs[name] / limit for name, limit in self.limits.items())
            if over <= 1:
                proposal = Proposal(self._asked, inner.genotype)
                self._inner[self._asked] = inner
                self._asked += 1
                return proposal
            cheapest = min(cheapest, (over, costs), key=lambda found: found[0])
            self.rejected += 1
            self.controller.tell(inner, None)
        found = ", ".join(
            f"{name} {cheapest[1][name]:g} (limit {self.limits[name]:g})" for name in self.limits
        )
        raise FilterError(f"{TRIES} proposals in a row cost too much; the nearest: {found}")

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Passes the reward on."""
        inner = self._inner.pop(proposal.number, None)
        if inner is not None:
            self.controller.tell(inner, reward)
