"""Calibration: what is really measured where a model expects something, by class of excess.

A model of all specs is right on average over all of them. Among specs of one excess it can still be too sure
of differences that it sees, and too high or too low. So what it expects is replaced by a line for each class.
The lines are found on expectations of models that did not know the measured value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space.encoding import Matrix

CLASSES = 4
"""Excess 0, 1, 2, and 3 or more."""

SLOPE_SPREAD, OFFSET_SPREAD = 0.3, 0.1
"""Standard deviations, before anything is measured, of a line's slope around 1, and of how far its middle is
moved, relative to the deviation of what is measured."""

LEAST_SLOPE, MOST_SLOPE = 0.1, 2.0
"""Bounds of a slope. It is above 0, so a calibration keeps the ranks within a class."""

Folds = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Replaces the expectations of one class.

    Args:
        middle: an expectation.
        offset: what is added to it.
        slope: by how much the result rises with the expectation.
    """

    middle: float = 0.0
    offset: float = 0.0
    slope: float = 1.0

    def __call__(self, expected: Matrix) -> Matrix:
        """Gives calibrated expectations, [N]."""
        return np.asarray(expected + self.offset + (self.slope - 1) * (expected - self.middle))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Replaces expectations.

    Args:
        lines: of each class, `CLASSES` of them.
    """

    lines: tuple[Line, ...] = (Line(),) * CLASSES

    def __call__(self, expected: Matrix, excess: Matrix) -> Matrix:
        """Gives calibrated expectations, [N].

        Args:
            expected: [N].
            excess: of the same specs, [N], at least 0.
        """
        found, classes = expected.copy(), _classes(excess)
        for each, line in enumerate(self.lines):
            found[classes == each] = line(expected[classes == each])
        return found


def find_calibration(expected: Matrix, measured: Matrix, excess: Matrix) -> Calibration:
    """Finds the calibration of expectations: each line at its highest posterior.

    Args:
        expected, measured, excess: [N].
    """
    classes, spread = _classes(excess), float(measured.std())
    members = [classes == each for each in range(CLASSES)]
    return Calibration(lines=tuple(_line(expected[kept], measured[kept], spread) for kept in members))


def cross_calibrate(expected: Matrix, measured: Matrix, excess: Matrix, folds: Folds) -> Matrix:
    """Gives expectations, [N], each calibrated by what was found on the other folds.

    Args:
        expected, measured, excess: see `find_calibration`.
        folds: number of each one's fold, [N]. If all are in one, nothing is changed.
    """
    found, numbers = expected.copy(), np.unique(folds).tolist()
    for fold in numbers if len(numbers) > 1 else ():
        held, known = folds == fold, folds != fold
        calibration = find_calibration(expected[known], measured[known], excess[known])
        found[held] = calibration(expected[held], excess[held])
    return found


def calibrate(calibrations: Sequence[Calibration], expected: Matrix, excess: Matrix) -> Matrix:
    """Gives calibrated expectations, [N, outputs].

    Args:
        calibrations: of each output.
        expected: [N, outputs].
        excess: of the same specs, [N].
    """
    pairs = zip(calibrations, expected.T, strict=True)
    return np.stack([calibration(column, excess) for calibration, column in pairs], axis=1)


def _classes(excess: Matrix) -> NDArray[np.int64]:
    return np.minimum(excess, CLASSES - 1).astype(np.int64)


def _line(expected: Matrix, measured: Matrix, spread: float) -> Line:
    """The line of a class; `spread` is the deviation of what is measured over all classes."""
    apart = measured - expected
    noise = float(np.square(apart).mean()) if len(apart) else 0.0
    if not noise:
        return Line()
    middle = float(expected.mean())
    around = expected - middle
    slope = 1 + float(around @ apart) / (float(around @ around) + noise / SLOPE_SPREAD**2)
    offset = float(apart.sum()) / (len(apart) + noise / (OFFSET_SPREAD * spread) ** 2) if spread else 0.0
    return Line(middle=middle, offset=offset, slope=min(MOST_SLOPE, max(LEAST_SLOPE, slope)))
