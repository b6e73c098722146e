"""Real searches beside simulated ones."""

from __future__ import annotations

import numpy as np

from benchmarks.true_searches import best_so_far, describe, inside


def test_a_curve_is_inside_where_it_is_between_the_ends_of_the_band() -> None:
    simulated = np.array([[0.0, 0.1], [1.0, 1.1]])  # The band is 0.05 to 0.95, then 0.15 to 1.05.
    assert inside([0.04, 0.2], simulated) == 0.5
    assert inside([0.5, 0.5], simulated) == 1.0


def test_a_failure_does_not_change_the_best_so_far() -> None:
    assert best_so_far([None, 0.2, 0.1, None, 0.3]) == [0.0, 0.2, 0.2, 0.2, 0.3]


def test_the_table_counts_real_and_simulated_searches() -> None:
    simulated = {"fifty": np.array([[0.1, 0.2], [0.1, 0.3], [0.1, 0.4]])}
    row = describe({"fifty": [[0.1, 0.3], [0.1, 0.5]]}, simulated).splitlines()[2]
    assert row == "| fifty | 2 | 3 | 1 | 75% | 0.300, 0.500 | 0.210 to 0.390 |"
