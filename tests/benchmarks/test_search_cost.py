"""What searches cost, and the trainings that are needed and saved, where budgets are too small too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.search_cost import (
    Need,
    Rows,
    cost,
    describe,
    describe_contrasts,
    describe_savings,
    needed,
)
from controllers import Proposal, RandomSearch
from nas import SearchConfig, run_search
from nas.executors import LocalExecutor
from nas.journal.trials import Trial, Trials
from proxy_tasks.adapted_task import adapt
from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import published_space

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results"


def trials_of(*found: dict[str, Any]) -> Trials:
    """Trials of half the length that ran once, but for what is said of them."""
    trials = Trials()
    for number, values in enumerate(found):
        trial = Trial(number, Proposal(number, ()), str(number), 0, 0.5, attempts=1, status="completed")
        for name, value in values.items():
            setattr(trial, name, value)
        trials.all.append(trial)
    return trials


HALF = {280: 0.3}
"""The curve of a training of half the length."""


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([{"curve": HALF}], 0.5),
        ([{"curve": {140: 0.2}, "status": "pruned"}], 0.25),
        ([{"curve": HALF}, {"status": "cached", "attempts": 0}], 0.5),
        # A failure costs all that it may have trained, with a report or without one.
        ([{"status": "failed", "failure": "diverged"}], 0.5),
        ([{"status": "failed", "failure": "diverged", "curve": {140: 0.2}}], 0.5),
        ([{"status": "failed", "failure": "invalid"}], 0.0),  # It was refused before its training.
        # So does each attempt that was lost.
        ([{"curve": HALF, "attempts": 3}], 1.5),
        # What goes on from a pause trains the rest, also in the attempts that were lost or failed.
        ([{"curve": {140: 0.2}, "status": "paused"}, {"curve": HALF, "resume_from": 0}], 0.5),
        ([{"curve": {140: 0.2}, "status": "paused"}, {"curve": HALF, "resume_from": 0, "attempts": 2}], 0.75),
        ([{"curve": {140: 0.2}, "status": "paused"}, {"resume_from": 0, "status": "failed"}], 0.5),
    ],
)
def test_every_training_costs_what_it_may_have_trained(found: list[dict[str, Any]], told: float) -> None:
    assert cost(trials_of(*found)) == told


class DivergesTwice:
    """Every other one of its trainings diverges, before any report."""

    trainings = 0

    def evaluate(self, spec: object, fidelity: float, seed: int, report: Report) -> Score:
        self.trainings += 1
        if self.trainings % 2:
            raise TaskFailureError("diverged", "the loss is not finite", step=500)
        report(560, Score(0.3, {}))
        return Score(0.3, {})


def test_a_search_pays_for_its_failures() -> None:
    space = published_space("spinenet-49")
    config = SearchConfig(max_failures=1.0)
    found = run_search(
        space, RandomSearch(space, 0), adapt(DivergesTwice()), LocalExecutor(), 4, None, config=config
    )
    assert [trial.status for trial in found.trials.all].count("failed") == 2
    assert cost(found.trials) == 4


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


def rows_of(budgets: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    """20 searches of each method and budget; the predictor finds as much with half of the trainings."""
    rng = np.random.default_rng(0)
    luck = [0.001, -0.001] * 10
    found = [{"method": "yardstick", "once": 0.45 + more, "again": 0.5 + more} for more in luck]
    for name, its in budgets.items():
        for budget in its:
            factor = 2.0 if name == "predictor" else 1.0
            worth = 0.3 + 0.05 * np.log2(factor * budget / 12.5) + rng.normal(0, 0.001, 20)
            found += [
                {"method": name, "budget": budget, "seed": i, "worth": value, "cost": budget}
                for i, value in enumerate(worth)
            ]
    return found


def row_of(name: str, text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {name} |"))


def test_a_method_that_needs_half_saves_half() -> None:
    found = rows_of(dict.fromkeys(("random", "predictor"), (25, 50, 100, 200, 400)))
    row = row_of("predictor", describe_savings(found, "again"))
    assert "| 100 (" in row
    assert "| 2.0 (" in row
    assert "| 10.3 (" in row  # The yardstick took 1,030.


def test_the_yardstick_by_single_scores_is_a_goal_of_its_own() -> None:
    found = rows_of(dict.fromkeys(("random", "predictor"), (25, 50, 100, 200, 400)))
    text = describe_savings(found, "once")
    assert "picked by single scores (0.4500, 20 seeds)" in text
    row = row_of("predictor", text)
    assert "| 50 (" in row
    assert "| 20.0 (" in row  # It took 1,000.


def test_a_method_of_one_budget_has_no_savings() -> None:
    found = rows_of({"random": (25, 50, 100, 200, 400), "predictor": (50,)})
    text = describe_savings(found, "again")
    assert "| random |" in text
    assert "predictor" not in text
    assert describe_savings(rows_of({"predictor": (50,)}), "again") == ""


def test_halving_is_compared_with_whole_trainings() -> None:
    found: Rows = rows_of({"random": (50,), "random, halving": (50,)})
    assert "| random, halving | random | 50 |" in describe_contrasts(found)
    assert describe_contrasts(rows_of({"random": (50,)})) == ""


def test_a_bootstrap_stands_beside_the_test_of_means() -> None:
    found = rows_of({"predictor": (50,)})
    cells = [cell.strip() for cell in row_of("predictor", describe(found)).split("|")]
    difference, least = (float(cells[place].split()[0]) for place in (4, 5))
    assert difference - 0.002 < least < difference


def stored(folder: str, name: str) -> list[dict[str, str]]:
    """The lines of a method in a stored table, by the heads of their columns."""
    found, heads, before = [], [""], ""
    for line in (RESULTS / folder / "table.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("| method |") and not before.startswith("|"):
            heads = cells
        if line.startswith(f"| {name} |"):
            found.append(dict(zip(heads, cells, strict=True)))
        before = line
    return found


def test_the_readme_tells_what_is_stored() -> None:
    """Its factors count all yardsticks, those of the fresh seeds included."""
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    saved = stored("search-cost", "predictor, quarter, finalists")[-1]
    for other in ("evolution", "evolution, filter, finalists"):
        factor, interval = saved[f"times: {other}"].split(" (")
        assert f" {factor} times as many" in text
        assert f"({interval[:-1]}" in text
    (fresh,) = stored("search-cost-confirmed", "predictor, quarter, finalists")
    told = fresh["minus the re-trained best, 90 % interval"]
    found, low, _, high = told.replace("(", "").replace(")", "").split()
    assert f"({float(found):+.3f} AP, 90 %: {float(low):+.3f} to {float(high):+.3f};" in text
