"""Intervals of means and of their differences, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nas.analysis.mean_intervals import gap_interval, mean, mean_interval

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_of_a_mean_is_students(count: int) -> None:
    values = RNG.normal(0.3, 0.02, count).tolist()
    wanted = stats.t.interval(0.95, count - 1, np.mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx(wanted)


@pytest.mark.parametrize("counts", [(2, 2), (3, 5), (10, 4)])
def test_the_interval_of_a_difference_is_welchs(counts: tuple[int, int]) -> None:
    ours, others = (RNG.normal(0.3, 0.01 * (i + 1), count).tolist() for i, count in enumerate(counts))
    wanted = stats.ttest_ind(ours, others, equal_var=False).confidence_interval(0.95)
    assert gap_interval(ours, others) == pytest.approx((wanted.low, wanted.high))


def test_without_spread_or_with_one_value() -> None:
    assert mean_interval([0.5]) is None
    assert mean_interval([]) is None
    assert gap_interval([0.5], [0.1, 0.2]) is None
    assert gap_interval([0.1, 0.2], []) is None
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert gap_interval([0.5, 0.5], [0.25, 0.25]) == (0.25, 0.25)


@pytest.mark.parametrize("size", [2.0**1020, 2.0**-1000])
def test_intervals_of_huge_and_tiny_values_are_those_of_usual_ones(size: float) -> None:
    ours, others = [1.0, 1.25, 1.75], [0.5, -0.25]
    huge, more = [size * value for value in ours], [size * value for value in others]
    for found, usual in (
        (mean_interval(huge), mean_interval(ours)),
        (gap_interval(huge, more), gap_interval(ours, others)),
    ):
        assert found is not None
        assert usual is not None
        assert found == pytest.approx([size * end for end in usual])
    assert mean(huge) == pytest.approx(size * mean(ours))


@pytest.mark.parametrize(("large", "small"), [(1e100, 1.0), (1.0, 1e-90), (1.0, 1e-160)])
def test_the_gap_of_sides_of_very_different_size_is_that_of_the_large_one(large: float, small: float) -> None:
    assert gap_interval([large, large], [small, 2 * small]) == (large, large)
    assert gap_interval([small, 2 * small], [large, large]) == (-large, -large)


def test_an_interval_that_no_float_holds_is_none() -> None:
    assert mean_interval([1.7e308, -1.7e308]) is None
    assert gap_interval([1.7e308, 1.6e308], [-1.7e308, -1.6e308]) is None
    assert mean([1.7e308, 1.7e308]) == 1.7e308


def test_a_95_percent_interval_holds_the_truth_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.normal(1.0, 1.0, 3).tolist()) for _ in range(2000)]
    held = sum(found is not None and found[0] <= 1.0 <= found[1] for found in intervals)
    assert stats.binomtest(held, 2000, 0.95).pvalue > 1e-4
