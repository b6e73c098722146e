"""Objective: what a search maximises, made of a score's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy_tasks.task import Score, is_number


class ObjectiveError(ValueError):
    """An objective that cannot be, or a score that has no reward by it."""


class MissingMetricError(ObjectiveError):
    """A score without a metric of the objective."""


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
        for kind, names in (("maximise", self.maximise), ("minimise", self.minimise)):
            listed = isinstance(names, Sequence) and not isinstance(names, str)
            if not listed or not all(isinstance(name, str) for name in names):
                raise ObjectiveError(f"{kind} must be a list of metrics, such as [reward], not {names!r}")
        if not self.names:
            raise ObjectiveError("an objective needs something to maximise or minimise")
        for name, limit in self.limits.items():
            if not is_number(limit) or limit <= 0:
                raise ObjectiveError(f"limits.{name} must be a number above 0, not {limit!r}")
        if self.softness is not None and (not is_number(self.softness) or self.softness > 0):
            raise ObjectiveError(f"softness must be a number of 0 or below, not {self.softness!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives' metrics."""
        return (*self.maximise, *self.minimise)

    def rewards(self, score: Score) -> tuple[float, ...] | None:
        """The rewards, all to be maximised; None if a hard limit is exceeded.

        Raises:
            MissingMetricError: if the score lacks a metric.
            ObjectiveError: if a metric is not finite.
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
            known = ", ".join(("reward", *score.metrics))
            raise MissingMetricError(f"objective: no metric {name!r} in the score; there are {known}")
        if not is_number(score.metrics[name]):
            raise ObjectiveError(f"{name} is {score.metrics[name]}")
        return score.metrics[name]

    def told(self) -> dict[str, Any]:
        """What it consists of, as a journal keeps it."""
        return {
            "maximise": list(self.maximise),
            "minimise": list(self.minimise),
            "limits": dict(self.limits),
            "softness": self.softness,
        }


def check_objectives(controller: Any, objective: Objective) -> None:
    """Holds the number of objectives against those that a controller takes, if it tells.

    Raises:
        ObjectiveError: if they differ.
    """
    takes, names = getattr(controller, "objectives", None), objective.names
    if takes is not None and takes < len(names):
        raise ObjectiveError(
            f"the controller takes {takes} of the {len(names)} objectives {', '.join(names)}; "
            f"controller=nsga2 controller.objectives={len(names)} takes all"
        )
    if takes is not None and takes > len(names):
        raise ObjectiveError(
            f"the controller wants {takes} objectives and there is {', '.join(names)} only; "
            f"add one, such as objective.minimise=[macs], or give controller.objectives={len(names)}"
        )


def told_reward(rewards: tuple[float, ...] | None) -> float | tuple[float, ...] | None:
    """What a controller is told: one number for one objective, a tuple for several."""
    return rewards if rewards is None or len(rewards) > 1 else rewards[0]


def pareto_front(rewards: Sequence[tuple[float, ...]]) -> list[int]:
    """Indices of what nothing else beats in one reward without losing in another, best first reward first."""
    order = sorted(range(len(rewards)), key=lambda i: rewards[i], reverse=True)
    front: list[int] = []
    for i in order:
        if not any(all(a >= b for a, b in zip(rewards[j], rewards[i], strict=True)) for j in front):
            front.append(i)
    return front
