"""Zero-cost measures in a search: they choose its first proposals, and which proposals are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from controllers import AskTell, ZeroCostFilter
from controllers.filters import MAX_RESAMPLES, behind_filters
from nas.config import ConfigError
from nas.search.settings import ZeroCostSettings
from nas.utils.terminal import counter
from proxy_tasks.adapted_task import AdaptedTask, adapt
from proxy_tasks.task import TaskFailureError
from search_space import Genotype, Space, graph_features
from search_space.utils.signatures import accepts


@runtime_checkable
class HasWarmStart(Protocol):
    """Ability of a controller: its first proposals can be given to it."""

    def warm_start(self, genotypes: Iterable[Genotype]) -> None:
        """Takes the first proposals."""


def with_zero_cost(
    controller: AskTell,
    space: Space,
    task: AdaptedTask,
    settings: ZeroCostSettings,
    seed: int,
    passes: Callable[[Any], bool],
) -> AskTell:
    """Lets a controller begin with the best of random specs, and filters its proposals.

    Args:
        controller: of the search.
        space: of the search.
        task: of the search; its own network, data and loss are measured.
        settings: with a measure.
        seed: of the search.
        passes: whether a spec may be proposed; the search begins with none that may not.

    Raises:
        ConfigError: if the task or the controller cannot be used so.
    """
    from proxy_tasks.zero_cost import OF_THE_GRAPH, ZeroCostTask

    name: Any = settings.measure
    try:
        measure = adapt(ZeroCostTask(of=task.task, measure=name, sign=settings.sign))
    except ValueError as error:
        raise ConfigError(f"zero_cost: {error}") from None

    spec = space.decode(space.sample(np.random.default_rng(0)))
    if name in OF_THE_GRAPH and name not in graph_features(spec):
        raise ConfigError(f"zero_cost.measure={name}: the specs of this space have no such feature")

    @lru_cache(maxsize=4096)
    def score(spec: Any) -> float | None:
        try:
            found = measure.evaluate(spec, 1.0, seed, lambda *_: None, None)
        except TaskFailureError:
            return None
        return float(found.reward)

    first = 0
    if settings.start:
        proposer = behind_filters(controller)
        if not isinstance(proposer, HasWarmStart) or not accepts(proposer.warm_start, []):
            raise ConfigError(f"zero_cost.start: {type(proposer).__name__} has no warm_start(genotypes)")
        chosen = best_by(score, space, settings.start, settings.candidates, seed, passes)
        proposer.warm_start(chosen)
        first = len(chosen)
    if settings.keep == 1:
        return controller
    return ZeroCostFilter(controller, space.decode, score, settings.keep, first)


def best_by(
    score: Callable[[Any], float | None],
    space: Space,
    count: int,
    candidates: int,
    seed: int,
    passes: Callable[[Any], bool] = lambda spec: True,
) -> list[Genotype]:
    """The best of random genotypes by a score, best first, no two of one key.

    Args:
        score: of a spec; None if it has none.
        space: they are drawn from.
        count: how many are wanted; fewer if the others have no score.
        candidates: how many are scored; fewer if too many in a row do not pass.
        seed: of the random numbers.
        passes: whether a spec comes into question.
    """
    rng, show = np.random.default_rng((seed, 2)), counter("specs scored before training")
    found: dict[str, tuple[float, Genotype]] = {}
    for number in range(candidates):
        samples = (space.sample(rng) for _ in range(MAX_RESAMPLES))
        drawn = ((genotype, space.decode(genotype)) for genotype in samples)
        passing = next((pair for pair in drawn if passes(pair[1])), None)
        if passing is None:
            break
        genotype, spec = passing
        value = score(spec)
        if value is not None:
            found[space.key(spec)] = (value, genotype)
        if show is not None:
            show(number + 1, candidates)
    ranked = sorted(found.values(), key=lambda item: -item[0])
    return [genotype for _, genotype in ranked[:count]]
