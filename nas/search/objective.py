"""The objective: what a search maximizes, made of a score's metrics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from controllers import Reward
from proxy_tasks.task import Score
from search_space.utils.validation import AtMost, is_number, validate


class ObjectiveError(ValueError):
    """An objective that makes no sense, or a score that has no reward by it."""


class MissingMetricError(ObjectiveError):
    """A score without a metric of the objective."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One or several rewards of a score.

    Args:
        maximize: metrics to be maximized; "reward" is the task's own.
        minimize: metrics to be minimized, as further objectives.
        limits: largest values of metrics, above 0, such as {"macs": 1e9}.
        penalty_exponent: exponent w by which the first objective is multiplied, (value / limit) ** w, where a
            limit is exceeded (Tan et al. 2019 use -0.07); None for hard limits, which make a score
            count as a failure for the controller and never as a winner.

    Raises:
        ObjectiveError: if a value is out of its range, there is nothing to maximize or minimize, or a metric
            is named twice.
    """

    maximize: Sequence[str] = ("reward",)
    minimize: Sequence[str] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    penalty_exponent: Annotated[float, AtMost(0)] | None = None

    def __post_init__(self) -> None:
        validate(self, ObjectiveError)
        if not self.names:
            raise ObjectiveError("an objective needs something to maximize or minimize")
        for name, count in Counter(self.names).items():
            if count > 1 and name in self.maximize and name in self.minimize:
                raise ObjectiveError(f"{name} is to be maximized and minimized; give objective.maximize too")
            if count > 1:
                raise ObjectiveError(f"{name} stands {count} times in the objective")
        for name, limit in self.limits.items():
            if not is_number(limit) or limit <= 0:
                raise ObjectiveError(f"limits.{name} must be a number above 0, not {limit!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics of the objectives."""
        return (*self.maximize, *self.minimize)

    def rewards(self, score: Score, *, early: bool = False) -> tuple[float, ...] | None:
        """Gives the rewards, all to be maximized; None if a hard limit is exceeded.

        Args:
            score: of a trial.
            early: whether the trial is not over. A metric that is limited may be measured at the end alone;
                limits of metrics that the score lacks are left out then.

        Raises:
            MissingMetricError: if the score lacks a metric.
            ObjectiveError: if a metric is not finite.
        """
        found = [self._value(score, name) for name in self.maximize]
        found += [-self._value(score, name) for name in self.minimize]
        for name, limit in self.limits.items():
            if early and name != "reward" and name not in score.metrics:
                continue
            over = self._value(score, name) / limit
            if over > 1 and self.penalty_exponent is None:
                return None
            if over > 1 and self.penalty_exponent is not None:
                found[0] = _penalize(found[0], over, self.penalty_exponent)
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

    def to_dict(self) -> dict[str, Any]:
        """Gives the settings as plain data, as a journal keeps them."""
        return {
            "maximize": list(self.maximize),
            "minimize": list(self.minimize),
            "limits": {name: float(limit) for name, limit in self.limits.items()},
            "penalty_exponent": self.penalty_exponent,
        }


def _penalize(value: float, over: float, exponent: float) -> float:
    """Lowers a value that exceeds a limit.

    Args:
        value: of the first objective.
        over: how many times the limit it takes, above 1.
        exponent: at most 0.

    Raises:
        ObjectiveError: if the result is no finite number.
    """
    try:
        # A negative value would rise towards zero.
        penalized = value * math.pow(over, exponent if value > 0 else -exponent)
    except OverflowError:
        penalized = math.inf
    if not math.isfinite(penalized):
        raise ObjectiveError(f"the penalty for {over:g} times a limit makes no finite reward of {value:g}")
    return penalized


def check_objective_count(controller: object, objective: Objective) -> None:
    """Compares the number of objectives with that which a controller takes, if it says so.

    Raises:
        ObjectiveError: if they differ.
    """
    takes, names = getattr(controller, "objectives", None), objective.names
    if type(takes) is not int:  # A user's own attribute of that name may be anything.
        return
    if takes < len(names):
        raise ObjectiveError(
            f"the controller takes {takes} of the {len(names)} objectives {', '.join(names)}; "
            f"controller=nsga2 controller.objectives={len(names)} takes all"
        )
    if takes > len(names):
        raise ObjectiveError(
            f"the controller needs {takes} objectives, but there is only {', '.join(names)}; "
            f"add one, such as objective.minimize=[macs], or give controller.objectives={len(names)}"
        )


def as_controller_reward(rewards: tuple[float, ...] | None) -> Reward:
    """Gives what a controller takes: one number for one objective, a tuple for several."""
    return rewards if rewards is None or len(rewards) > 1 else rewards[0]
