"""Trials as a pandas DataFrame: of a run folder, and of a search that was kept in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nas
from controllers import RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.journal.errors import JournalError
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.objective import Objective
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Score
from search_space import published_space
from tests.search_space.cell_space import CellSpace

SPACE = published_space("r35-sp18")


@pytest.mark.parametrize("folder", ["run", None])
def test_a_result_is_a_frame_with_a_column_for_each_decision(tmp_path: Path, folder: str | None) -> None:
    run = tmp_path / folder if folder else None
    config = SearchConfig(finalists=2, finalist_seeds=1, max_failures=1)
    result = run_search(
        SPACE, RandomSearch(SPACE, 0), SyntheticTask(failing=0.3), LocalExecutor(), 12, run, config=config
    )
    frame = result.frame()
    assert frame.index.name == "trial"
    assert list(frame.index) == [trial.number for trial in result.trials.all]
    for trial in result.trials.all:
        row = frame.loc[trial.number]
        assert row["status"] == trial.status
        assert row["reward"] == trial.rewards[0] if trial.rewards else pd.isna(row["reward"])
        for decision, answer in zip(SPACE.decisions, trial.genotype, strict=True):
            assert row[decision.name] == decision.labels[answer]
    assert result.best is not None
    found = frame[frame.finalist_of.isna()]
    assert len(found) == 12
    assert found.reward.idxmax() == result.trials.best
    assert frame.finalist_of.dtype == "Int64"
    assert set(frame.status) >= {"completed", "failed"}
    if run is not None:
        loaded = nas.load_result(run)
        assert (loaded.best, loaded.reason) == (result.best, "budget")
        pd.testing.assert_frame_equal(loaded.frame(), frame)


class Clashing:
    """Metrics that are called like columns and like decisions."""

    def evaluate(self, spec: Any, *_: object) -> Score:
        return Score(1.0, {"seed": 5.0, "status": 6.0, CellSpace().decisions[0].name: 7.0})


def test_names_that_are_taken_get_a_suffix() -> None:
    space = CellSpace()
    name = space.decisions[0].name
    config = SearchConfig(objective=Objective(maximize=["reward"], minimize=["seed"]))
    result = run_search(space, RandomSearch(space, 0), Clashing(), LocalExecutor(), 2, None, config=config)
    frame = result.frame()
    assert frame["seed (metric)"].tolist() == [5.0, 5.0]
    assert frame["status (metric)"].tolist() == [6.0, 6.0]
    assert frame[name].tolist() == [7.0, 7.0]
    assert set(frame[f"{name} (decision)"]) <= set(space.decisions[0].labels)
    assert frame["reward_2"].tolist() == [-5.0, -5.0]
    assert frame.columns.is_unique


def test_a_search_without_a_trial_is_an_empty_frame_and_a_folder_without_one_is_refused(
    tmp_path: Path,
) -> None:
    from nas.journal.store import open_journal

    journal = open_journal(tmp_path / "a", create=True)
    journal.write("session", None, {"workers": 2, "versions": {}, "python": "3.11"})
    journal.close()
    result = nas.load_result(tmp_path / "a")
    assert (result.best, result.reason) == (None, None)
    assert result.frame().empty
    assert "reward" in result.frame()
    with pytest.raises(JournalError, match="holds no search"):
        nas.load_result(tmp_path)
