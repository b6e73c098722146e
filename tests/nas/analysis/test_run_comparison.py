"""Searches side by side: groups, curves, intervals, and a page that needs nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers import LocalSearch, PolicyGradient, RandomSearch
from nas.analysis import run_comparison
from nas.analysis.mean_intervals import mean_interval
from nas.analysis.run_comparison import (
    ComparisonError,
    _band,
    comparison_page,
    group_runs,
    incomparable,
    read_run,
)
from nas.cli.main import main
from nas.executors.local_executor import LocalExecutor
from nas.journal.best_so_far import BestSoFar, Step
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.objective import Objective
from nas.search.result import SearchError
from proxy_tasks.synthetic import SyntheticTask
from search_space import published_space
from tests.nas.journal.test_history import Recorder, replayed
from tests.nas.reporting.checked_page import checked
from tests.search_space.cell_space import CellSpace

SPACE = published_space("r35-sp18")


def search(folder: Path, controller: Any, trials: int = 12, seed: int = 0, **more: Any) -> Path:
    task = more.pop("task", SyntheticTask())
    space = more.pop("space", SPACE)
    config = SearchConfig(seed=seed, **more)
    run_search(space, controller, task, LocalExecutor(), trials, folder, config=config)
    return folder


def rows_of(text: str, title: str) -> list[list[str]]:
    table = text.split(f"<h2>{title}")[1].split("</table>")[0]
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)[1:]]


def test_searches_are_compared_by_controller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [search(Path(f"random-{s}"), RandomSearch(SPACE, s), 10 + s, s) for s in range(3)]
    folders += [search(Path(f"local-{s}"), LocalSearch(SPACE, s), 20, s) for s in range(2)]
    assert main(["report", *map(str, folders)]) == 0
    assert capsys.readouterr().out == "comparison.html\n"
    text = Path("comparison.html").read_text()
    checked(text)
    runs = [read_run(folder) for folder in folders]
    after = {
        name: [max(b for at, b in run.by_trial.steps if at <= 9) for run in found]
        for name, found in group_runs(runs).items()
    }
    rows = rows_of(text, "Controllers: the best reward after 10 trials")
    assert [row[0] for row in rows] == sorted(after, key=lambda name: -np.mean(after[name]))
    for name, count, mean, interval, low, high in rows:
        values = after[name]
        assert (count, mean) == (str(len(values)), f"{np.mean(values):.4f}")
        found = mean_interval(values)
        assert found is not None
        assert interval == f"{found[0]:.4f} to {found[1]:.4f}"
        assert (low, high) == (f"{min(values):.4f}", f"{max(values):.4f}")
    assert [row[:3] for row in rows_of(text, "The searches")] == [
        [str(run.folder), run.controller, str(run.history.seed)] for run in runs
    ]
    assert text.count('opacity="0.18"') == 4, "one band for each controller and chart"
    assert "RandomSearch, 3 searches" in text
    assert 'class="note"' not in text
    best = max(runs, key=lambda run: run.best or 0)
    assert f"nas train spec={best.folder}/winners/best.json" in text


def test_a_search_that_went_on_after_its_finalists_is_compared_with_all_its_trials(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", RandomSearch(SPACE, 1), 12, 1)
    cut = tmp_path / "cut"
    for trials in (6, 12):
        config = SearchConfig(seed=1, finalists=3)
        run_search(
            SPACE, RandomSearch(SPACE, 1), SyntheticTask(), LocalExecutor(), trials, cut, config=config,
            resume=trials > 6,
        )  # fmt: skip
    runs = [read_run(folder) for folder in (whole, cut)]
    assert runs[0].trials == runs[1].trials == 12
    assert runs[0].by_trial == runs[1].by_trial


def test_by_time_the_trial_that_ended_first_comes_first_whatever_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()
    record.session(0)
    for trial in range(2):
        record.ask(0, trial)
    record.end(1, 1, reward=0.5)
    record.end(2, 0, reward=0.4)
    monkeypatch.setattr(run_comparison, "read_history", lambda _: replayed(record))
    found = read_run(tmp_path)
    assert found.by_time.steps == ((1.0, 0.5),)
    assert found.by_trial.steps == ((0.0, 0.4), (1.0, 0.5))


def test_a_band_reaches_from_the_least_to_the_greatest_of_its_curves() -> None:
    runs = [BestSoFar(steps=(Step(0.0, value),), end=3.0) for value in (1.0, 2.0, 6.0)]
    assert [found.tolist() for found in _band(runs, np.array([0.0, 3.0]))] == [[3, 3], [1, 1], [6, 6]]


def test_no_band_goes_on_when_all_searches_of_its_controller_have_ended() -> None:
    runs = [BestSoFar(steps=(Step(0.0, best),), end=end) for best, end in ((1.0, 3.0), (2.0, 5.0))]
    mean, low, high = _band(runs, np.array([4.0, 6.0]))
    assert (mean[0], low[0], high[0]) == (1.5, 1, 2)
    assert np.isnan([mean[1], low[1], high[1]]).all()


def test_variants_of_a_controller_are_groups_of_their_own(tmp_path: Path) -> None:
    space = CellSpace()
    runs = [
        read_run(
            search(
                tmp_path / method,
                PolicyGradient(space, 0, method=method, hidden=4),
                2,
                space=space,
                task=Sum(),
            )
        )
        for method in ("ppo", "reinforce")
    ]
    assert list(group_runs(runs)) == ["PolicyGradient (ppo)", "PolicyGradient (reinforce)"]


class Sum:
    def evaluate(self, spec: Any) -> float:
        return 1.0


def test_what_must_not_be_compared_is_said(tmp_path: Path) -> None:
    one = search(tmp_path / "one", RandomSearch(SPACE, 0), 3)
    longer = search(tmp_path / "longer", RandomSearch(SPACE, 0), 3, fidelity=0.5)
    objective = Objective(maximize=["AP"])
    other = search(tmp_path / "other", RandomSearch(SPACE, 0), 3, objective=objective)
    cells = search(tmp_path / "cells", RandomSearch(CellSpace(), 0), 3, space=CellSpace(), task=Sum())
    assert incomparable([read_run(one), read_run(one)]) == []
    for folder, reason in (
        (longer, "different lengths: their fidelities are 0.5, 1"),
        (other, "different objectives"),
        (cells, "different spaces"),
    ):
        (found,) = incomparable([read_run(one), read_run(folder)])
        assert reason in found
        text = comparison_page([one, folder])
        checked(text)
        assert f'<p class="note">{found}</p>' in text


def test_failed_searches_and_such_without_a_trial_have_their_place(tmp_path: Path) -> None:
    good = search(tmp_path / "good", RandomSearch(SPACE, 0), 3)
    with pytest.raises(SearchError):
        search(tmp_path / "<failed>", RandomSearch(SPACE, 0), 20, task=SyntheticTask(failing=1.0))
    text = comparison_page([good, tmp_path / "<failed>"])
    checked(text)
    assert "&lt;failed&gt;" in text
    assert [row[3] for row in rows_of(text, "The searches")] == [
        "finished: all trials have ended",
        "stopped before its end",
    ]
    text = comparison_page([tmp_path / "<failed>", search(tmp_path / "b", RandomSearch(SPACE, 1), 1)])
    checked(text)


def test_the_best_reward_has_the_number_of_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations of finalists lie between the trials of a search that was continued."""
    record = Recorder()
    record.session(0)
    record.ask(0, 0)
    record.end(1, 0, reward=0.1)
    record.ask(2, 1, key="key 0", finalist_of=0)
    record.end(3, 1, reward=0.9)
    record.ask(4, 2)
    record.end(5, 2, reward=0.4)
    monkeypatch.setattr(run_comparison, "read_history", lambda _: replayed(record))
    run = read_run(tmp_path / "one")
    assert (run.by_trial.steps, run.best_trial) == (((0.0, 0.1), (1.0, 0.4)), 2)
    text = comparison_page([tmp_path / "one", tmp_path / "two"])
    assert [row[5] for row in rows_of(text, "The searches")] == ["0.4000 (trial 2)"] * 2


