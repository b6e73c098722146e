"""From the configuration of a search to the objects that run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nas.config import (
    ConfigError,
    build,
    build_controller,
    build_executor,
    build_root,
    build_space,
    build_task,
)
from nas.config.workers import settle_workers
from nas.plugins import reraise_as
from nas.search.config import SearchConfig
from nas.search.scheduler import FullTraining, Scheduler
from nas.search.settings import SearchSettings
from search_space.utils.validation import is_number

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from controllers import AskTell
    from nas.executors import Executor
    from nas.journal.observer import Observer
    from proxy_tasks.task import AdaptedTask
    from search_space import Space


@dataclass(frozen=True, kw_only=True)
class SearchSetup:
    """What a search is made of.

    Args:
        space, controller, task, executor: see `nas.run_search`.
        trials: number of proposals.
        config: settings of the search.
        observers: the user's own.
        notes: lines for the user about workers, cores and GPUs.
    """

    space: Space
    controller: AskTell
    task: AdaptedTask
    executor: Executor
    trials: int
    config: SearchConfig
    observers: tuple[Observer, ...]
    notes: tuple[str, ...] = ()


def build_setup(config: DictConfig) -> SearchSetup:
    """Builds all that a configuration of `nas search` names; "auto" becomes a number in it.

    Raises:
        ConfigError: if a value is wrong; it names the key.
        OSError: if workers are to be counted on a cluster that cannot be reached.
    """
    notes = settle_workers(config, config.trials if type(config.trials) is int else None)
    settings = build_root(config, SearchSettings)
    space = build_space(config.space)
    task = build_task(config.task)
    controller = build_controller(config.controller, space)
    if settings.zero_cost.measure is not None:
        from nas.search.zero_cost import with_zero_cost

        controller = with_zero_cost(controller, space, task, settings.zero_cost, settings.seed)
    if settings.cost_limits:
        controller = _limit_costs(controller, space, task, settings.cost_limits)
    return SearchSetup(
        space=space,
        controller=controller,
        task=task,
        executor=build_executor(config.executor),
        trials=settings.trials,
        config=SearchConfig(
            seed=settings.seed,
            fidelity=settings.fidelity,
            wall_time=settings.wall_time,
            target=settings.target,
            objective=settings.objective,
            scheduler=_build_scheduler(config),
            **asdict(settings.search),
        ),
        observers=tuple(_build_observer(node, name) for name, node in config.observers.items()),
        notes=notes,
    )


def _limit_costs(
    controller: AskTell, space: Space, task: AdaptedTask, limits: Mapping[str, float]
) -> AskTell:
    """Puts the controller behind a filter of costs that the task knows before training."""
    import numpy as np

    from controllers import BudgetFilter

    if task.costs is None:
        raise ConfigError(f"cost_limits: {task.name} has no costs(spec) to be limited")
    spec = space.decode(space.sample(np.random.default_rng(0)))
    with reraise_as(f"{task.name}.costs", but=(ValueError,)):
        known = task.costs(spec)
    for name, limit in limits.items():
        if name not in known:
            names = ", ".join(known)
            raise ConfigError(f"cost_limits.{name}: no such cost; known before training are {names}")
        if not is_number(limit) or limit <= 0:
            raise ConfigError(f"cost_limits.{name} must be a number above 0, not {limit!r}")
    return BudgetFilter(controller, space.decode, task.costs, dict(limits))


def _build_scheduler(config: DictConfig) -> Scheduler | None:
    scheduler: Scheduler | None = build(config.scheduler, "scheduler") if config.scheduler else None
    if not config.pruner:
        return scheduler
    if scheduler is not None and type(scheduler) is not FullTraining:
        raise ConfigError("pruner and scheduler cannot be combined; give pruner=none or scheduler=full")
    from nas.search.pruning import PruningScheduler

    return PruningScheduler(build(config.pruner, "pruner"))


def _build_observer(node: Any, name: object) -> Observer:
    observer: Observer = build(node, f"observers.{name}")
    for method in ("on_event", "close"):
        if not callable(getattr(observer, method, None)):
            raise ConfigError(f"observers.{name}: {type(observer).__name__} has no method {method}")
    return observer
