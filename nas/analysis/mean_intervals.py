"""Confidence intervals of means and of differences of means, for the few values that seeds give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

LEVEL = 0.95
"""Confidence of all intervals."""

Interval = tuple[float, float]


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The confidence interval of a mean, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    error = math.sqrt(variance(values) / len(values))
    return _around(fmean(values), error, len(values) - 1)


def gap_interval(values: Sequence[float], others: Sequence[float]) -> Interval | None:
    """The confidence interval of a difference of two means, by Welch's t; None for fewer than two values."""
    if len(values) < 2 or len(others) < 2:
        return None
    parts = [variance(side) / len(side) for side in (values, others)]
    freedom = 1.0
    if sum(parts) > 0:
        freedom = sum(parts) ** 2 / sum(
            part**2 / (len(side) - 1) for part, side in zip(parts, (values, others), strict=True)
        )
    return _around(fmean(values) - fmean(others), math.sqrt(sum(parts)), freedom)


def _around(center: float, error: float, freedom: float) -> Interval:
    from scipy import stats

    if error == 0:
        return center, center
    width = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return center - width, center + width
