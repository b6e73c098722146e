"""Gaussian process regression on groups of inputs: what is expected of a point, and how sure that is.

After Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), chapters 2 and 5. The kernel
is a sum with one part for each group, a exp(-d² / (2 l²)), where d² is the squared distance within the group,
relative to its mean over the known points. Amplitudes a, length scales l and the noise maximize the posterior
density of the targets. Their priors are wide, and keep a fit to a dozen points from extremes.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

Matrix = NDArray[np.float64]

LENGTH, NOISE = 1.0, 0.5
"""Medians of the priors of length scales and of the noise's deviation, for targets of deviation 1."""

PRIOR = 1.0
"""Deviation of the logarithms of all settings around these medians."""

JITTER = 1e-6
"""Least variance of the noise: points that are given twice must not make the kernel singular."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Settings of a kernel, for targets of mean 0 and deviation 1.

    Args:
        lengths: the length scale of each group.
        amplitudes: the variance of each group's part.
        noise: variance of the noise.
    """

    lengths: tuple[float, ...]
    amplitudes: tuple[float, ...]
    noise: float


@dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """What known points tell of others; made by `condition`.

    Args:
        kernel: with which settings.
        inputs: of the N known points, an array [N, F] for each group, in the units below.
        means: of the inputs, an array [F] for each group.
        units: what the inputs of each group are divided by, arrays [F].
        center, spread: mean and deviation of the targets.
        factor: lower Cholesky factor [N, N] of the kernel with the noise.
        weights: the kernel's inverse times the targets, [N].
    """

    kernel: Kernel
    inputs: Sequence[Matrix]
    means: Sequence[Matrix]
    units: Sequence[Matrix]
    center: float
    spread: float
    factor: Matrix
    weights: Matrix

    def predict(self, groups: Sequence[Matrix]) -> tuple[Matrix, Matrix]:
        """Gives the mean [M] and the deviation [M] of what is expected of M points, without the noise.

        Args:
            groups: their inputs, an array [M, F] for each group.
        """
        with one_blas_thread():
            kernel = self._kernel(self._distances(groups))
            solved = solve_triangular(self.factor, kernel.T, lower=True, check_finite=False)
            variance = sum(self.kernel.amplitudes) - np.square(solved).sum(0)
            mean = self.center + self.spread * (kernel @ self.weights)
        return mean, self.spread * np.sqrt(variance.clip(0))

    def mean(self, groups: Sequence[Matrix]) -> Matrix:
        """Gives the mean [M] alone, which needs no factor; see `predict`."""
        return means_of([self], groups)[0]

    def _distances(self, groups: Sequence[Matrix]) -> list[Matrix]:
        """Squared distances [M, N] of M points to the known ones, for each group."""
        parts = zip(groups, self.means, self.units, self.inputs, strict=True)
        return [_squared_distances((group - mean) / unit, known) for group, mean, unit, known in parts]

    def _kernel(self, distances: Sequence[Matrix]) -> Matrix:
        return _kernel(distances, self.kernel.lengths, self.kernel.amplitudes)


