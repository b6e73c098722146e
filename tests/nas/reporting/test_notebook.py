"""A result in a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers import RandomSearch
from nas.executors.local_executor import LocalExecutor
from nas.search.loop import run_search
from nas.search.result import SearchError, load_result
from proxy_tasks.synthetic import SyntheticTask
from search_space import published_space
from tests.nas.reporting.checked_page import checked

SPACE = published_space("r35-sp18")


def test_a_result_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    result = run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 12, tmp_path)
    text = result._repr_html_()
    assert checked(text).seen >= {"svg", "table", "div"}
    assert result.best is not None
    assert f"<td>{result.best.number} (winner)</td>" in text
    with pytest.raises(SearchError):
        run_search(
            SPACE, RandomSearch(SPACE, 0), SyntheticTask(failing=1.0), LocalExecutor(), 20, tmp_path / "a"
        )
    failed = load_result(tmp_path / "a")
    assert (failed.best, failed.reason) == (None, None)
    assert "svg" not in checked(failed._repr_html_()).seen
    assert "The search has not finished: 10 failed" in failed._repr_html_()
