"""Task: what gives a spec its score, what else it may be able to do, and how it can fail.

A task needs one method, `evaluate(self, spec)`. Everything else is optional: further arguments of `evaluate`,
and further methods ("abilities"). `adapt` looks once at what a task has and gives an `AdaptedTask`, which
every other part of the program uses.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from search_space.utils.validation import Above, AtMost, describe, matches

FailureKind = Literal["invalid", "diverged", "out of memory", "error", "infrastructure"]


@dataclass(frozen=True)
class Score:
    """The result of an evaluation.

    Args:
        reward: what a search maximizes.
        metrics: further numbers by name, such as AP, params, macs, seconds.
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
    """

    def __init__(self, kind: FailureKind, message: str, step: int | None = None) -> None:
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
                continues where the first one was stopped; None to keep nothing.

        Raises:
            TaskFailureError: if there is no score; it gives the reason.
        """
        ...


@runtime_checkable
class HasSetup(Protocol):
    """Ability: prepares something once per search, on the machine that runs the search."""

    def setup(self, run_dir: Path) -> None:
        """Prepares the task. `run_dir` is the folder of the search."""


@runtime_checkable
class HasOpen(Protocol):
    """Ability: prepares something once per worker, before the worker's first evaluation."""

    def open(self) -> None:
        """Prepares the worker, for example loads data into memory."""


@runtime_checkable
class HasCheck(Protocol):
    """Ability: checks its settings and data before a search begins."""

    def check(self) -> None:
        """Raises ValueError or OSError that says what is wrong; must take well under a second."""


@runtime_checkable
class HasCosts(Protocol):
    """Ability: knows metrics of a spec before any training."""

    def costs(self, spec: Any) -> Mapping[str, float]:
        """Returns metrics by name, such as "params" and "macs"."""


@runtime_checkable
class EstimatesSeconds(Protocol):
    """Ability: predicts the duration of an evaluation."""

    def estimate_seconds(self, spec: Any, fidelity: float) -> float:
        """Returns the seconds that one evaluation takes on this machine."""


@runtime_checkable
class HasDigest(Protocol):
    """Ability: identifies the data behind the scores, so that results of other data are not mixed in."""

    @property
    def digest(self) -> str:
        """A short text that changes when the scores would change."""


@runtime_checkable
class HasScores(Protocol):
    """Ability: knows all its scores in advance, as a table does."""

    def scores(self) -> Iterable[Score]:
        """Returns the scores of all specs that the task can evaluate."""


@runtime_checkable
class Trainable(Protocol):
    """Ability: trains a network that can be kept, which `nas train` needs."""

    def fit(self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None) -> Score:
        """Works like `Task.evaluate`; see `proxy_tasks.training_task.TrainingTask.fit` for more options."""


@dataclass(frozen=True, kw_only=True)
class AdaptedTask:
    """A task with all arguments and all abilities, made by `adapt`.

    Args:
        task: the original.
        arguments: names of the arguments that `evaluate` takes after the spec.
        by_position: whether these are passed by position.
        prepare: the task's `setup`, or None.
        open_worker: the task's `open`, or None.
        check: the task's ability of that name, or None; likewise `costs`, `estimate_seconds`, `digest` and
            `scores`.
        trainable: the task itself if it has the ability `fit`, or None.
    """

    task: Any
    arguments: tuple[str, ...]
    by_position: bool
    prepare: Callable[..., None] | None = None
    open_worker: Callable[[], None] | None = None
    check: Callable[[], None] | None = None
    costs: Callable[[Any], Mapping[str, float]] | None = None
    estimate_seconds: Callable[[Any, float], float] | None = None
    digest: str | None = None
    scores: Callable[[], Iterable[Score]] | None = None
    trainable: Trainable | None = None

    @property
    def takes_checkpoint(self) -> bool:
        """Whether `evaluate` uses a folder for checkpoints."""
        return "checkpoint" in self.arguments

    @property
    def name(self) -> str:
        """Name of the original's class."""
        return type(self.task).__name__

    def setup(self, run_dir: Path) -> None:
        """Is called once per search, on the machine that runs the search."""
        if self.prepare is not None:
            self.prepare(run_dir=run_dir)

    def open(self) -> None:
        """Is called once per worker, before its first evaluation."""
        if self.open_worker is not None:
            self.open_worker()

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """Evaluates a spec; see `Task.evaluate`.

        Raises:
            TaskFailureError: as the task does, and if it returns neither a number nor a `Score`.
        """
        offered = dict(zip(OPTIONAL, (fidelity, seed, report, checkpoint), strict=True))
        chosen = {name: offered[name] for name in self.arguments}
        if self.by_position:
            found = self.task.evaluate(spec, *chosen.values())
        else:
            found = self.task.evaluate(spec, **chosen)
        if isinstance(found, Real) and not isinstance(found, bool):
            return Score(float(found))
        if not isinstance(found, Score):
            kind = type(found).__name__
            raise TaskFailureError("error", f"evaluate must return a number or a Score, not a {kind}")
        return found


