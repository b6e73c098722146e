"""The best reward so far, and learning curves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controllers import RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.journal.history import read_history
from nas.reporting.charts import Chart
from nas.reporting.curves import show_curves, show_learning
from nas.search.loop import run_search
from proxy_tasks.synthetic import SyntheticTask
from search_space import published_space
from tests.nas.journal.test_history import Recorder, replayed

SPACE = published_space("r35-sp18")


def test_the_axis_of_trials_has_the_numbers_of_the_table(tmp_path: Path) -> None:
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 3, tmp_path)
    history = read_history(tmp_path)
    curves = show_curves(tmp_path, history)
    assert curves is not None
    picture = str(curves.figures[0].picture)
    rewards = [row.rewards[0] for row in history.rows if row.rewards]
    chart = Chart("trial", "reward", [0.0, 1.0, 2.0], rewards, whole=True)
    for row in history.rows:
        assert row.rewards is not None
        assert "M{:.1f} {:.1f}h0".format(*chart.place(row.number, row.rewards[0])) in picture
    assert [float(n) for n in re.findall(r'middle">(\d+)<', picture)] == [0, 1, 2]


def test_learning_curves_are_shown_where_trials_report_on_their_way(tmp_path: Path) -> None:
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(reports=4), LocalExecutor(), 6, tmp_path / "a")
    history = read_history(tmp_path / "a")
    block = show_learning(tmp_path / "a", history)
    assert block is not None
    picture = str(block.figures[0].picture)
    assert f"the best, trial {history.trials.best}" in picture
    assert picture.count("L") == sum(len(row.reports) - 1 for row in history.rows)
    assert picture.count("L") >= 6
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 3, tmp_path / "b")
    assert show_learning(tmp_path / "b", read_history(tmp_path / "b")) is None


@pytest.mark.parametrize(("trials", "points"), [(50, 200), (51, 40)])
def test_many_learning_curves_have_few_points_each(tmp_path: Path, trials: int, points: int) -> None:
    record = Recorder()
    record.session(0)
    for number in range(trials):
        record.ask(0, number)
        for step in range(200):
            record.at(1, "reported", number, step=step, reward=step / 200, metrics={})
        record.end(2, number)
    block = show_learning(tmp_path, replayed(record))
    assert block is not None
    picture = str(block.figures[0].picture)
    assert picture.count("L") == trials * (points - 1)
    chart = Chart("step", "reported reward", [0, 199], [0, 199 / 200], True)
    for end in (0, 199):
        assert picture.count("{:.1f} {:.1f}".format(*chart.place(end, end / 200))) >= trials
