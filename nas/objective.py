"""Objective: what a search maximises, made of a score's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy_tasks.task import Score


class ObjectiveError(ValueError):
    """An objective that names what scores do not have, or limits that cannot be."""


@dataclass(frozen=True)
class Objective:
    """One or several rewards of a score.

    Args:
        maximise: metrics to be maximised; "reward" is the task's own.
        minimise: metrics to be minimised, as further objectives.
        limits: largest values of metrics, such as {"macs": 1e9}.
        softness: exponent w by which the first objective is multiplied, (value / limit) ** w, where a
            limit is exceeded (Tan et al. 2019 use -0.07); None for hard limits, which make a score
            count as a failure for the controller and never as a winner.
    """

    maximise: Sequence[str] = ("reward",)
    minimise: Sequence[str] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    softness: float | None = None

    def __post_init__(self) -> None:
        if not self.maximise and not self.minimise:
            raise ObjectiveError("an objective needs something to maximise or minimise")
        if any(limit <= 0 for limit in self.limits.values()):
            raise ObjectiveError(f"limits must be above 0, not {dict(self.limits)}")
        if self.softness is not None and self.softness > 0:
            raise ObjectiveError(f"softness must be 0 or below, not {self.softness}")

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives' metrics."""
        return (*self.maximise, *self.minimise)

    def rewards(self, score: Score) -> tuple[float, ...] | None:
        """The rewards, all to be maximised; None if a hard limit is exceeded.

        Raises:
            ObjectiveError: if the score lacks a metric.
        """
        found = [self._value(score, name) for name in self.maximise]
        found += [-self._value(score, name) for name in self.minimise]
        for name, limit in self.limits.items():
            over = self._value(score, name) / limit
            if over > 1 and self.softness is None:
                return None
            if over > 1 and self.softness is not None:
                # A negative value would rise towards zero.
                found[0] *= over**self.softness if found[0] > 0 else over**-self.softness
        return tuple(found)

    @staticmethod
    def _value(score: Score, name: str) -> float:
        if name == "reward":
            return score.reward
        if name not in score.metrics:
            raise ObjectiveError(f"no metric {name!r} in the score; there are {', '.join(score.metrics)}")
        return score.metrics[name]


def pareto_front(rewards: Sequence[tuple[float, ...]]) -> list[int]:
    """Indices of what nothing else beats in one reward without losing in another, best first reward first."""
    order = sorted(range(len(rewards)), key=lambda i: rewards[i], reverse=True)
    front: list[int] = []
    for i in order:
        if not any(all(a >= b for a, b in zip(rewards[j], rewards[i], strict=True)) for j in front):
            front.append(i)
    return front
