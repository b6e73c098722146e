"""Filters: controllers that pass on only the cheap or the promising proposals of another controller.

A proposal that is held back was never trained: the controller behind the filter takes it back if it can, and
otherwise it counts as failed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from controllers.controller import AskTell, Proposal, Recalls, ResumesProposals, Reward, TakesBack
from controllers.evidence import Evidence, LearnsFromEvidence
from search_space import Genotype

MAX_RESAMPLES = 1000
"""Proposals in a row that may be held back before a filter gives up."""


RESAMPLES_OF_ITS_OWN = 3
"""Proposals in a row that may be held back if the controller knows the filter's limit: it has itself drawn up
to a thousand genotypes for each of them."""


class FilterError(ValueError):
    """A filter whose settings are wrong, or that no proposal passes."""


@runtime_checkable
class HasLimit(Protocol):
    """Ability of a controller: it can be told what must not be proposed, instead of failing with it."""

    def limit(self, passes: Callable[[Genotype], bool]) -> None:
        """Takes what says whether a genotype may be proposed."""


def behind_filters(controller: AskTell) -> AskTell:
    """Gives the controller behind all filters."""
    while isinstance(controller, Filter):
        controller = controller.controller
    return controller


class Filter(ABC):
    """Passes on those proposals of a controller that a subclass accepts.

    Args:
        controller: the controller whose proposals are filtered.
        decode: turns a genotype into a spec.

    Attributes:
        objectives: how many rewards the controller takes; None for any number.
        rejected: how many proposals were held back so far.
    """

    def __init__(self, controller: AskTell, decode: Callable[[Genotype], Any]) -> None:
        self.controller, self.decode = controller, decode
        self.objectives: int | None = getattr(controller, "objectives", None)
        self.rejected = 0
        self._asked, self._resamples = 0, MAX_RESAMPLES
        # What was passed on, by the number that it has outside, and the other way round.
        self._inner: dict[int, Proposal] = {}
        self._outer: dict[int, int] = {}

    def ask(self) -> Proposal:
        """Returns the controller's next proposal that passes.

        Raises:
            FilterError: if too many proposals in a row do not pass.
        """
        for _ in range(self._resamples):
            inner = self.controller.ask()
            if self._passes(self.decode(inner.genotype)):
                source = inner.resume_from
                proposal = replace(
                    inner, number=self._asked, resume_from=None if source is None else self._outer.get(source)
                )
                self._inner[self._asked], self._outer[inner.number] = inner, self._asked
                self._asked += 1
                return proposal
            self.rejected += 1
            self._hold_back(inner)
        raise FilterError(f"{self._resamples} proposals in a row {self._why()}")

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Passes the reward on to the controller."""
        inner = self._inner.get(proposal.number)
        if inner is not None:
            self.controller.tell(inner, reward)

    def _hold_back(self, inner: Proposal) -> None:
        if isinstance(self.controller, TakesBack):
            self.controller.take_back(inner)
        else:
            self.controller.tell(inner, None)

    def take_back(self, proposal: Proposal) -> None:
        """Takes back a proposal that another filter holds back."""
        self._hold_back(self._inner.pop(proposal.number))

    def recall(self, proposal: Proposal) -> None:
        """Lets the controller recall a proposal, if it can; see `Recalls`."""
        inner = self._inner[proposal.number] = replace(
            self._inner[proposal.number], genotype=proposal.genotype
        )
        if isinstance(self.controller, Recalls):
            self.controller.recall(inner)

    def may_resume(self, proposal: Proposal) -> bool:
        """Asks the controller, if it goes on from proposals; see `ResumesProposals`."""
        inner = self._inner.get(proposal.number)
        return (
            inner is not None
            and isinstance(self.controller, ResumesProposals)
            and self.controller.may_resume(inner)
        )

    def learn_evidence(self, proposal: Proposal, evidence: Evidence) -> None:
        """Passes evidence on to the controller, if it learns from that."""
        inner = self._inner.get(proposal.number)
        if inner is not None and isinstance(self.controller, LearnsFromEvidence):
            self.controller.learn_evidence(inner, evidence)

    @abstractmethod
    def _passes(self, spec: Any) -> bool:
        """Says whether a spec is passed on."""

    @abstractmethod
    def _why(self) -> str:
        """Says why proposals were held back, as the end of a sentence."""


