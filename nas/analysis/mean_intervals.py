"""Confidence intervals of means and of differences of means, for the few values that seeds give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

CONFIDENCE = 0.95
"""Confidence of all intervals."""

Ends = tuple[float, float]
"""Of an interval; `nas.analysis.rank_correlation.Interval` has the estimate too."""


def mean(values: Sequence[float]) -> float:
    """The mean of finite values, of which there is at least one; it is finite too, however large they are."""
    size = _size(values)
    return size * fmean(value / size for value in values)


def mean_interval(values: Sequence[float]) -> Ends | None:
    """The confidence interval of a mean, by Student's t.

    It is None for fewer than two values, and where an end is too large for a float.
    """
    if len(values) < 2:
        return None
    size = _size(values)
    scaled = [value / size for value in values]
    error = math.sqrt(variance(scaled) / len(values))
    return _around(fmean(scaled), error, len(values) - 1, size)


def gap_interval(values: Sequence[float], others: Sequence[float]) -> Ends | None:
    """The confidence interval of a difference of two means, by Welch's t.

    It is None for fewer than two values on a side, and where an end is too large for a float.
    """
    if len(values) < 2 or len(others) < 2:
        return None
    size = _size([*values, *others])
    sides = [[value / size for value in side] for side in (values, others)]
    parts = [variance(side) / len(side) for side in sides]
    whole, freedom = sum(parts), 1.0
    if whole > 0:
        # Squares of the parts themselves may be too small for a float.
        shares = [part / whole for part in parts]
        freedom = 1 / sum(share**2 / (len(side) - 1) for share, side in zip(shares, sides, strict=True))
    return _around(fmean(sides[0]) - fmean(sides[1]), math.sqrt(whole), freedom, size)


def _size(values: Sequence[float]) -> float:
    """A power of two about as large as the largest value: squares of what it divides are no overflow."""
    largest = max(map(abs, values))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def _around(center: float, error: float, freedom: float, size: float) -> Ends | None:
    """The interval of an estimate and its standard error, which both are multiplied by a size."""
    from scipy import stats

    width = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error if error else 0.0
    low, high = size * (center - width), size * (center + width)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None
