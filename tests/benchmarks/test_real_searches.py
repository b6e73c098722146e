"""The winners of real searches beside other networks, and p over several data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.over_data_sets import describe, read_comparisons
from benchmarks.real_searches import RANDOM, RESNET, SPINENET, Against, compare

STORED = Path(__file__).parents[2] / "benchmarks/results/real-searches"


def against(p: float) -> Against:
    return Against(difference=0.03, low=0.01, high=0.05, p=p)


def test_p_is_adjusted_for_the_networks_the_data_sets_and_all() -> None:
    """By hand, after Holm, where equal or smaller products take the larger one before them."""
    text = describe(
        {
            "cells": {SPINENET: against(0.01), RANDOM: against(0.02)},
            "steel": {SPINENET: against(0.03), RANDOM: against(0.5)},
        }
    )
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert {(row[0], row[1]): row[3:] for row in cells[2:]} == {
        (SPINENET, "cells"): ["0.01", "0.02", "0.02", "0.04"],
        (SPINENET, "steel"): ["0.03", "0.06", "0.03", "0.06"],
        (RANDOM, "cells"): ["0.02", "0.02", "0.04", "0.06"],
        (RANDOM, "steel"): ["0.5", "0.5", "0.5", "0.5"],
    }


def test_winners_count_once_a_search_and_others_once_a_training() -> None:
    searches = [{"seed": 0}, {"seed": 1}]
    trainings = [
        *({"name": "search 0", "AP": ap} for ap in (0.40, 0.44)),
        *({"name": "search 1", "AP": ap} for ap in (0.44, 0.48)),
        *({"name": RANDOM, "AP": ap} for ap in (0.30, 0.34)),
        {"name": RESNET, "AP": 0.2},
    ]
    found = compare(searches, trainings)
    assert list(found) == [RANDOM]  # One training of the ResNet tells no interval.
    assert found[RANDOM].difference == pytest.approx(0.44 - 0.32)
    # Two values each with variances of 0.0008: Student's t of 0.12 / 0.0283 with two degrees of freedom.
    assert found[RANDOM].p == pytest.approx(0.0257, abs=0.0001)


def test_the_stored_table_over_data_sets_follows_from_the_stored_rows() -> None:
    assert describe(read_comparisons(STORED)) in (STORED / "table.md").read_text(encoding="utf-8")
