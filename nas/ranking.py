"""Which of several controllers is better, from their scores over seeds: ranks, tests, bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
RESAMPLES = 1000

Scores = Mapping[str, NDArray[np.float64]]
"""Final scores by controller, one for each seed; higher is better."""


@dataclass(frozen=True)
class Ranking:
    """How controllers stand to each other.

    Args:
        overall_p: Kruskal-Wallis: that all scores come from one distribution.
        ranks: mean rank over seeds by controller; 1 is best, equals share their ranks.
        pairs: (better, worse) to Holm-adjusted p of a two-sided Mann-Whitney test, named by its outcome.
        superiority: (better, worse) to the chance that a search with the first ends higher than one with the
            second, ties counted half.
        against: one-sided p of beating the baseline, unadjusted; empty without a baseline.
    """

    overall_p: float
    ranks: Mapping[str, float]
    pairs: Mapping[tuple[str, str], float]
    superiority: Mapping[tuple[str, str], float]
    against: Mapping[str, float]

    def beaten(self, name: str) -> int:
        """How many others a controller beats, with an adjusted p below 0.05."""
        return sum(p < LEVEL for (better, _), p in self.pairs.items() if better == name)


def rank(scores: Scores, baseline: str | None = None) -> Ranking:
    """Ranks controllers.

    Args:
        scores: as many for each controller.
        baseline: name of one of them.
    """
    from scipy import stats

    names = list(scores)
    table = np.array([scores[name] for name in names])
    ranks = stats.rankdata(-table, axis=0).mean(1)
    distinct = len(np.unique(table)) > 1 and len(names) > 1
    raw: dict[tuple[str, str], float] = {}
    superiority = {}
    for i, a in enumerate(names):
        for b in names[:i]:
            test = stats.mannwhitneyu(scores[a], scores[b], alternative="two-sided")
            chance = float(test.statistic) / (len(scores[a]) * len(scores[b]))
            pair, chance = ((a, b), chance) if chance >= 0.5 else ((b, a), 1 - chance)
            # Where all are equal the test has nothing to say.
            raw[pair] = 1.0 if np.isnan(test.pvalue) else float(test.pvalue)
            superiority[pair] = chance
    against = {}
    if baseline is not None:
        for name in names:
            if name != baseline:
                test = stats.mannwhitneyu(scores[name], scores[baseline], alternative="greater")
                against[name] = float(test.pvalue)
    return Ranking(
        float(stats.kruskal(*table).pvalue) if distinct else 1.0,
        dict(zip(names, ranks.tolist(), strict=True)),
        holm(raw),
        superiority,
        against,
    )


def holm(raw: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """p values of several tests, adjusted so that one false finding among all is no likelier than told.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted, worst = {}, 0.0
    for i, (pair, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
        worst = max(worst, min(1.0, p * (len(raw) - i)))
        adjusted[pair] = worst
    return adjusted


def band(values: NDArray[np.float64], seed: int = 0) -> tuple[NDArray[np.float64], ...]:
    """Mean over the rows of [seeds, points], and the ends of its 95 % bootstrap interval."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(values), size=(RESAMPLES, len(values)))
    # Counts instead of gathers: memory stays that of [resamples, seeds].
    counts = np.stack([np.bincount(row, minlength=len(values)) for row in drawn])
    means = counts @ values / len(values)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return values.mean(0), low, high


def curve(steps: Sequence[tuple[float, float]], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best so far at given places, from (place, best) wherever it improved; NaN before the first."""
    places = np.array([place for place, _ in steps])
    bests = np.array([np.nan, *(best for _, best in steps)])
    return bests[np.searchsorted(places, at, side="right")]
