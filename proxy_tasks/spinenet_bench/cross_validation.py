"""Cross-validation: what models of some trainings expect of others that they do not know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxy_tasks.spinenet_bench.calibration import Folds
from proxy_tasks.spinenet_bench.components import find_components
from proxy_tasks.spinenet_bench.inputs import Inputs
from search_space import Genotype
from search_space.encoding import Matrix
from search_space.utils.gaussian_process import fit_gaussian_process, means_of


def cross_validate(genotypes: Sequence[Genotype], targets: Matrix, fold_of: Folds) -> Matrix:
    """Gives what models that do not know a training's fold expect of it, [N, outputs].

    Args:
        genotypes: of N trainings.
        targets: their scores, [N, outputs].
        fold_of: number of each one's fold, [N]; see `assign_folds`.
    """
    found = np.empty_like(targets)
    for fold in np.unique(fold_of).tolist():
        held, known = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        of_known = [genotypes[place] for place in known.tolist()]
        asked = [genotypes[place] for place in held.tolist()]
        found[held] = expect_uncalibrated(of_known, targets[known], asked)
    return found


def expect_uncalibrated(known: Sequence[Genotype], targets: Matrix, asked: Sequence[Genotype]) -> Matrix:
    """Gives what models of known trainings expect of M genotypes, [M, outputs], before any calibration.

    Args:
        known: genotypes of N trainings.
        targets: their scores, [N, outputs].
        asked: M genotypes.
    """
    encoding, components = Inputs(known), find_components(targets)
    inputs = encoding.encode(known)
    processes = [fit_gaussian_process(inputs, values) for values in components.reduce(targets).T]
    return components.restore(np.stack(means_of(processes, encoding.encode(asked)), axis=1))
