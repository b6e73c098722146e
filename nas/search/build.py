"""From the configuration of a search to the objects that run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from controllers import BudgetFilter, OptunaController
from controllers.filters import behind_filters, within
from nas.config import (
    ConfigError,
    build,
    build_controller,
    build_executor,
    build_prior,
    build_root,
    build_scheduler,
    build_space,
    build_task,
)
from nas.config.workers import settle_workers
from nas.plugins.faults import FaultError
from nas.plugins.kinds import lacks
from nas.search.checking import check_metrics, check_space, costs_of
from nas.search.config import SearchConfig
from nas.search.halving import HalvingScheduler
from nas.search.scheduler import FullTraining, Scheduler
from nas.search.settings import SearchSettings
from search_space import graph_features
from search_space.utils.validation import is_number

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from controllers import AskTell
    from controllers.evidence import Prior
    from nas.executors import Executor
    from nas.journal.observer import Observer
    from proxy_tasks.adapted_task import AdaptedTask
    from search_space import Space

MOST_OF_TPE = 2000
"""Trials of a search beyond which Optuna's TPE takes more than half a second for a proposal."""


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
    spec = check_space(space, task)
    check_metrics(settings.objective, task, spec)
    controller, prior = build_controller(config.controller, space), _build_prior(config.prior, spec)
    limits = dict(settings.cost_limits)
    costs = _known_costs(task, limits, spec)
    if limits:  # First: what a limit forbids need not be measured, and is no part of the best.
        controller = BudgetFilter(controller, space.decode, costs, limits)
    if settings.zero_cost.measure is not None:
        from nas.search.zero_cost import with_zero_cost

        controller = with_zero_cost(
            controller, space, task, settings.zero_cost, settings.seed, partial(within, costs, limits)
        )
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
            scheduler=_build_scheduler(config, task, space),
            prior=prior,
            **asdict(settings.search),
        ),
        observers=tuple(_build_observer(node, name) for name, node in config.observers.items()),
        notes=(
            *notes,
            *_warn_of_answers(task, prior),
            *_warn_of_unused(task, settings.search),
            *_warn_of_slow(controller, settings.trials),
        ),
    )


def _warn_of_slow(controller: AskTell, trials: int) -> tuple[str, ...]:
    """What to say of a controller that takes long to propose in a search of so many trials."""
    proposer = behind_filters(controller)
    if trials <= MOST_OF_TPE or not isinstance(proposer, OptunaController) or not proposer.is_tpe:
        return ()
    return (
        f"controller.sampler={proposer.variant} takes longer for a proposal the more trials there are: "
        f"beyond {MOST_OF_TPE} over half a second, and this search has {trials}; controller=evolution does "
        "not slow down",
    )


def _known_costs(
    task: AdaptedTask, limits: Mapping[str, float], spec: Any
) -> Callable[[Any], dict[str, float]]:
    """Gives what tells of a spec what is known before training: costs and graph features.

    Args:
        task: of the search.
        limits: of these.
        spec: one of the space.

    Raises:
        ConfigError: if a limit is wrong.
    """

    def costs(spec: Any) -> dict[str, float]:
        return {**graph_features(spec), **costs_of(task, spec)}

    if not limits:
        return costs
    known = costs(spec)
    if not known:
        raise ConfigError(f"cost_limits: {task.name} has no costs(spec) to be limited, and specs no graph")
    for name, limit in limits.items():
        if name not in known:
            names = ", ".join(known)
            raise ConfigError(f"cost_limits.{name}: no such cost; known before training are {names}")
        if not is_number(limit) or limit < 0:
            raise ConfigError(f"cost_limits.{name} must be a number of at least 0, not {limit!r}")
    return costs


def _build_scheduler(config: DictConfig, task: AdaptedTask, space: Space) -> Scheduler | None:
    scheduler: Scheduler | None = build_scheduler(config.scheduler, space) if config.scheduler else None
    if isinstance(scheduler, HalvingScheduler):
        last = scheduler.rungs[-1]
        for key in ("evaluations", "reports"):
            reports = getattr(task.task, key, None)
            if type(reports) is int and last >= reports:
                raise ConfigError(
                    f"scheduler.rungs: a trial is paused after {last} reports, but each has {reports}, the "
                    f"last one included; give task.{key}={2 * last}, or other rungs"
                )
        least = scheduler.reduction ** len(scheduler.rungs)
        if config.trials < least:
            raise ConfigError(f"trials must be at least {least}, or no trial would come past the last rung")
    if not config.pruner:
        return scheduler
    for key in ("evaluations", "reports"):
        reports = getattr(task.task, key, None)
        if type(reports) is int and reports < 2:
            raise ConfigError(
                f"pruner: no trial would be ended early, as none reports before its end; give task.{key}=4"
            )
    if scheduler is not None and type(scheduler) is not FullTraining:
        raise ConfigError("pruner and scheduler cannot be combined; give pruner=none or scheduler=full")
    from nas.search.pruning import PruningScheduler

    return PruningScheduler(build(config.pruner, "pruner"))


def _build_prior(node: Any, spec: Any) -> Prior | None:
    """Builds a prior, and asks it once: what is wrong with its files should be told before anything begins.

    Raises:
        ConfigError: if it cannot be built, or cannot tell anything of a spec.
    """
    if not node:
        return None
    from nas.search.guarded_prior import GuardedPrior

    prior: Prior = build_prior(node)
    try:
        GuardedPrior(prior)([spec])
    except ConfigError:
        raise
    except (FaultError, ValueError) as error:
        raise ConfigError(f"prior: {error}") from None
    return prior


def _warn_of_answers(task: AdaptedTask, prior: Prior | None) -> tuple[str, ...]:
    """A line for the user where the prior knows the scores that the search is to find."""
    if prior is None:  # Nothing of the table need be imported.
        return ()
    from proxy_tasks import SpineNetBenchTask, TablePrior

    if isinstance(task.task, SpineNetBenchTask) and isinstance(prior, TablePrior):
        return ("the prior knows the scores of this task; prior=none searches without that",)
    return ()


def _warn_of_unused(task: AdaptedTask, settings: Any) -> tuple[str, ...]:
    """A line for the user where images are kept for finalists that there will not be."""
    if task.finalist_task is None or settings.finalists:
        return ()
    return (
        "images are kept for finalists (task.data.selection), but search.finalists is 0; search.finalists=5 "
        "evaluates the best five networks on them",
    )


def _build_observer(node: Any, name: object) -> Observer:
    observer: Observer = build(node, f"observers.{name}")
    fault = lacks("observer", observer)
    if fault is not None:
        raise ConfigError(f"observers.{name}: {type(observer).__name__} {fault}")
    return observer
