"""Controllers that pass on only some of another one's proposals: what is cheap, or what looks promising.

What they hold back counts as failed for the controller behind them, before any training.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from controllers.controller import Proposal, Reward
from search_space import Genotype

TRIES = 1000
"""Proposals in a row that may be held back before the filter gives up."""


class FilterError(ValueError):
    """A filter that no proposal passes, or whose limits make no sense."""


class _Asks(Protocol):
    def ask(self) -> Proposal: ...

    def tell(self, proposal: Proposal, reward: Reward) -> None: ...


class Filter(ABC):
    """Passes on the proposals of a controller that a subclass lets through.

    Args:
        controller: whose proposals are filtered.
        decode: genotype to spec.
    """

    def __init__(self, controller: _Asks, decode: Callable[[Genotype], Any]) -> None:
        self.controller, self.decode = controller, decode
        self.objectives: int | None = getattr(controller, "objectives", None)
        self.rejected = 0
        self._asked = 0
        self._inner: dict[int, Proposal] = {}

    def ask(self) -> Proposal:
        """The controller's next proposal that passes.

        Raises:
            FilterError: if a thousand in a row do not.
        """
        for _ in range(TRIES):
            inner = self.controller.ask()
            if self._passes(self.decode(inner.genotype)):
                proposal = Proposal(self._asked, inner.genotype)
                self._inner[self._asked] = inner
                self._asked += 1
                return proposal
            self.rejected += 1
            self.controller.tell(inner, None)
        raise FilterError(f"{TRIES} proposals in a row {self._why()}")

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Passes the reward on."""
        inner = self._inner.pop(proposal.number, None)
        if inner is not None:
            self.controller.tell(inner, reward)

    @abstractmethod
    def _passes(self, spec: Any) -> bool: ...

    @abstractmethod
    def _why(self) -> str: ...


class CostFilter(Filter):
    """Passes on what is cheap enough.

    Args:
        controller, decode: see `Filter`.
        costs: of a spec by name, such as {"params": 2e6, "macs": 1e9}.
        limits: the largest that passes, by name.

    Raises:
        FilterError: if a limit is not above 0; by `ask`, if a limit is on no cost of the task.
    """

    def __init__(
        self,
        controller: _Asks,
        decode: Callable[[Genotype], Any],
        costs: Callable[[Any], Mapping[str, float]],
        limits: Mapping[str, float],
    ) -> None:
        super().__init__(controller, decode)
        if not all(0 < limit < math.inf for limit in limits.values()):
            raise FilterError(f"limits of cost must be above 0 and finite, not {dict(limits)}")
        self.costs, self.limits = costs, dict(limits)
        self._nearest: tuple[float, Mapping[str, float]] = (float("inf"), {})

    def _passes(self, spec: Any) -> bool:
        try:
            costs = self.costs(spec)
        except ValueError:  # A spec of which no network can be made, at this scale.
            return False
        unknown = sorted(set(self.limits) - set(costs))
        if unknown:
            raise FilterError(f"no cost {unknown[0]!r} is known before training; there are {sorted(costs)}")
        over = max(costs[name] / limit for name, limit in self.limits.items())
        self._nearest = min(self._nearest, (over, costs), key=lambda found: found[0])
        return over <= 1

    def _why(self) -> str:
        costs = self._nearest[1]
        if not costs:
            return "are no networks whose cost can be told"
        found = ", ".join(f"{name} {costs[name]:g} (limit {limit:g})" for name, limit in self.limits.items())
        return f"cost too much; the nearest: {found}"


class PromiseFilter(Filter):
    """Passes on the best part of what has been proposed so far, by a score that needs no training.

    Args:
        controller, decode: see `Filter`.
        score: of a spec; higher is better, None if it has none.
        keep: which part passes, above 0 and up to 1.
        first: so many proposals pass whatever their score, such as those that were chosen by it.

    Raises:
        FilterError: if keep is out of range.
    """

    def __init__(
        self,
        controller: _Asks,
        decode: Callable[[Genotype], Any],
        score: Callable[[Any], float | None],
        keep: float,
        first: int = 0,
    ) -> None:
        super().__init__(controller, decode)
        if not 0 < keep <= 1:
            raise FilterError(f"keep must be above 0 and up to 1, not {keep}")
        self.score, self.keep, self.first = score, keep, first
        self._seen: list[float] = []

    def _passes(self, spec: Any) -> bool:
        found = self.score(spec)
        if found is None:
            return False
        insort(self._seen, found)
        if self._asked < self.first:
            return True
        better = len(self._seen) - bisect_right(self._seen, found)
        return better < self.keep * len(self._seen)

    def _why(self) -> str:
        return f"are not among the best {100 * self.keep:g} % by their score before training"
