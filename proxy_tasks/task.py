"""Task: what gives a spec its score, what else it may be able to do, and how it can fail.

A task needs one method, `evaluate(self, spec)`. Everything else is optional: further arguments of `evaluate`,
and further methods ("abilities"). `proxy_tasks.adapted_task.adapt` looks once at what a task has and gives an
`AdaptedTask`, which every other part of the program uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, get_args

from search_space.utils.validation import Above, AtMost, describe, matches

FailureKind = Literal["invalid", "diverged", "out of memory", "error", "infrastructure"]


@dataclass(frozen=True)
class Score:
    """The result of an evaluation.

    Args:
        reward: what a search maximizes.
        metrics: further numbers by name, such as AP, params, macs, seconds. NaN stands for one that was not
            measured.
    """

    reward: float
    metrics: Mapping[str, float] = field(default_factory=dict)


Report = Callable[[int, Score], None]
"""Takes a step and an intermediate score; it may raise an exception to end the evaluation early."""


Fidelity = Annotated[float, Above(0), AtMost(1000)]
"""Length of a training relative to the task's own."""


OPTIONAL = ("fidelity", "seed", "report", "checkpoint")
"""Arguments that `evaluate` may take after the spec."""


class TaskFailureError(RuntimeError):
    """An evaluation has ended without a score.

    Args:
        kind: the class of the failure. "invalid" and "diverged" are due to the spec, "infrastructure" is due
            to the machine.
        message: what happened, in one line.
        step: the training step at which it happened, if it was during training.

    Raises:
        ValueError: if there is no such class.
    """

    def __init__(self, kind: FailureKind, message: str, step: int | None = None) -> None:
        if kind not in get_args(FailureKind):
            known = ", ".join(f'"{name}"' for name in get_args(FailureKind))
            raise ValueError(
                f"the kind of a TaskFailureError must be one of {known}, not {describe_value(kind)}"
            )
        super().__init__(message if step is None else f"{message} (step {step})")
        self.kind, self.message, self.step = kind, message, step

    def __reduce__(self) -> tuple[type[TaskFailureError], tuple[FailureKind, str, int | None]]:
        """Lets workers send the error to the search."""
        return type(self), (self.kind, self.message, self.step)


class Task(Protocol):
    """Gives a score to a spec. This one method is all that a task needs.

    A task of your own may take the spec alone, or the spec and those of the other arguments that it names.
    It may return a plain number.
    """

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """Returns the score of a spec.

        Args:
            spec: what the space has decoded.
            fidelity: length of the training relative to the task's own, above 0.
            seed: the same seed on the same machine gives the same score.
            report: is called with intermediate scores.
            checkpoint: folder for the state of the training, so that a second call with the same arguments
                continues where the first one was stopped; None to keep nothing. The caller removes it when
                the score is recorded.

        Raises:
            TaskFailureError: if there is no score; it gives the reason.
        """
        ...


class Trainable(Protocol):
    """Ability, for `nas train`: trains a network that can be kept, as `proxy_tasks.TrainingTask` does."""

    def fit(
        self,
        spec: Any,
        fidelity: float,
        seed: int,
        report: Report,
        checkpoint: Path | None,
        *,
        on_evaluation: Any = None,
        on_step: Any = None,
        weights: Any = None,
    ) -> Score:
        """Works like `Task.evaluate`; see `proxy_tasks.training_task.TrainingTask.fit`."""

    def model(self, spec: Any, categories: Any) -> Any:
        """Describes the network of a spec; see `proxy_tasks.training_task.TrainingTask.model`."""

    def categories(self) -> Any:
        """Gives the categories of the data."""


def check_fidelity(fidelity: object) -> None:
    """Raises ValueError unless the value is a valid length of a training."""
    if not matches(fidelity, Fidelity):
        raise ValueError(f"fidelity must be {describe(Fidelity)}, not {fidelity!r}")


def describe_value(value: Any) -> str:
    """Names the type of a value, and the value itself or its shape where that is short."""
    if isinstance(value, int) and value.bit_length() > 1024:  # Nor could it be printed.
        return "a whole number that is too large for a float"
    name, shape = type(value).__name__, getattr(value, "shape", None)
    if shape:
        return f"a {name} of shape {tuple(shape)}"
    shown = repr(value) if isinstance(value, (str, int, float, complex)) else ""
    return f"a {name} ({shown})" if 0 < len(shown) <= 40 else f"a {name}"
