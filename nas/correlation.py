"""How far the scores of a proxy foretell those of a dearer training: statistics over specs and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Judgement:
    """What proxy scores are worth.

    Args:
        kendall, spearman: rank correlation of the specs' mean proxy scores with their reference scores.
        kendall_p: probability of such a Kendall correlation by chance, two-sided.
        kendall_one_seed: mean over single seeds of the proxy.
        seed_deviation: standard deviation of a spec's proxy score over seeds, pooled; NaN with one seed.
        spec_deviation: standard deviation of the true proxy scores over specs, noise taken off.
        reliability: share of the variance of one proxy score that is the spec's own, 0 to 1.
        neighbour_step: mean change of the proxy score to a neighbour, over that between random specs.
        top: for each k the mean reference score lost against the best spec by re-training the proxy's
            top k at the reference and taking the best of them.
        chance: the same for k specs taken at random.
    """

    kendall: Interval
    spearman: Interval
    kendall_p: float
    kendall_one_seed: float
    seed_deviation: float
    spec_deviation: float
    reliability: float
    neighbour_step: float
    top: dict[int, float]
    chance: dict[int, float]


def judge(
    proxy: Floats, reference: Floats, neighbour_pairs: Sequence[tuple[float, float]] = (), seed: int = 0
) -> Judgement:
    """Statistics of proxy scores [specs, seeds] against reference scores [specs].

    Args:
        proxy: scores of every spec with every seed.
        reference: scores at the dearer fidelity.
        neighbour_pairs: proxy scores of specs and of a neighbour of each.
        seed: of the bootstrap.

    Raises:
        ValueError: with fewer than three specs.
    """
    if len(proxy) < 3:
        raise ValueError(f"rank correlation needs at least 3 specs, not {len(proxy)}")
    means = proxy.mean(1)
    rng = np.random.default_rng(seed)

    def interval(statistic: Callable[[Floats, Floats], float]) -> Interval:
        samples = rng.integers(len(means), size=(2000, len(means)))
        found = np.array([statistic(means[rows], reference[rows]) for rows in samples])
        found = found[np.isfinite(found)]  # A sample may hold one spec alone.
        low, high = np.percentile(found, (2.5, 97.5)) if len(found) else (np.nan, np.nan)
        return Interval(statistic(means, reference), float(low), float(high))

    kendall = interval(_kendall)
    within = float(proxy.var(1, ddof=1).mean()) if proxy.shape[1] > 1 else float("nan")
    between = max(0.0, float(means.var(ddof=1)) - within / proxy.shape[1]) if within == within else np.nan
    random_step = float(np.abs(means[:, None] - means[None]).sum() / (len(means) * (len(means) - 1)))
    steps = [abs(a - b) for a, b in neighbour_pairs]
    order = np.argsort(-means, kind="stable")
    sizes = [k for k in (1, 2, 3, 5, 10) if k < len(means)]
    best = float(reference.max())
    return Judgement(
        kendall=kendall,
        spearman=interval(_spearman),
        kendall_p=float(stats.kendalltau(means, reference).pvalue),
        kendall_one_seed=float(np.mean([_kendall(column, reference) for column in proxy.T])),
        seed_deviation=within**0.5,
        spec_deviation=between**0.5,
        reliability=between / (between + within) if between + within else float("nan"),
        neighbour_step=float(np.mean(steps)) / random_step if steps and random_step else float("nan"),
        top={k: best - float(reference[order[:k]].max()) for k in sizes},
        chance={k: best - _mean_best_of(reference, k) for k in sizes},
    )


def _kendall(a: Floats, b: Floats) -> float:
    return float(stats.kendalltau(a, b).statistic)


def _spearman(a: Floats, b: Floats) -> float:
    """NaN where one side is constant, without a warning."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def _mean_best_of(scores: Floats, k: int) -> float:
    """The exact expectation of the best of k scores drawn without replacement."""
    ordered = np.sort(scores)
    n = len(ordered)
    weights = np.array([comb(i, k - 1) for i in range(n)], dtype=np.float64) / comb(n, k)
    return float(ordered @ weights)
