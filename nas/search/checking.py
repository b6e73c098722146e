"""The parts of a search are held against each other before anything is started or written."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nas.executors import Executor
from nas.executors.sending import check_sent
from nas.journal.observer import Observer
from nas.plugins.faults import FaultError, one_line, reraise_as
from nas.plugins.kinds import lacks
from nas.search.ask_tell import refuse_no_spec
from nas.search.config import SearchConfig
from nas.search.objective import Objective, ObjectiveError
from proxy_tasks.adapted_task import AdaptedTask
from search_space import Decision as Choice
from search_space import Space, graph_features
from search_space.utils.lookup import suggestion


@runtime_checkable
class SendsTasks(Protocol):
    """Ability of an executor: it sends the task and the specs to other processes."""

    def check_sending(self, task: Any, spec: Any) -> None:
        """Checks that both can be sent.

        Args:
            task: as the user wrote it.
            spec: one of those that the space decodes.

        Raises:
            ValueError: if one cannot; it says which, and why.
        """


def check_parts(space: Space, task: AdaptedTask, executor: Executor, scheduler: object) -> Any:
    """Checks a search's task with a spec of its space, whether both can be sent, and its scheduler.

    Returns:
        the spec.

    Raises:
        ValueError: if the task evaluates no specs of this space, the task or a spec cannot be sent to the
            workers, or the scheduler cannot be copied.
        FaultError: if the space fails.
    """
    if scheduler is not None:
        advice = "make that part when it is first used"
        name, what = type(scheduler).__name__, "cannot be copied, which each search does"
        check_sent(scheduler, name, what, copy.deepcopy, advice)
    spec = check_space(space, task)
    if isinstance(executor, SendsTasks):
        for each in task.tasks:
            executor.check_sending(each.task, spec)
    return spec


def check_space(space: Space, task: AdaptedTask) -> Any:
    """Checks a task with a random spec of a space, and gives this spec.

    Raises:
        ValueError: if the task evaluates no such specs.
        FaultError: if the space fails, or the task's check does in another way.
    """
    name = type(space).__name__
    with reraise_as(f"{name}.decisions"):
        decisions: object = space.decisions
    if not isinstance(decisions, Sequence) or not all(isinstance(each, Choice) for each in decisions):
        advice = "; write @property above it" if callable(decisions) else ""
        given = one_line(repr(decisions))
        raise FaultError(f"{name}.decisions must be a tuple of search_space.Decision, not {given}{advice}")
    with reraise_as(f"{name}.sample"):
        genotype = space.sample(np.random.default_rng(0))
    with reraise_as(f"{name}.decode"):
        spec = space.decode(genotype)
    refuse_no_spec(spec, name)
    check_spec(task, spec)
    return spec


def list_observers(observers: Iterable[Observer]) -> list[Observer]:
    """Gives what `nas.run_search` was given as observers, as a list.

    Raises:
        ValueError: if these are not several objects.
    """
    if isinstance(observers, str) or not isinstance(observers, Iterable):
        raise ValueError(f"observers must be a list of observers, not a {type(observers).__name__}")
    return list(observers)


def refuse_others(
    *, space: object, controller: object, executor: object, config: object, observers: Iterable[object]
) -> None:
    """Checks that the parts of `nas.run_search` are objects with the methods that a search calls.

    Raises:
        ValueError: naming the argument and what would be right.
    """
    for kind, found in {"space": space, "controller": controller, "executor": executor}.items():
        _refuse_other(kind, kind, found)
    if not isinstance(config, SearchConfig):
        raise ValueError(f"config must be a nas.SearchConfig, not a {type(config).__name__}")
    for observer in observers:
        _refuse_other("observers", "observer", observer)
    if config.scheduler is not None:
        _refuse_other("config.scheduler", "scheduler", config.scheduler)


def _refuse_other(name: str, kind: str, found: object) -> None:
    if isinstance(found, type):
        raise ValueError(
            f"{name} must be an object, not the class {found.__name__}; write {found.__name__}(...)"
        )
    fault = lacks(kind, found)
    if fault is not None:
        raise ValueError(f"{name}: {type(found).__name__} {fault}")


def check_data(task: AdaptedTask) -> None:
    """Lets a task say what is wrong with its data, if it can.

    Raises:
        ValueError, OSError: what the task says.
        FaultError: if its `check` fails otherwise.
    """
    if task.check is not None:
        with reraise_as(f"{task.name}.check", but=(ValueError, OSError)):
            task.check()


def costs_of(task: AdaptedTask, spec: Any) -> Mapping[str, float]:
    """Gives what a task knows of a spec before any training; nothing if it tells nothing.

    Raises:
        ValueError, OSError: what the task says, such as that no network can be made of the spec.
        FaultError: if its `costs` fails otherwise.
    """
    if task.costs is None:
        return {}
    with reraise_as(f"{task.name}.costs", but=(ValueError, OSError)):
        return task.costs(spec)


def check_metrics(objective: Objective, task: AdaptedTask, spec: Any) -> None:
    """Looks for an objective's metrics among those of a task, if the task names all of its own.

    Args:
        objective: of the search.
        task: scores.
        spec: one of the space.

    Raises:
        ObjectiveError: if no score will have one of them.
        FaultError: if the task's `costs` fails.
    """
    if task.metric_names is None:
        return
    known = dict.fromkeys(("reward", *task.metric_names, *graph_features(spec)))
    if known.keys() >= {*objective.names, *objective.limits}:  # Costs may have to look at the data.
        return
    known |= dict.fromkeys(costs_of(task, spec))
    for key in ("maximize", "minimize", "limits"):
        for name in getattr(objective, key):
            if name not in known:
                hint = suggestion(name, known)
                raise ObjectiveError(
                    f"objective.{key}: no metric {name!r} in the scores of {task.name}{hint}; there are "
                    f"{', '.join(known)}"
                )


def check_spec(task: AdaptedTask, spec: Any) -> None:
    """Asks a task, and that of the finalists, whether it evaluates such specs as this one.

    Raises:
        ValueError: if it does not; it says why.
        FaultError: if the check fails in another way.
    """
    for each in task.tasks:
        if each.check_spec is not None:
            with reraise_as(f"{each.name}.check_spec", but=(ValueError,)):
                each.check_spec(spec)
