"""Zero-cost measures at work in a search: where it begins, and which proposals are worth a training."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from controllers import PromiseFilter
from nas.config import ConfigError
from nas.progress import counter
from proxy_tasks.task import TaskFailureError, evaluated
from search_space import Genotype, Space


def with_zero_cost(controller: Any, space: Space, task: Any, settings: Any, seed: int) -> Any:
    """The controller, told where to begin, and behind a filter if not all proposals shall pass.

    Args:
        controller: of the search.
        space, task: of the search; the task's own network, data and loss are looked at.
        settings: with `measure`, `start`, `candidates`, `keep` and `sign`, as in configs/search.yaml.
        seed: of the search.

    Raises:
        ConfigError: if the settings or the controller cannot do it.
    """
    from proxy_tasks.zero_cost import ZeroCostTask

    start, candidates = settings.start, settings.candidates
    if type(start) is not int or type(candidates) is not int or not 0 <= start <= candidates:
        raise ConfigError(f"zero_cost: 0 <= start <= candidates, not {start!r} and {candidates!r}")
    try:
        measure = ZeroCostTask(task, settings.measure, settings.sign)
    except ValueError as error:
        raise ConfigError(f"zero_cost: {error}") from None

    @lru_cache(maxsize=4096)
    def score(spec: Any) -> float | None:
        try:
            found = evaluated(measure, spec, 1.0, seed, lambda *_: None, None)
        except TaskFailureError:
            return None
        return float(found.reward)

    first = 0
    if start:
        if not hasattr(controller, "begin_with"):
            raise ConfigError(f"zero_cost.start: {type(controller).__name__} has no begin_with(genotypes)")
        chosen = best_by(score, space, start, candidates, seed)
        controller.begin_with(chosen)
        first = len(chosen)
    if settings.keep == 1:
        return controller
    return PromiseFilter(controller, space.decode, score, settings.keep, first)


def best_by(
    score: Callable[[Any], float | None], space: Space, count: int, candidates: int, seed: int
) -> list[Genotype]:
    """The best of random genotypes by a score, best first, no two of one key.

    Args:
        score: of a spec; None if it has none.
        space: they are drawn from.
        count: how many are wanted; fewer if the others have no score.
        candidates: how many are drawn.
        seed: of the draws.
    """
    rng, show = np.random.default_rng((seed, 2)), counter("specs scored before training")
    found: dict[str, tuple[float, Genotype]] = {}
    for number in range(candidates):
        genotype = space.sample(rng)
        spec = space.decode(genotype)
        value = score(spec)
        if value is not None:
            found[space.key(spec)] = (value, genotype)
        if show is not None:
            show(number + 1, candidates)
    ranked = sorted(found.values(), key=lambda item: -item[0])
    return [genotype for _, genotype in ranked[:count]]
