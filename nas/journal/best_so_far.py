"""The best reward so far of a search, by its trials, by time, or by anything else that grows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Step(NamedTuple):
    """A place where the best reward improved.

    Args:
        at: position, such as a number of trials or of seconds.
        best: the best reward from there on.
    """

    at: float
    best: float


@dataclass(frozen=True, kw_only=True)
class BestSoFar:
    """The best reward so far of one search.

    Args:
        steps: wherever the best improved, in the order of positions.
        end: position at which the search ended, or has come so far.
    """

    steps: tuple[Step, ...]
    end: float

    @property
    def last(self) -> float | None:
        """The best reward of all; None without one."""
        return self.steps[-1].best if self.steps else None

    def in_units(self, size: float) -> BestSoFar:
        """Gives the same with positions in units of this size, above 0."""
        steps = tuple(Step(step.at / size, step.best) for step in self.steps)
        return BestSoFar(steps=steps, end=self.end / size)


def improvements(points: Iterable[tuple[float, float]]) -> tuple[Step, ...]:
    """Gives the steps of a search's best reward.

    Args:
        points: (position, reward), in the order of positions. Of equal rewards only the first is a step.
    """
    steps: list[Step] = []
    for at, reward in points:
        if not steps or reward > steps[-1].best:
            steps.append(Step(at, reward))
    return tuple(steps)
