"""Where poor values are cut off."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controllers.outliers import floor


@pytest.mark.parametrize("poor", [-1.0, -1e30])
def test_the_floor_is_the_same_however_poor_the_poor_are(poor: float) -> None:
    # The median is 2, and the upper half deviates by the root of (0 + 1 + 4) / 3.
    assert floor(np.array([poor, 1, 2, 3, 4, math.nan]), 2) == pytest.approx(2 - 2 * math.sqrt(5 / 3))


@pytest.mark.parametrize(
    "values", [[-9, -8, -7, -5, -5, -5, -5], [0.2, 0.5, 1, 1, 1, 1], [3], [], [math.nan]]
)
def test_nothing_is_cut_off_where_the_upper_half_is_one_value(values: list[float]) -> None:
    assert floor(np.array(values, float), 2) == -math.inf
