"""Task: what gives a spec its score, and how it can fail."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Protocol

FailureKind = Literal["invalid", "diverged", "out of memory", "error", "infrastructure"]


@dataclass(frozen=True)
class Score:
    """What an evaluation found.

    Args:
        reward: what a search maximises.
        metrics: named figures, such as AP, params, MACs, seconds.
    """

    reward: float
    metrics: Mapping[str, float] = field(default_factory=dict)


Report = Callable[[int, Score], None]
"""Told (step, intermediate score); may raise to end the evaluation early."""


MOST_FIDELITY = 1000.0
"""Times a task's own training; more is a slip of the pen."""
KNOWN = ("fidelity", "seed", "report", "checkpoint")
"""What `evaluate` may take after the spec."""


class TaskFailureError(RuntimeError):
    """An evaluation that ended without a score, and why.

    Args:
        kind: "invalid" and "diverged" are the spec's fault, "infrastructure" is the machine's.
        message: what happened, in one line.
        step: training step at which it happened, if it was in training.
    """

    def __init__(self, kind: FailureKind, message: str, step: int | None = None) -> None:
        super().__init__(message if step is None else f"{message} (step {step})")
        self.kind, self.message, self.step = kind, message, step

    def __reduce__(self) -> tuple[type[TaskFailureError], tuple[FailureKind, str, int | None]]:
        """Workers send it to the search."""
        return type(self), (self.kind, self.message, self.step)


class Task(Protocol):
    """Gives a score to a spec. This one method is all that a task of your own needs.

    It may take the spec alone, or those of the other arguments that it names, and may give a plain number.
    """

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """The score of a spec.

        Args:
            spec: what the space decoded.
            fidelity: length of the training relative to the task's own, above 0.
            seed: the same seed on the same machine gives the same score.
            report: to be told intermediate scores.
            checkpoint: folder to keep the state in, so that a second call with the same arguments goes
                on where the first one was cut off; None to keep nothing.

        Raises:
            TaskFailureError: if there is no score, with the reason.
        """
        ...


def evaluated(
    task: Any, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
) -> Any:
    """What a task finds; its `evaluate` is given what it takes, and a plain number becomes a score.

    Arguments: see `Task.evaluate`.
    """
    offered = dict(zip(KNOWN, (fidelity, seed, report, checkpoint), strict=True))
    parameters = list(inspect.signature(task.evaluate).parameters.values())
    if _takes_all(parameters):
        found = task.evaluate(spec, *offered.values())
    else:
        named = {p.name: offered[p.name] for p in parameters[1:] if p.name in offered}
        found = task.evaluate(spec, **named)
    number = isinstance(found, Real) and not isinstance(found, bool)
    return Score(float(found)) if number else found


def is_number(value: object) -> bool:
    """Whether a value is a finite number, numpy's included."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_fidelity(fidelity: object) -> None:
    """Raises ValueError for what is no length of a training."""
    if not is_number(fidelity) or not 0 < fidelity <= MOST_FIDELITY:  # type: ignore[operator]
        raise ValueError(f"fidelity must be above 0 and up to {MOST_FIDELITY:g}, not {fidelity!r}")


def takes_checkpoint(task: Any) -> bool:
    """Whether a task's `evaluate` is given the folder to go on in."""
    parameters = list(inspect.signature(task.evaluate).parameters.values())
    return _takes_all(parameters) or any(p.name == "checkpoint" for p in parameters)


def task_fault(task: Any) -> str:
    """Why an object is no task; "" if it is one."""
    name = type(task).__name__
    if not callable(getattr(task, "evaluate", None)):
        return f"{name} has no method evaluate(self, spec)"
    parameters = list(inspect.signature(task.evaluate).parameters.values())
    if _takes_all(parameters):
        return ""
    if not parameters:
        return f"{name}.evaluate takes no spec; write evaluate(self, spec)"
    for parameter in parameters[1:]:
        has_default = parameter.default is not parameter.empty
        if parameter.name not in KNOWN and not has_default and parameter.kind is not parameter.VAR_KEYWORD:
            return (
                f"{name}.evaluate asks for {parameter.name!r}; after the spec it may name {', '.join(KNOWN)}"
            )
    return ""


def _takes_all(parameters: list[inspect.Parameter]) -> bool:
    """Whether the arguments may be given by position: `*args`, or our five in our order."""
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    rest = parameters[1:]
    positional = all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in rest)
    return positional and [p.name.strip("_") for p in rest] == list(KNOWN)
