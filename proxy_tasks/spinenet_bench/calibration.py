"""Calibration: what is really measured where a model expects much.

The highest of many expectations are too high more often than too low. Above a knee, the expectation is
therefore replaced by a line of another slope. Knee and slope are found on expectations of models that did not
know the measured value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.encoding import Matrix

KNEES = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Quantiles of the expectations, one of which is the knee."""

SLOPE_SPREAD = 1.0
"""Standard deviation of the slope around 1 before anything is measured."""

LEAST_SLOPE, MOST_SLOPE = 0.1, 2.0
"""Bounds of the slope. It is above 0, so a calibration keeps ranks."""

Folds = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Replaces expectations above a knee.

    Args:
        knee: expectation up to which nothing is changed.
        slope: by how much the result rises with the expectation above the knee.
    """

    knee: float = 0.0
    slope: float = 1.0

    def __call__(self, expected: Matrix) -> Matrix:
        """Gives calibrated expectations, [N]."""
        return np.asarray(expected + (self.slope - 1) * np.maximum(expected - self.knee, 0))


def find_calibration(expected: Matrix, measured: Matrix, folds: Folds) -> Calibration:
    """Finds the calibration of expectations; the one that changes nothing is among those compared.

    The knee is the one with the least squared error where knees and slopes were found on other folds.

    Args:
        expected, measured: [N].
        folds: number of each one's fold, [N].
    """
    best, least = Calibration(), float(np.square(expected - measured).sum())
    splits = list(_splits(folds))
    for quantile in KNEES if splits else ():
        error = 0.0
        for held, known in splits:
            calibration = _at_knee(expected[known], measured[known], quantile)
            error += float(np.square(calibration(expected[held]) - measured[held]).sum())
        if error < least:
            best, least = _at_knee(expected, measured, quantile), error
    return best


def cross_calibrate(expected: Matrix, measured: Matrix, folds: Folds) -> Matrix:
    """Gives expectations, [N], each calibrated by what was found on the other folds.

    Args:
        expected, measured, folds: see `find_calibration`.
    """
    found = expected.copy()
    for held, known in _splits(folds):
        calibration = find_calibration(expected[known], measured[known], folds[known])
        found[held] = calibration(expected[held])
    return found


def _splits(folds: Folds) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """The members of each fold, and all others; none if there is a single fold."""
    numbers = np.unique(folds).tolist()
    if len(numbers) > 1:
        for fold in numbers:
            yield folds == fold, folds != fold


def _at_knee(expected: Matrix, measured: Matrix, quantile: float) -> Calibration:
    """The calibration at a quantile of the expectations, its slope at the highest posterior."""
    knee, apart = float(np.quantile(expected, quantile)), measured - expected
    noise = float(np.square(apart[expected >= np.quantile(expected, KNEES[0])]).mean())
    above = np.maximum(expected - knee, 0)
    scale = float(above @ above) + noise / SLOPE_SPREAD**2
    slope = 1 + float(above @ apart) / scale if scale else 1.0
    return Calibration(knee=knee, slope=min(MOST_SLOPE, max(LEAST_SLOPE, slope)))
