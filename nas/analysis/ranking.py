"""Which of several controllers is better, from their final scores over seeds: ranks, tests, bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

SIGNIFICANCE = 0.05
"""A finding whose p is below this is told."""

Test = TypeVar("Test")

Scores = Mapping[str, NDArray[np.float64]]
"""Final scores by controller, one for each seed; higher is better."""


@dataclass(frozen=True)
class Ranking:
    """How controllers stand to each other.

    Args:
        overall_p: p of Kruskal-Wallis' test that all scores come from one distribution.
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
        """Returns how many others a controller beats, with an adjusted p below 0.05."""
        return sum(p < SIGNIFICANCE for (better, _), p in self.pairs.items() if better == name)


def rank(scores: Scores, baseline: str | None = None) -> Ranking:
    """Ranks controllers.

    Args:
        scores: equally many for each controller.
        baseline: the name of the controller that each other is tested against, or None.
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
            # The test gives NaN where all scores are equal.
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


def holm(raw: Mapping[Test, float]) -> dict[Test, float]:
    """Adjusts the p values of several tests, so that each bounds the chance of any false finding.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted: dict[Test, float] = {}
    worst = 0.0
    for i, (pair, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
        worst = max(worst, min(1.0, p * (len(raw) - i)))
        adjusted[pair] = worst
    return adjusted


def band(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Returns the mean over seeds of [seeds, points], and the ends of its 95 % interval by Student's t."""
    from scipy import stats

    mean, error = values.mean(0), stats.sem(values, axis=0)
    width = stats.t.ppf(0.975, len(values) - 1) * error
    return mean, mean - width, mean + width


def curve(steps: Sequence[tuple[float, float]], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the best so far at given positions.

    Args:
        steps: (position, best) wherever the best improved.
        at: positions, such as numbers of trials or hours.

    Returns:
        One value for each position; NaN before the first step.
    """
    positions = np.array([position for position, _ in steps])
    bests = np.array([np.nan, *(best for _, best in steps)])
    return bests[np.searchsorted(positions, at, side="right")]