def adapt(task: Any) -> AdaptedTask:
    """Looks once at what a task takes and what it can do.

    A method counts as an ability only if it has the name and takes the arguments of the protocol. A user's
    task may have a method of the same name for another purpose, which must not be called.

    Args:
        task: any object with a method `evaluate`; an `AdaptedTask` is returned as it is.

    Raises:
        ValueError: if the object is no task; see `task_fault`.
    """
    if isinstance(task, AdaptedTask):
        return task
    fault = task_fault(task)
    if fault:
        raise ValueError(fault)
    parameters = _parameters(task.evaluate) or []
    by_position = _takes_all(parameters)
    named = [parameter.name for parameter in parameters[1:]]
    return AdaptedTask(
        task=task,
        arguments=OPTIONAL if by_position else tuple(name for name in OPTIONAL if name in named),
        by_position=by_position,
        prepare=task.setup if isinstance(task, HasSetup) and _accepts(task.setup, run_dir=Path()) else None,
        open_worker=task.open if isinstance(task, HasOpen) and _accepts(task.open) else None,
        check=task.check if isinstance(task, HasCheck) and _accepts(task.check) else None,
        costs=task.costs if isinstance(task, HasCosts) and _accepts(task.costs, None) else None,
        estimate_seconds=(
            task.estimate_seconds
            if isinstance(task, EstimatesSeconds) and _accepts(task.estimate_seconds, None, 1.0)
            else None
        ),
        digest=task.digest if isinstance(task, HasDigest) and isinstance(task.digest, str) else None,
        scores=task.scores if isinstance(task, HasScores) and _accepts(task.scores) else None,
        trainable=(
            task
            if isinstance(task, Trainable) and _accepts(task.fit, None, **dict.fromkeys(OPTIONAL))
            else None
        ),
    )


def check_fidelity(fidelity: object) -> None:
    """Raises ValueError unless the value is a valid length of a training."""
    if not matches(fidelity, Fidelity):
        raise ValueError(f"fidelity must be {describe(Fidelity)}, not {fidelity!r}")


def task_fault(task: Any) -> str:
    """Says why an object is no task; "" if it is one."""
    name = type(task).__name__
    if not callable(getattr(task, "evaluate", None)):
        return f"{name} has no method evaluate(self, spec)"
    parameters = _parameters(task.evaluate)
    if parameters is None:
        return f"{name}.evaluate has no signature that Python can read; write evaluate(self, spec)"
    if _takes_all(parameters):
        return ""
    if not parameters or parameters[0].kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        return f"{name}.evaluate takes no spec; write evaluate(self, spec)"
    for parameter in parameters[1:]:
        has_default = parameter.default is not parameter.empty
        if parameter.name not in OPTIONAL and not has_default and parameter.kind is not parameter.VAR_KEYWORD:
            return (
                f"{name}.evaluate asks for {parameter.name!r}; after the spec it may name "
                f"{', '.join(OPTIONAL)}"
            )
    return ""


def _parameters(method: Callable[..., Any]) -> list[Parameter] | None:
    try:
        return list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return None


def _takes_all(parameters: list[Parameter]) -> bool:
    """Whether the arguments may be passed by position: `*args`, or our five in our order."""
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    rest = parameters[1:]
    positional = all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in rest)
    return positional and [p.name.strip("_") for p in rest] == list(OPTIONAL)


def _accepts(method: Any, *values: object, **named: object) -> bool:
    """Whether a method can be called with these arguments."""
    try:
        inspect.signature(method).bind(*values, **named)
    except (TypeError, ValueError):
        return False
    return True