def test_of_equal_rewards_the_first_that_was_known_is_the_best_as_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder()
    record.session(0)
    record.ask(0, 0)
    record.ask(0, 1)
    record.end(1, 1, reward=0.5)
    record.end(2, 0, reward=0.5)
    monkeypatch.setattr(run_comparison, "read_history", lambda _: replayed(record))
    text = comparison_page([tmp_path / "one", tmp_path / "two"])
    assert [row[5] for row in rows_of(text, "The searches")] == ["0.5000 (trial 1)"] * 2
    assert read_run(tmp_path / "one").best_trial == replayed(record).trials.best == 1


class Steady:
    """Gives the reward of a curve to all."""

    def __init__(self, reward: float) -> None:
        self.reward = reward

    def evaluate(self, spec: Any) -> float:
        return self.reward


def test_huge_rewards_are_compared(tmp_path: Path) -> None:
    folders = [
        search(tmp_path / str(i), RandomSearch(SPACE, i), 2, i, task=Steady(reward))
        for i, reward in enumerate((1e200, -1e200))
    ]
    text = comparison_page(folders)
    checked(text)
    assert [row[2] for row in rows_of(text, "Controllers: the best reward after 2 trials")] == ["0.0000"]
    assert "1e+200 (trial 0)" in text
    assert "0" * 20 not in text


def test_a_search_without_a_score_is_counted_and_one_trial_is_a_dot(tmp_path: Path) -> None:
    one = search(tmp_path / "one", RandomSearch(SPACE, 0), 1)
    with pytest.raises(SearchError):
        search(tmp_path / "failed", RandomSearch(SPACE, 0), 20, task=SyntheticTask(failing=1.0))
    text = comparison_page([one, tmp_path / "failed"])
    checked(text)
    assert "1 of 2 searches of RandomSearch has no score and is left out of its mean." in text
    assert "RandomSearch, 1 search<" in text
    assert "Controllers: the best reward after 1 trial<" in text
    by_trial = text.split("Best so far, by trials")[1].split("</svg>")[0]
    assert by_trial.count("h0") == 1


def test_wrong_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = search(tmp_path / "run", RandomSearch(SPACE, 0), 1)
    output = tmp_path / "page.html"
    assert main(["report", str(run), str(tmp_path / "run"), "--out", str(output)]) == 2
    assert "is given twice" in capsys.readouterr().err
    assert main(["report", str(run), str(tmp_path / "none"), "--out", str(output)]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    assert not output.exists()
    assert main(["report", str(run), "--out", str(output)]) == 0
    assert "To reproduce" in output.read_text()
    with pytest.raises(ComparisonError, match="at least two"):
        comparison_page([run])
