"""Task: what gives a spec its score, what else it may be able to do, and how it can fail.

A task needs one method, `evaluate(self, spec)`. Everything else is optional: further arguments of `evaluate`,
and further methods ("abilities"). `adapt` looks once at what a task has and gives an `AdaptedTask`, which
every other part of the program uses.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, get_args

from search_space.utils.numbers import as_number, as_whole, unwrap
from search_space.utils.signatures import accepts, names_parameter, takes_nothing
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


GPU_SHARE = "NAS_GPU_SHARE"
"""Environment variable that tells a worker which share of a GPU, or how many GPUs, it was given."""


def gpu_share() -> float:
    """Gives the share of its GPU that this process was given, or how many GPUs; 1 if nobody has said it."""
    return float(os.environ.get(GPU_SHARE, "1"))


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
            raise ValueError(f"the kind of a TaskFailureError must be one of {known}, not {_kind(kind)}")
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


@dataclass(frozen=True, kw_only=True)
class AdaptedTask:
    """A task with all arguments and all abilities, made by `adapt`.

    Args:
        task: the original.
        arguments: names of the arguments that `evaluate` takes after the spec.
        by_position: whether these are passed by position.
        prepare: the task's `setup(run_dir)`, or None. It prepares something once for each search, on a
            machine that runs evaluations.
        open_worker: the task's `open()`, or None. It prepares a worker before its first evaluation.
        check: the task's `check()`, or None. It raises ValueError or OSError that says what is wrong with
            settings or data, before a search begins; it must take well under a second.
        check_spec: the task's `check_spec(spec)`, or None. It raises ValueError that says why the task cannot
            evaluate such specs, before a search begins.
        costs: the task's `costs(spec)`, or None. It gives metrics by name before any training.
        metric_names: the task's tuple of that name, or None. It names every metric that a score may have, but
            those of `costs`, so that a wrong objective is told before a search begins.
        digest: the task's text of that name, or None. It identifies the data behind the scores, so that
            results of other data are not mixed in.
        scores: the task's `scores()`, or None. It gives the scores of all specs that the task can evaluate.
        finalist_task: what the task's `for_finalists()` gives, or None. It is the task that evaluates the
            finalists of a search, on images that no trial was scored on.
        trainable: the task itself if it can do what `Trainable` says, or None.
    """

    task: Any
    arguments: tuple[str, ...]
    by_position: bool
    prepare: Callable[..., None] | None = None
    open_worker: Callable[[], None] | None = None
    check: Callable[[], None] | None = None
    check_spec: Callable[[Any], None] | None = None
    costs: Callable[[Any], Mapping[str, float]] | None = None
    metric_names: tuple[str, ...] | None = None
    digest: str | None = None
    scores: Callable[[], Iterable[Score]] | None = None
    trainable: Trainable | None = None
    finalist_task: AdaptedTask | None = None

    @property
    def needs_setup(self) -> bool:
        """Whether there is anything to set up."""
        return any(task.prepare is not None for task in self.tasks)

    @property
    def takes_checkpoint(self) -> bool:
        """Whether `evaluate` uses a folder for checkpoints."""
        return "checkpoint" in self.arguments

    @property
    def name(self) -> str:
        """Name of the original's class."""
        return type(self.task).__name__

    def setup(self, run_dir: Path) -> None:
        """Is called once per search, on a machine that runs evaluations."""
        for task in self.tasks:
            if task.prepare is not None:
                task.prepare(run_dir=run_dir)

    def open(self) -> None:
        """Is called once per worker, before its first evaluation."""
        for task in self.tasks:
            if task.open_worker is not None:
                task.open_worker()

    @property
    def tasks(self) -> tuple[AdaptedTask, ...]:
        """This one, and that for the finalists if there is one."""
        return (self,) if self.finalist_task is None else (self, self.finalist_task)

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """Evaluates a spec; see `Task.evaluate`.

        Raises:
            TaskFailureError: as the task does, and if it returns neither a number nor a `Score`.
        """
        offered = dict(zip(OPTIONAL, (fidelity, seed, _taking_numbers(report), checkpoint), strict=True))
        chosen = {name: offered[name] for name in self.arguments}
        if self.by_position:
            found = self.task.evaluate(spec, *chosen.values())
        else:
            found = self.task.evaluate(spec, **chosen)
        return as_score(found, f"{self.name}.evaluate must return")


def as_score(found: Any, what: str) -> Score:
    """Gives what a task returns or reports as a score of plain floats.

    A reward and the metrics may be any numbers, arrays and tensors of one value included. A metric that is
    None becomes NaN.

    Args:
        found: a number or a `Score`.
        what: begins the message of the error, such as "evaluate must return".

    Raises:
        TaskFailureError: if it is neither, or the score holds something that is no number.
    """
    if not isinstance(found, Score):
        number = as_number(found)
        if number is None:
            hint = "; is a return missing?" if found is None else ""
            if inspect.iscoroutine(found):
                found.close()  # Or Python warns that nobody has waited for it.
                hint = "; it must not be async"
            raise TaskFailureError("error", f"{what} a number or a Score, not {_kind(found)}{hint}")
        return Score(number)
    reward = as_number(found.reward)
    if reward is None:
        raise TaskFailureError("error", f"the reward of a Score is no number, but {_kind(found.reward)}")
    if not isinstance(found.metrics, Mapping):
        raise TaskFailureError(
            "error", f"the metrics of a Score must be numbers by name, not {_kind(found.metrics)}"
        )
    return Score(reward, {str(name): _metric(name, value) for name, value in found.metrics.items()})


