"""Poor rewards far below the others, such as those of trainings that diverged."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def floor(values: NDArray[np.float64], deviations: float) -> float:
    """Gives the number below which values would decide what the rest looks like.

    The deviation is that of the upper half, which a few poor values do not move. Where the upper half does
    not deviate, as where most scores are the best possible one, every value counts as it is.

    Args:
        values: [N]; NaN for those that are not known.
        deviations: how far below the median the floor lies.

    Returns:
        the floor; minus infinity if there is none.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return -math.inf
    middle = float(np.median(known))
    above = known[known >= middle] - middle
    deviation = math.sqrt(float(np.square(above).mean()))
    return middle - deviations * deviation if deviation else -math.inf
