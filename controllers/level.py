"""What is learned at one length from the length before: a line, and how metrics go with the reward."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from controllers.outliers import floor
from search_space.encoding import Matrix
from search_space.utils.gaussian_process import GaussianProcess

LOWEST = 2.0
"""Values are cut off at this number of deviations below the median: how poor the poor ones are explains
nothing."""

ASSUMED = 3
"""This number of trainings counts as much as what is assumed of a line before any training was seen."""

USUAL_SLOPE = 0.4
"""Assumed slope over the reward at the shorter length, and over the expectation of that reward, in
deviations."""

PRIOR_SLOPE = 0.6
"""Assumed slope over the prior, in deviations."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """What is learned of the F metrics at one length.

    Args:
        floors: lower values count as these, [F].
        spreads: by how much values deviate, [F].
        usual: factors and constants by which metrics follow from the reward, [F, 2].
        center: mean of the rewards.
        before: means of the metrics at the length before, and of the reward that was expected there from the
            inputs alone, [F + 1]; at the first length that of the prior, [1], or nothing, [0].
        slopes: of the line over these.
        process: of the rewards' distances to the line; None where too few are known.
        others: at the first length, what is expected of each training if its own reward is not known. Few
            trainings reach the later lengths, and their own rewards there count.
    """

    floors: Matrix
    spreads: Matrix
    usual: Matrix
    center: float
    before: Matrix
    slopes: Matrix
    process: GaussianProcess | None
    others: Mapping[int, float]

    def line(self, before: Matrix) -> Matrix:
        """The rewards [N] on the line over what is known before, [N, F + 1] or as `before`."""
        return np.asarray(self.center + (before - self.before) @ self.slopes)

    def metrics_of(self, rewards: Matrix) -> Matrix:
        """The metrics [N, F] that usually go with rewards [N]."""
        return rewards[:, None] * self.usual[:, 0] + self.usual[:, 1]

    def filled(self, measured: Matrix) -> Matrix:
        """Measured metrics [F] without gaps and without extremes."""
        low = np.fmax(measured, self.floors)
        return np.where(np.isnan(measured), self.metrics_of(low[:1])[0], low)


def fit_line(values: Matrix, before: Matrix, last: Level | None) -> Level:
    """Learns a length but for its process.

    Args:
        values: of the metrics of N trainings at this length, [N, F]; NaN for those that were not measured.
        before: what is known of these at the length before, [N, F + 1]; at the first length the prior,
            [N, 1], or nothing, [N, 0].
        last: what was learned at the length before; None at the first.
    """
    floors = np.array([floor(column, LOWEST) for column in values.T])
    values = np.where(np.isnan(values), np.nan, np.fmax(values, floors))
    rewards = values[:, 0]
    if last is None:
        spreads, units, usual_slope = _spreads(values), np.ones(before.shape[1]), PRIOR_SLOPE
    else:
        spreads, units = _spreads(values, last.spreads), np.append(last.spreads, last.spreads[0])
        usual_slope = USUAL_SLOPE
    return Level(
        floors=floors,
        spreads=spreads,
        usual=_usual(values),
        center=float(rewards.mean()),
        before=before.mean(0),
        slopes=_slopes(before / units, rewards, usual_slope * spreads[0]) / units,
        process=None,
        others={},
    )


def _usual(values: Matrix) -> Matrix:
    """How metrics follow from the reward, the first of the metrics in values [N, F]: factors, constants."""
    found = np.zeros((values.shape[1], 2))
    for column, metric in enumerate(values.T):
        known = ~np.isnan(metric)
        if not known.any():
            continue
        rewards = values[known, 0]
        apart = rewards - rewards.mean()
        squares = float(apart @ apart)
        factor = float(apart @ metric[known]) / squares if squares else float(column == 0)
        found[column] = factor, metric[known].mean() - factor * rewards.mean()
    return found


def _spreads(values: Matrix, assumed: Matrix | None = None) -> Matrix:
    """By how much metrics [N, F] deviate; of few values, much like at the length before."""
    found = []
    for column, metric in enumerate(values.T):
        known = metric[~np.isnan(metric)]
        count, variance = len(known), float(known.var()) if len(known) else 0.0
        if assumed is not None:
            variance = (count * variance + ASSUMED * float(assumed[column]) ** 2) / (count + ASSUMED)
        deviation, mean = math.sqrt(variance), abs(float(known.mean())) if count else 0.0
        # What is constant deviates by its rounding.
        found.append(deviation if deviation > 1e-9 * mean else max(1.0, mean))
    return np.array(found)


def _slopes(before: Matrix, rewards: Matrix, usual: float) -> Matrix:
    """Slopes [C] of rewards [N] over what is known before.

    Args:
        before: the expected reward is the last column, and the reward itself the first, [N, C].
        rewards: what was measured.
        usual: what is assumed of the slopes over these two.
    """
    scaled, count = before - before.mean(0), before.shape[1]
    assumed = np.zeros(count)
    assumed[[0, -1] if count else []] = usual
    matrix = scaled.T @ scaled + ASSUMED * np.eye(count)
    known = scaled.T @ (rewards - rewards.mean())
    return np.asarray(np.linalg.solve(matrix, known + ASSUMED * assumed))