def means_of(processes: Sequence[GaussianProcess], groups: Sequence[Matrix]) -> list[Matrix]:
    """Gives the means [M] of what processes that know the same points expect of M points.

    Args:
        processes: they differ in kernels and targets alone.
        groups: inputs of the M points, see `GaussianProcess.predict`.
    """
    with one_blas_thread():  # Which takes longer than what is done for one point.
        distances = processes[0]._distances(groups)
        return [each.center + each.spread * (each._kernel(distances) @ each.weights) for each in processes]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Runs a block with one thread of linear algebra: several take longer at these sizes.

    And the last bits of a result do not depend on how many cores a process may use.
    """
    with _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def fit_gaussian_process(groups: Sequence[Matrix], targets: Matrix) -> GaussianProcess:
    """Finds the best kernel for known points, and conditions on them; see `find_kernel` and `condition`."""
    return condition(find_kernel(groups, targets), groups, targets)


def find_kernel(groups: Sequence[Matrix], targets: Matrix) -> Kernel:
    """Finds the settings that known points make most likely.

    Args:
        groups: inputs of N points, an array [N, F] for each group. Inputs within a group that vary count
            alike, whatever their units.
        targets: their values, [N].
    """
    with one_blas_thread():
        distances = [_squared_distances(known, known) for known in _in_units(groups)[0]]
        settings = _best_settings(distances, (targets - targets.mean()) / (targets.std() or 1.0))
    lengths, amplitudes, noise = _split(settings, len(groups))
    return Kernel(lengths=tuple(lengths.tolist()), amplitudes=tuple(amplitudes.tolist()), noise=noise)


def condition(kernel: Kernel, groups: Sequence[Matrix], targets: Matrix) -> GaussianProcess:
    """Makes the process that knows these points; arguments as in `find_kernel`."""
    center, spread = float(targets.mean()), float(targets.std()) or 1.0
    values = (targets - center) / spread
    inputs, means, units = _in_units(groups)
    with one_blas_thread():
        distances = [_squared_distances(known, known) for known in inputs]
        known = _kernel(distances, kernel.lengths, kernel.amplitudes) + kernel.noise * np.eye(len(values))
        factor, _ = cho_factor(known, lower=True, check_finite=False)
        weights = cho_solve((factor, True), values, check_finite=False)
    return GaussianProcess(
        kernel=kernel,
        inputs=inputs,
        means=means,
        units=units,
        center=center,
        spread=spread,
        factor=np.tril(factor),
        weights=weights,
    )


def leave_out(process: GaussianProcess, names: Sequence[Hashable]) -> Matrix:
    """Gives what is expected of each known point, [N], if no value of its name were known.

    Rasmussen and Williams, equation 5.12, for one point a name; for several, with the block of the inverse
    that belongs to them in the place of its diagonal.

    Args:
        process: with its factor.
        names: of the points, N of them.
    """
    places: dict[Hashable, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    weights = process.weights
    with one_blas_thread():
        inverse = cho_solve((process.factor, True), np.eye(len(weights)), check_finite=False)
        found = process.factor @ (process.factor.T @ weights)
        for same in places.values():
            found[same] -= np.linalg.solve(inverse[np.ix_(same, same)], weights[same])
    return np.asarray(process.center + process.spread * found)


def _in_units(groups: Sequence[Matrix]) -> tuple[list[Matrix], list[Matrix], list[Matrix]]:
    """Inputs around 0 in units in which squared distances have the mean 1 in their group; means; units."""
    means, units = [group.mean(0) for group in groups], [_unit(group) for group in groups]
    parts = zip(groups, means, units, strict=True)
    return [(group - mean) / unit for group, mean, unit in parts], means, units


def _unit(group: Matrix) -> Matrix:
    deviation = group.std(0)
    varying = deviation > 1e-9 * np.abs(group).max(0)  # A constant deviates by its rounding.
    return np.asarray(np.where(varying, deviation, 1.0) * math.sqrt(2 * max(1, int(varying.sum()))))


def _squared_distances(a: Matrix, b: Matrix) -> Matrix:
    return np.asarray((np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * (a @ b.T)).clip(0))


def _split(settings: Matrix, groups: int) -> tuple[Matrix, Matrix, float]:
    """Length scales, amplitudes and the noise's variance from the logarithms that are searched."""
    values = np.exp(settings)
    return values[:groups], np.square(values[groups : 2 * groups]), float(values[-1] ** 2 + JITTER)


def _kernel(distances: Sequence[Matrix], lengths: Sequence[float], amplitudes: Sequence[float]) -> Matrix:
    parts = zip(distances, lengths, amplitudes, strict=True)
    return sum(
        (amplitude * np.exp(-0.5 * squared / length**2) for squared, length, amplitude in parts),
        np.zeros_like(distances[0]),
    )


def _best_settings(distances: Sequence[Matrix], values: Matrix) -> Matrix:
    """Logarithms of lengths, roots of amplitudes and the noise's deviation, at the highest posterior."""
    groups = len(distances)
    medians = np.log([LENGTH] * groups + [np.sqrt(1 / groups)] * groups + [NOISE])

    def cost(settings: Matrix) -> tuple[float, Matrix]:
        lengths, amplitudes, noise = _split(settings, groups)
        shapes = [np.exp(-0.5 * d / length**2) for d, length in zip(distances, lengths, strict=True)]
        kernel = noise * np.eye(len(values))
        for shape, amplitude in zip(shapes, amplitudes, strict=True):
            kernel += amplitude * shape
        factor = cho_factor(kernel, lower=True, check_finite=False)
        weights = cho_solve(factor, values, check_finite=False)
        inverse = cho_solve(factor, np.eye(len(values)), check_finite=False)
        # Half the trace of this times a derivative of the kernel is that of the cost.
        slope = inverse - np.outer(weights, weights)
        gradient = np.zeros_like(settings)
        for i, (shape, squared) in enumerate(zip(shapes, distances, strict=True)):
            part = amplitudes[i] * shape * slope
            gradient[i] = 0.5 * float((part * squared).sum()) / lengths[i] ** 2
            gradient[groups + i] = float(part.sum())
        gradient[-1] = (noise - JITTER) * float(np.trace(slope))
        apart = (settings - medians) / PRIOR
        value = 0.5 * float(values @ weights) + float(np.log(np.diag(factor[0])).sum())
        return value + 0.5 * float(apart @ apart), gradient + apart / PRIOR

    bounds = [(median - 4, median + 4) for median in medians]
    return np.asarray(minimize(cost, medians, jac=True, method="L-BFGS-B", bounds=bounds).x)
