"""Components: the few numbers in which most of the differences between learning curves lie.

The AP on two parts of the images after four lengths are eight views of one training. Their principal
components tell apart what all views share from what is the chance of one: a model of each component takes
much less of that chance for the network's worth than a model of each view does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search_space.encoding import Matrix

COMPONENTS = 3
"""How many are kept. They have 99 % of the variance of the table's trainings."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """Principal components of O outputs, each of which is first divided by its deviation.

    Args:
        center, spread: mean and deviation of each output, [O].
        axes: direction of each component, [`COMPONENTS`, O], or fewer rows for fewer trainings.
    """

    center: Matrix
    spread: Matrix
    axes: Matrix

    def reduce(self, targets: Matrix) -> Matrix:
        """Gives the components of N trainings, [N, components], from their outputs, [N, O]."""
        return np.asarray((targets - self.center) / self.spread @ self.axes.T)

    def restore(self, values: Matrix) -> Matrix:
        """Gives the outputs, [N, O], that N trainings of these components have, [N, components]."""
        return np.asarray(self.center + self.spread * (values @ self.axes))


def find_components(targets: Matrix) -> Components:
    """Finds the components of trainings.

    Args:
        targets: their outputs, [N, O].
    """
    center, deviation = targets.mean(0), targets.std(0)
    spread = np.where(deviation > 0, deviation, 1.0)
    axes = np.linalg.svd((targets - center) / spread, full_matrices=False)[2]
    return Components(center=center, spread=spread, axes=axes[:COMPONENTS])
