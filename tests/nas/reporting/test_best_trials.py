"""The tables of the best trials and of the finalists."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers import RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.journal.history import read_history
from nas.reporting.best_trials import show_best_trials, show_finalists
from nas.search.loop import run_search
from proxy_tasks.task import Report, Score
from search_space import SpineNetSpec, published_space
from tests.nas.journal.test_history import Recorder, replayed

SPACE = published_space("r35-sp18")


def test_small_and_large_rewards_are_told_apart_in_the_tables(tmp_path: Path) -> None:
    record = Recorder()
    record.session(0)
    rewards = [1.25e-7, 9e-7, 0.25, -1e200, 1234567.0, 0.0]
    for number, reward in enumerate(rewards):
        record.ask(number, number)
        record.end(number, number, reward=reward)
    table = show_best_trials(tmp_path, replayed(record))
    assert table is not None
    shown = ["1234567", "0.2500", "9e-07", "1.25e-07", "0.0000", "-1e+200"]
    assert [row[1] for row in table.rows] == shown


def test_the_table_of_trials_shows_costs_and_no_second_reward(tmp_path: Path) -> None:
    class Task:
        def evaluate(
            self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
        ) -> Score:
            more = {f"AP{i}": seed % 7 + i for i in range(6)}
            return Score(float(seed), {"AP": float(seed), **more, "params": 1e6, "macs": 1e9})

    run_search(SPACE, RandomSearch(SPACE, 0), Task(), LocalExecutor(), 3, tmp_path)
    table = show_best_trials(tmp_path, read_history(tmp_path))
    assert table is not None
    assert table.head == ["trial", "reward", "AP0", "AP1", "AP2", "AP3", "params", "macs", "key"]


@pytest.mark.parametrize(("apart", "noted"), [((True, True), 1), ((True, False), 0), ((False, False), 0)])
def test_images_of_the_finalists_own_are_noted(tmp_path: Path, apart: tuple[bool, bool], noted: int) -> None:
    record = Recorder()
    record.session(0)
    record.ask(0, 0)
    record.end(1, 0)
    for trial, own in enumerate(apart, start=1):
        record.ask(2, trial, key="key 0", finalist_of=0, apart=own)
        record.end(3, trial)
    table = show_finalists(tmp_path, replayed(record))
    assert table is not None
    assert ["no trial of the search was scored on" in note for note in table.notes] == [True] * noted