def _metric(name: object, value: Any) -> float:
    value = unwrap(value)
    if value is None:
        return math.nan
    number = float(value) if isinstance(value, bool) else as_number(value)
    if number is None:
        raise TaskFailureError("error", f"the metric {str(name)!r} is no number, but {_kind(value)}")
    return number


def _taking_numbers(receive: Report) -> Report:
    """A report that takes plain numbers too, and whole numbers of every kind as its step."""

    def report(step: Any, score: Any) -> None:
        whole = as_whole(step)
        receive(step if whole is None else whole, as_score(score, "report takes a step and"))

    return report


def _kind(value: Any) -> str:
    """Names the type of a value, and the value itself or its shape where that is short."""
    if isinstance(value, int) and value.bit_length() > 1024:  # Nor could it be printed.
        return "a whole number that is too large for a float"
    name, shape = type(value).__name__, getattr(value, "shape", None)
    if shape:
        return f"a {name} of shape {tuple(shape)}"
    shown = repr(value) if isinstance(value, (str, int, float, complex)) else ""
    return f"a {name} ({shown})" if 0 < len(shown) <= 40 else f"a {name}"


def adapt(task: Any) -> AdaptedTask:
    """Looks once at what a task takes and what it can do.

    A method counts as an ability only if it has the name and takes the arguments that `AdaptedTask`
    describes. A user's task may have a method of the same name for another purpose, which must not be called.

    Args:
        task: any object with a method `evaluate`; an `AdaptedTask` is returned as it is.

    Raises:
        ValueError: if the object is no task, see `task_fault`, or `for_finalists` gives none.
    """
    if isinstance(task, AdaptedTask):
        return task
    own, finalists = _adapt(task), _adapt_for_finalists(task)
    if finalists is None:
        return own
    checks = [part.check for part in (own, finalists) if part.check is not None]
    return replace(own, finalist_task=finalists, check=partial(_check_all, checks) if checks else None)


def _check_all(checks: Iterable[Callable[[], None]]) -> None:
    for check in checks:
        check()


def _adapt_for_finalists(task: Any) -> AdaptedTask | None:
    """What evaluates the finalists, if the task has something of its own for that."""
    offer, what = _attribute(task, "for_finalists"), f"{type(task).__name__}.for_finalists"
    if not takes_nothing(offer):
        return None
    try:  # Of the user's own.
        found = offer()
        return None if found is None else _adapt(found)
    except Exception as error:
        raise ValueError(f"{what}: {error}") from None


def _adapt(task: Any) -> AdaptedTask:
    fault = task_fault(task)
    if fault:
        raise ValueError(fault)
    parameters = _parameters(task.evaluate) or []
    by_position = _takes_all(parameters)
    named = [parameter.name for parameter in parameters[1:]]
    setup, opens, check = (_attribute(task, name) for name in ("setup", "open", "check"))
    costs, digest, scores = (_attribute(task, name) for name in ("costs", "digest", "scores"))
    check_spec = _attribute(task, "check_spec")
    name = type(task).__name__
    return AdaptedTask(
        task=task,
        arguments=OPTIONAL if by_position else tuple(name for name in OPTIONAL if name in named),
        by_position=by_position,
        prepare=setup if names_parameter(setup, "run_dir") else None,
        open_worker=opens if takes_nothing(opens) else None,
        check=check if takes_nothing(check) else None,
        check_spec=check_spec if accepts(check_spec, None) else None,
        costs=partial(_plain_costs, costs, f"{name}.costs") if accepts(costs, None) else None,
        metric_names=_names(_attribute(task, "metric_names")),
        digest=digest if isinstance(digest, str) else None,
        scores=partial(_plain_scores, scores) if takes_nothing(scores) else None,
        trainable=task if _is_trainable(task) else None,
    )


def _attribute(task: Any, name: str) -> Any:
    """An attribute that a task or its class has itself; None if it has none, or gives it by an error.

    What a `__getattr__` would make up on demand does not count.
    """
    try:
        inspect.getattr_static(task, name)
        return getattr(task, name)
    except Exception:  # A property of the user's own may raise anything.
        return None


def _names(found: Any) -> tuple[str, ...] | None:
    """A tuple of texts, also from a list; None for anything else."""
    if not isinstance(found, (tuple, list)) or not all(isinstance(name, str) for name in found):
        return None
    return tuple(found)


def _is_trainable(task: Any) -> bool:
    more = dict.fromkeys((*OPTIONAL, "on_evaluation", "on_step", "weights"))
    return (
        accepts(_attribute(task, "fit"), None, **more)
        and accepts(_attribute(task, "model"), None, None)
        and takes_nothing(_attribute(task, "categories"))
    )


def _plain_costs(costs: Callable[[Any], Any], what: str, spec: Any) -> dict[str, float]:
    """Costs as floats by name.

    Raises:
        ValueError: if they are something else.
    """
    found = costs(spec)
    if not isinstance(found, Mapping):
        raise ValueError(f"{what} must give numbers by name, not {_kind(found)}")
    numbers = {str(name): as_number(value) for name, value in found.items()}
    for name, value in found.items():
        if numbers[str(name)] is None:
            raise ValueError(f"{what}: {str(name)!r} is no number, but {_kind(value)}")
    return {name: number for name, number in numbers.items() if number is not None}


def _plain_scores(scores: Callable[[], Iterable[Any]]) -> Iterator[Score]:
    """Scores of plain floats."""
    return (as_score(found, "scores must give") for found in scores())


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