def limited_costs(
    costs: Callable[[Any], Mapping[str, float]], limits: Mapping[str, float], spec: Any
) -> Mapping[str, float] | None:
    """Gives the costs of a spec; None if no network can be made of it at its scale.

    Raises:
        FilterError: if a limit names something that is not known.
    """
    try:
        found = costs(spec)
    except ValueError:
        return None
    unknown = sorted(set(limits) - set(found))
    if unknown:
        raise FilterError(f"no cost {unknown[0]!r} is known before training; there are {sorted(found)}")
    return found


def within(costs: Callable[[Any], Mapping[str, float]], limits: Mapping[str, float], spec: Any) -> bool:
    """Says whether a spec is cheap enough, as a `BudgetFilter` does.

    Raises:
        FilterError: see `limited_costs`.
    """
    found = limited_costs(costs, limits, spec)
    return found is not None and all(found[name] <= limit for name, limit in limits.items())


class BudgetFilter(Filter):
    """Passes on the specs that are cheap enough.

    Args:
        controller, decode: see `Filter`.
        costs: gives what is known of a spec before training, such as {"params": 2e6, "macs": 1e9}.
        limits: the largest value that passes, by name.

    Raises:
        FilterError: if a limit is below 0 or not finite; by `ask`, if a limit names something that is not
            known.
    """

    def __init__(
        self,
        controller: AskTell,
        decode: Callable[[Genotype], Any],
        costs: Callable[[Any], Mapping[str, float]],
        limits: Mapping[str, float],
    ) -> None:
        super().__init__(controller, decode)
        if not all(0 <= limit < math.inf for limit in limits.values()):
            raise FilterError(f"limits of cost must be at least 0 and finite, not {dict(limits)}")
        self.costs, self.limits = costs, dict(limits)
        self._nearest: tuple[float, Mapping[str, float]] = (float("inf"), {})
        proposer = behind_filters(controller)
        if isinstance(proposer, HasLimit):
            proposer.limit(lambda genotype: self._passes(decode(genotype)))
            self._resamples = RESAMPLES_OF_ITS_OWN

    def _passes(self, spec: Any) -> bool:
        costs = limited_costs(self.costs, self.limits, spec)
        if costs is None:
            return False
        over = max(((costs[name] - limit) / (limit or 1) for name, limit in self.limits.items()), default=0.0)
        if over > 0:
            self._nearest = min(self._nearest, (over, costs), key=lambda found: found[0])
        return over <= 0

    def _why(self) -> str:
        costs = self._nearest[1]
        if not costs:
            return "are no networks whose cost is known"
        found = ", ".join(f"{name} {costs[name]:g} (limit {limit:g})" for name, limit in self.limits.items())
        return f"cost too much; the nearest: {found}"


class ZeroCostFilter(Filter):
    """Passes on the best part of all proposals so far, by a score that needs no training.

    Args:
        controller, decode: see `Filter`.
        score: gives the score of a spec; higher is better, None if it has none.
        keep: the part that passes, above 0 and up to 1.
        first: this many proposals pass whatever their score, such as those that were chosen by it.

    Raises:
        FilterError: if `keep` is out of range.
    """

    def __init__(
        self,
        controller: AskTell,
        decode: Callable[[Genotype], Any],
        score: Callable[[Any], float | None],
        keep: float,
        first: int = 0,
    ) -> None:
        super().__init__(controller, decode)
        if not 0 < keep <= 1:
            raise FilterError(f"keep must be above 0 and up to 1, not {keep}")
        self.score, self.keep, self.first = score, keep, first
        self._scores: list[float] = []

    def recall(self, proposal: Proposal) -> None:
        """Counts the score of the recorded proposal, and not that of the one that was made."""
        made = self.score(self.decode(self._inner[proposal.number].genotype))
        recorded = self.score(self.decode(proposal.genotype))
        if made is not None:
            self._scores.remove(made)
        if recorded is not None:
            insort(self._scores, recorded)
        super().recall(proposal)

    def _passes(self, spec: Any) -> bool:
        score = self.score(spec)
        if score is None:
            return False
        insort(self._scores, score)
        if self._asked < self.first:
            return True
        better = len(self._scores) - bisect_right(self._scores, score)
        return better < self.keep * len(self._scores)

    def _why(self) -> str:
        return f"are not among the best {100 * self.keep:g} % by their score before training"
