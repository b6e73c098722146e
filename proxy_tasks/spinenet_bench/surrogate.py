"""The surrogate: scores that specs would have, learned from the trainings of the table.

A Gaussian process for each component of the learning curves gives what is expected of a spec from its graph;
a calibration by excess takes back of that what is not measured. What a training scores differs from that by
two deviations, which are drawn from those seen: the spec's own, which follows from its key, and that of the
seed. Each is drawn for all lengths and parts at once, from trainings whose expected AP is near.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from proxy_tasks.spinenet_bench.calibration import calibrate
from proxy_tasks.spinenet_bench.components import find_components
from proxy_tasks.spinenet_bench.deviations import deviations, own_shares, seed_variance, trained_once
from proxy_tasks.spinenet_bench.inputs import Inputs, excess_of
from proxy_tasks.spinenet_bench.settings import SETTINGS, Settings, read_settings, table_digest
from proxy_tasks.spinenet_bench.trainings import (
    DATA_FOLDER,
    FULL,
    OUTPUTS,
    BenchError,
    RecordedTraining,
    outputs,
)
from search_space import Genotype
from search_space.encoding import Matrix
from search_space.utils.gaussian_process import condition, means_of
from search_space.utils.parsing import reading


class Surrogate:
    """Gives scores of any spec of the space.

    Args:
        trainings: that it learns from.
        settings: found by `find_settings` for these.

    Raises:
        BenchError: if the settings are those of other trainings.
    """

    def __init__(self, trainings: Sequence[RecordedTraining], settings: Settings) -> None:
        if settings.digest != table_digest(trainings):
            raise BenchError("the surrogate's settings were found for another table; publish them anew")
        genotypes = [training.genotype for training in trainings]
        self._encoding = Inputs(genotypes)
        inputs = self._encoding.encode(genotypes)
        targets = outputs(trainings)
        self._components = find_components(targets)
        seconds = np.log([training.seconds for training in trainings])
        columns = (*self._components.reduce(targets).T, seconds)
        kernels = zip((*settings.kernels, settings.seconds), columns, strict=True)
        processes = [condition(kernel, inputs, column) for kernel, column in kernels]
        # All know the same points, and only their means are asked for.
        none, known = np.empty((0, 0)), processes[0].inputs
        self._processes = [replace(process, factor=none, inputs=known) for process in processes]
        self._calibrations = settings.calibrations
        expected = np.array(settings.expected)
        shares = own_shares(targets - expected, expected[:, FULL], seed_variance(trainings, targets))
        self._own, self._of_seeds = deviations(trainings, targets, expected, shares)
        self._trained_once = trained_once(trainings, targets, expected, shares)

    def expect(self, genotype: Genotype) -> tuple[Matrix, float]:
        """Gives the expected AP of each output, the spec's own deviation left out, and the relative time."""
        *components, seconds = means_of(self._processes, self._encoding.encode([genotype]))
        return self._restore(components, [genotype])[0], math.exp(seconds[0])

    def full(self, genotypes: Sequence[Genotype]) -> Matrix:
        """Gives the expected AP of genotypes after the full length, on the images of a search, [N]."""
        components = means_of(self._processes[:-1], self._encoding.encode(genotypes))
        return self._restore(components, genotypes)[:, FULL]

    def _restore(self, components: Sequence[Matrix], genotypes: Sequence[Genotype]) -> Matrix:
        """The calibrated AP [N, outputs] that follows from the components, [N] each, of N genotypes."""
        expected = self._components.restore(np.stack(components, axis=1))
        return calibrate(self._calibrations, expected, excess_of(genotypes))

    def trained_once(self, key: str) -> tuple[Matrix, Matrix]:
        """Gives what is expected of a spec that was trained once, and its mean score, [outputs] each.

        Raises:
            KeyError: if the table does not have the spec, or has several trainings of it.
        """
        return self._trained_once[key]

    def own_deviation(self, expected: Matrix, key: str) -> Matrix:
        """Draws how far a spec's mean score lies from what is expected."""
        return self._own.draw(float(expected[FULL]), f"own {key}")

    def seed_deviation(self, expected: Matrix, key: str, seed: int) -> Matrix:
        """Draws how far a training lies from its spec's mean."""
        return self._of_seeds.draw(float(expected[FULL]), f"seed {key} {seed}")

    def spreads(self, expected: float) -> tuple[float, float]:
        """Gives the standard deviations of a spec's own deviation and of a seed's, near an expected AP.

        Args:
            expected: the AP after the full length, on the images of a search; both are of this AP.
        """
        own, of_seeds = (each.around(expected)[:, FULL].std() for each in (self._own, self._of_seeds))
        return float(own), float(of_seeds)

    def possible(self, expected: Matrix) -> Matrix:
        """Gives all scores that trainings of a spec that is not in the table may get, [P, outputs].

        One is as likely as another: each sum of what is expected, a spec's deviation and a seed's.
        """
        own, of_seeds = (each.around(float(expected[FULL])) for each in (self._own, self._of_seeds))
        return np.asarray((expected + own[:, None] + of_seeds[None]).reshape(-1, len(OUTPUTS)))


def read_surrogate(trainings: Sequence[RecordedTraining], folder: Path = DATA_FOLDER) -> Surrogate:
    """Makes the surrogate of a table with the settings in its folder, in seconds.

    Args:
        trainings: of the table.
        folder: where it is.

    Raises:
        BenchError: if the settings cannot be used.
    """
    with reading(BenchError, f"{folder / SETTINGS}: "):
        return Surrogate(trainings, read_settings(folder / SETTINGS))
