"""How a search stands, and why it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers import RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.journal.history import read_history
from nas.reporting.facts import show_facts
from nas.reporting.failures import show_why_it_stopped
from nas.search.loop import run_search
from nas.search.result import SearchError
from nas.utils.files import locked_folder
from proxy_tasks.synthetic import SyntheticTask
from search_space import published_space
from tests.nas.journal.test_history import Recorder, replayed

SPACE = published_space("r35-sp18")


def test_the_facts_name_the_budget_and_a_stopped_search_its_failure(tmp_path: Path) -> None:
    with pytest.raises(SearchError):
        run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(failing=1.0), LocalExecutor(), 20, tmp_path)
    (tmp_path / "config.yaml").write_text("trials: 20\n")
    history = read_history(tmp_path)
    assert ("trials", "10 of 20 have ended") in show_facts(tmp_path, history).tiles
    note = show_why_it_stopped(tmp_path, history)
    assert note is not None
    assert note.text.startswith(
        "10 of 10 trials failed. The most frequent failure is of the class diverged: "
    )
    with locked_folder(tmp_path):
        assert show_why_it_stopped(tmp_path, history) is None


def test_the_share_of_cache_hits_is_of_the_trials_that_are_over(tmp_path: Path) -> None:
    record = Recorder()
    record.session(0)
    for trial, key in enumerate(("same", "same", "other")):
        record.ask(0, trial, key=key)
    record.end(1, 0)
    record.end(1, 1, "cached", source=0)
    assert ("cache hits", "1 (50%)") in show_facts(tmp_path, replayed(record)).tiles
