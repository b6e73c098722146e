"""`nas logs`: a trial's fate and its log, or those that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controllers import RandomSearch
from nas.cli.main import main
from nas.executors import LocalExecutor
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from proxy_tasks.adapted_task import adapt
from tests.search_space.cell_space import CellSpace


class Fails:
    """Its third trial fails."""

    def evaluate(self, spec: Any) -> float:
        if Path("two").exists():
            raise ValueError("no such block")
        Path("two" if Path("one").exists() else "one").touch()
        return 0.5


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder, space = tmp_path / "runs" / "first", CellSpace()
    config = SearchConfig(cache=False, max_failures=1.0)
    run_search(space, RandomSearch(space, 0), adapt(Fails()), LocalExecutor(), 3, folder, config=config)
    (folder / "trials" / "0").mkdir(parents=True, exist_ok=True)
    (folder / "trials" / "0" / "log.txt").write_bytes(b"\033[2Jstep 1\tof 2\n\xff\n")
    return folder


def test_a_trial_and_its_log(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["logs", str(run), "0"]) == 0
    head, place, *log = capsys.readouterr().out.splitlines()
    assert head.startswith("trial 0: completed, reward 0.5000, 1 attempt, the last on this process")
    assert place == f"--- {run}/trials/0/log.txt"
    assert log == ["\\x1b[2Jstep 1    of 2", "\\xff"]
    assert main(["logs", "1"]) == 0  # Of the latest search.
    found = capsys.readouterr()
    assert (
        f"{run}/trials/1/log.txt is not there: what a trial prints under executor=in_process goes to the"
        in found.out.replace("runs/first", str(run))
    )


def test_without_a_number_the_failed_trials_are_listed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["logs"]) == 0
    found = capsys.readouterr()
    assert found.err == "the latest run: runs/first\n"
    assert found.out.startswith("trial 2: failed, 1 attempt, ")
    assert "ValueError: no such block" in found.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["runs/first", "3"], "runs/first has no trial 3; its 3 trials count from 0"),
        (["runs/first", "1", "2"], "nas logs takes a folder and the number of a trial, not runs/first 1 2"),
        (["runs/first", "x"], "nas logs takes a folder and the number of a trial, not runs/first x"),
        (["absent"], "absent: no such folder"),
        (["runs", "0"], "runs holds no search: there is no journal.db"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    run: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["logs", *words]) == 2
    assert capsys.readouterr().err == f"nas: {told}\n"
