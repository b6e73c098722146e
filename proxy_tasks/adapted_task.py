"""A task as the rest of the program sees it: with all arguments and all abilities, or None in their place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import Parameter
from pathlib import Path
from typing import Any

from proxy_tasks.plain_scores import as_score, plain_costs, plain_scores, taking_numbers
from proxy_tasks.task import OPTIONAL, Report, Score, Trainable
from search_space.utils.signatures import accepts, names_parameter, takes_nothing


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
        offered = dict(zip(OPTIONAL, (fidelity, seed, taking_numbers(report), checkpoint), strict=True))
        chosen = {name: offered[name] for name in self.arguments}
        if self.by_position:
            found = self.task.evaluate(spec, *chosen.values())
        else:
            found = self.task.evaluate(spec, **chosen)
        return as_score(found, f"{self.name}.evaluate must return")


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
        costs=partial(plain_costs, costs, f"{name}.costs") if accepts(costs, None) else None,
        metric_names=_names(_attribute(task, "metric_names")),
        digest=digest if isinstance(digest, str) else None,
        scores=partial(plain_scores, scores) if takes_nothing(scores) else None,
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
