"""The report's table of what short trainings misjudge, where they are unfair by design."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.executors import LocalExecutor
from nas.journal.history import History
from nas.reporting.short_trainings import random_steps, show_short_trainings
from nas.search.halving import HalvingScheduler
from proxy_tasks.task import Report, Score
from search_space import SpineNetSpec, graph_features
from tests.nas.search.stepwise import search


class Unfair:
    """Its short scores are lower the deeper a network is; its last ones are not."""

    def __init__(self, unfair: float) -> None:
        self.unfair = unfair

    def evaluate(
        self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        own = seed % 1000  # All sums are exact.
        depth = round(5 * graph_features(spec)["shortest_path"])
        for step in (1, 2, 3, 4):
            score = Score(own - self.unfair * depth * (4 - step))
            report(step, score)
        return score


def history(task: Any, trials: int, random: float) -> History:
    scheduler = HalvingScheduler(rungs=(1, 2), random=random)
    return search(None, task, scheduler, LocalExecutor(), trials).history()


def test_deep_networks_that_gain_more_are_told() -> None:
    found = history(Unfair(0.5), 200, 0.5)
    first, second = ([step for step in random_steps(found) if step.rung == rung] for rung in (1, 2))
    assert len(first) > 30
    assert len(second) > 10
    for step in first:
        assert step.after - step.before == 0.5 * round(5 * step.depth)
    for step in second:
        assert step.after - step.before == round(5 * step.depth)
    table = show_short_trainings(Path(), found)
    assert table is not None
    assert [row[:2] for row in table.rows] == [["1", str(len(first))], ["2", str(len(second))]]
    assert [row[3].split()[0] for row in table.rows] == ["1.00", "1.00"]


def test_fair_short_trainings_show_no_bias() -> None:
    table = show_short_trainings(Path(), history(Unfair(0.0), 100, 0.5))
    assert table is not None
    assert table.rows[0][2].startswith("1.00 (p ")
    assert {row[3] for row in table.rows} <= {"all are equal", "too few: 7 of 8"}


def test_few_trials_say_nothing_and_none_have_no_table() -> None:
    assert show_short_trainings(Path(), history(Unfair(0.5), 40, 0.0)) is None
    table = show_short_trainings(Path(), history(Unfair(0.5), 20, 0.3))
    assert table is not None
    assert all(cell.startswith("too few: ") for row in table.rows for cell in row[2:])
