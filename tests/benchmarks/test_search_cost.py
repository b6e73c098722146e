"""Trainings that are needed and saved, where budgets are too small to know too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.search_cost import Need, describe_savings, needed


def test_what_is_needed_lies_on_a_line_over_the_logarithm() -> None:
    assert needed([50, 200], [0.4, 0.5], 0.45) == pytest.approx(100)
    assert needed([50, 100, 200], [0.4, 0.3, 0.5], 0.4) == 0  # The smallest budget was enough already.
    assert math.isinf(needed([50, 200], [0.4, 0.5], 0.51))


@pytest.mark.parametrize(
    ("own", "other", "told"),
    [
        (50.0, 200.0, "4.0 (4.0 to 4.0)"),
        (50.0, math.inf, "at least 8.0 (8.0 or more)"),
        (0.0, 200.0, "at least 8.0 (8.0 or more)"),
        (50.0, 0.0, "at most 0.5 (0.0 to 0.5)"),
        (math.inf, 200.0, ""),
    ],
)
def test_savings_are_bounds_where_a_budget_was_too_small_or_enough(
    own: float, other: float, told: str
) -> None:
    first, second = (Need(np.full(21, points), 25, 400) for points in (own, other))
    assert first.saves(second) == told


def test_a_draw_that_a_budget_was_too_small_for_is_a_bound_in_the_interval() -> None:
    points = np.array([100.0, *[90.0] * 10, *[math.inf] * 10])
    assert Need(points, 25, 200).describe() == "100 (90 or more)"
    assert Need(np.full(21, 50.0), 25, 200).saves(Need(points, 25, 200)) == "2.0 (1.8 or more)"


def test_a_method_that_needs_half_saves_half() -> None:
    rng = np.random.default_rng(0)
    found = [{"method": "yardstick", "seed": i, "once": 0.0, "again": 0.5} for i in range(20)]
    for name, factor in (("random", 1.0), ("predictor", 2.0)):
        for budget in (25, 50, 100, 200, 400):
            worth = 0.3 + 0.05 * np.log2(factor * budget / 12.5) + rng.normal(0, 0.001, 20)
            found += [
                {"method": name, "budget": budget, "seed": i, "worth": value, "cost": budget}
                for i, value in enumerate(worth)
            ]
    budgets = {name: [25, 50, 100, 200, 400] for name in ("random", "predictor")}
    row = next(
        line for line in describe_savings(found, budgets).splitlines() if line.startswith("| predictor")
    )
    assert "| 100 (" in row
    assert "| 2.0 (" in row
