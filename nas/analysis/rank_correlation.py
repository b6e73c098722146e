"""How well the scores of a proxy predict those of a longer training: statistics over specs and seeds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, nan
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

RESAMPLES = 2000

FEWEST_PAIRS = 10
"""Of fewer pairs of specs, no interval is given."""

PAIRS_OF_A_POINT = 190
"""Pairs, those of 20 specs, from which an interval may be a point.

A bootstrap of specs in perfect order is always one, however few they are."""

SAME = 1e-9
"""Correlations that are closer are the same but for rounding."""


class Correlation(Protocol):
    """A rank correlation along an axis of two arrays of one shape; NaN where a side is constant."""

    def __call__(self, a: Floats, b: Floats, axis: int = -1) -> Floats:
        """Returns the correlations, without the axis."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval.

    Args:
        value: the estimate.
        low, high: ends of the interval; NaN where there is none.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RankCorrelation:
    """How far the scores of a proxy can be trusted.

    Args:
        kendall, spearman: rank correlation of the specs' mean proxy scores with their reference scores.
        kendall_p: probability of such a Kendall correlation by chance, two-sided.
        kendall_one_seed: mean over single seeds of the proxy.
        seed_deviation: standard deviation of a spec's proxy score over seeds, pooled; NaN with one seed.
        spec_deviation: standard deviation of the specs' proxy scores without the noise of the seeds.
        reliability: share of the variance of one proxy score that is the spec's own, 0 to 1.
        neighbor_step: mean change of the proxy score to a neighbor, over that between random specs.
        top: for each k the mean reference score lost against the best spec by re-training the proxy's
            top k at the reference and taking the best of them. Specs of equal proxy scores are in random
            order.
        chance: the same for k specs drawn at random.
    """

    kendall: Interval
    spearman: Interval
    kendall_p: float
    kendall_one_seed: float
    seed_deviation: float
    spec_deviation: float
    reliability: float
    neighbor_step: float
    top: dict[int, float]
    chance: dict[int, float]


def correlate(
    proxy: Floats, reference: Floats, neighbor_pairs: Sequence[tuple[float, float]] = (), seed: int = 0
) -> RankCorrelation:
    """Compares proxy scores with reference scores.

    Args:
        proxy: [specs, seeds], the scores of every spec with every seed.
        reference: [specs], the scores at the higher fidelity.
        neighbor_pairs: proxy scores of a spec and of one of its neighbors.
        seed: of the bootstrap.

    Raises:
        ValueError: if there are fewer than three specs.
    """
    if len(proxy) < 3:
        raise ValueError(f"rank correlation needs at least 3 specs, not {len(proxy)}")
    means = proxy.mean(1)
    rng = np.random.default_rng(seed)
    within, between, reliability = variance_parts(proxy, [np.arange(len(proxy))])
    single = proxy[:, 0]  # As noisy as the scores of neighbors.
    random_step = float(np.abs(single[:, None] - single[None]).sum() / (len(single) * (len(single) - 1)))
    steps = [abs(a - b) for a, b in neighbor_pairs]
    sizes = [k for k in (1, 2, 3, 5, 10) if k < len(means)]
    best = float(reference.max())
    return RankCorrelation(
        kendall=_interval(kendall, means, reference, rng),
        spearman=_interval(spearman, means, reference, rng),
        kendall_p=float(stats.kendalltau(means, reference).pvalue),
        kendall_one_seed=float(np.mean([kendall(column, reference) for column in proxy.T])),
        seed_deviation=within**0.5,
        spec_deviation=between**0.5,
        reliability=reliability,
        neighbor_step=float(np.mean(steps)) / random_step if steps and random_step else float("nan"),
        top={k: best - expected_best_of_top(means, reference, k) for k in sizes},
        chance={k: best - expected_best(reference, k) for k in sizes},
    )


def variance_parts(proxy: Floats, groups: Sequence[NDArray[np.intp]]) -> tuple[float, float, float]:
    """Splits the variance of scores: that over seeds, that of the specs of one group, and the latter's share.

    All are NaN with one seed, the share also if nothing varies.

    Args:
        proxy: [specs, seeds].
        groups: positions of the specs of each group; specs are compared with others of their group alone.
    """
    some = proxy[np.concatenate(groups)]
    freedom = len(some) - len(groups)
    if proxy.shape[1] < 2 or freedom < 1:
        return float("nan"), float("nan"), float("nan")
    within = float(some.var(1, ddof=1).mean())
    squares = sum(float(np.square(proxy[g].mean(1) - proxy[g].mean()).sum()) for g in groups)
    between = max(0.0, squares / freedom - within / proxy.shape[1])
    return within, between, between / (between + within) if between + within else float("nan")


def _interval(correlation: Correlation, a: Floats, b: Floats, rng: np.random.Generator) -> Interval:
    """A correlation of pairs with its percentile bootstrap interval."""
    with warnings.catch_warnings():
        # A resample may hold one spec alone, whose correlation is not defined; it is left out.
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (a, b),
            correlation,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=rng,
        ).bootstrap_distribution
        value = float(correlation(a, b))
    return percentile_interval(value, found, len(a) * (len(a) - 1) // 2)


def percentile_interval(value: float, drawn: Floats, pairs: int) -> Interval:
    """Gives a correlation with the percentile interval of its resamples.

    There is no interval where no resample is defined, where there are fewer than `FEWEST_PAIRS`, and where
    all resamples agree on fewer than `PAIRS_OF_A_POINT`.

    Args:
        value: the correlation of the specs themselves.
        drawn: those of the resamples; NaN where one is not defined.
        pairs: of specs that are compared with each other.
    """
    found = drawn[np.isfinite(drawn)]
    if not len(found) or pairs < FEWEST_PAIRS:
        return Interval(value, nan, nan)
    low, high = (float(end) for end in np.percentile(found, (2.5, 97.5)))
    if high - low < SAME and pairs < PAIRS_OF_A_POINT:
        return Interval(value, nan, nan)
    return Interval(value, low, high)


def kendall(a: Floats, b: Floats, axis: int = -1) -> Floats:
    """Kendall's tau-b."""
    return np.asarray(stats.kendalltau(a, b, axis=axis).statistic)


def spearman(a: Floats, b: Floats, axis: int = -1) -> Floats:
    """Spearman's rho: Pearson's correlation of the ranks."""
    ranks = (stats.rankdata(side, axis=axis) for side in (a, b))
    return np.asarray(stats.pearsonr(*ranks, axis=axis).statistic)


def expected_best_of_top(scores: Floats, reference: Floats, k: int) -> float:
    """Returns the exact expectation of the best reference score among the k specs of the highest scores.

    Specs of equal scores are in random order, so that equal scores of all specs are worth what chance is.

    Args:
        scores: [specs], by which the k are chosen.
        reference: [specs].
        k: from 1 to the number of specs.
    """
    last = np.sort(scores)[-k]
    sure, tied = reference[scores > last], reference[scores == last]
    return expected_best(np.maximum(tied, sure.max(initial=-np.inf)), k - len(sure))


def expected_best(scores: Floats, k: int) -> float:
    """Returns the exact expectation of the best of k scores drawn without replacement."""
    ordered = np.sort(scores)
    n = len(ordered)
    weights = np.array([comb(i, k - 1) for i in range(n)], dtype=np.float64) / comb(n, k)
    return float(ordered @ weights)
