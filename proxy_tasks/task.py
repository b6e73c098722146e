"""Task: what gives a spec its score, and how it can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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


class TaskFailureError(RuntimeError):
    """An evaluation that ended without a score, and why.

    Args:
        kind: "invalid" and "diverged" are the spec's fault, "infrastructure" is the machine's.
        message: what happened, in one line.
        step: training step at which it happened, if it was in training.
    """

    def __init__(self, kind: FailureKind, message: str, step: int | None = None) -> None:
        super().__init__(message if step is None else f"{message} (step {step})")
        self.kind, self.step = kind, step


class Task(Protocol):
    """Gives a score to a spec. This one method is all that a task of your own needs."""

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
