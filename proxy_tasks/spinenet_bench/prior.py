"""What the table tells of specs before a search on other images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from proxy_tasks.spinenet_bench.surrogate import Surrogate, read_surrogate
from proxy_tasks.spinenet_bench.trainings import DATA_FOLDER, FULL, SPACE, TRAININGS, outputs, read_trainings
from search_space import NotInSpaceError, Spec, SpineNetSpec, published_space
from search_space.encoding import Matrix


class TablePrior:
    """Gives how far above the usual AP of the table the surrogate expects specs to be.

    A search that is given it begins with better specs, and learns from its own trainings how much it holds on
    its images. It must not be used on the table itself, which it knows.

    Args:
        folder: of the table and its surrogate; None for the one that is shipped.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = DATA_FOLDER if folder is None else Path(folder)

    @cached_property
    def _known(self) -> tuple[Surrogate, float, float]:
        """The surrogate, and mean and deviation of the AP of random specs."""
        trainings = read_trainings(self.folder / TRAININGS)
        uniform = [training for training in trainings if training.group == "uniform"] or trainings
        ap = outputs(uniform)[:, FULL]
        return read_surrogate(trainings, self.folder), float(ap.mean()), float(ap.std())

    def __call__(self, specs: Sequence[Spec]) -> Matrix:
        """Gives the prior of N specs, [N]; one that is not of the table's space counts as usual.

        Raises:
            BenchError: if a file of the table cannot be used.
        """
        space, found, there = published_space(SPACE), np.zeros(len(specs)), {}
        for place, spec in enumerate(specs):
            try:
                if isinstance(spec, SpineNetSpec):
                    there[place] = space.encode(spec)
            except NotInSpaceError:
                continue
        if there:
            surrogate, mean, deviation = self._known
            found[list(there)] = (surrogate.full(list(there.values())) - mean) / deviation
        return found
