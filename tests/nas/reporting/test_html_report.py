"""Reports of searches: small, failed, empty, hostile, and large."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from controllers import RandomSearch
from nas.cli.main import main
from nas.executors.local_executor import LocalExecutor
from nas.journal.history import History, read_history
from nas.journal.store import open_journal
from nas.journal.trials import finalist_rewards
from nas.reporting.blocks import Table
from nas.reporting.html_report import page
from nas.reporting.sections import SECTIONS
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.result import SearchError, load_result
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score
from search_space import SpineNetSpec, published_space
from tests.nas.reporting.checked_page import checked

SPACE = published_space("r35-sp18")


def test_a_search_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["task=synthetic", "task.failing=0.2", "executor=in_process", "trials=30", f"run_dir={run}"]
    assert main(["search", *words]) == 0
    capsys.readouterr()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    text = (run / "report.html").read_text()
    assert checked(text).seen >= {"svg", "img", "table", "details"}
    for told in (
        "finished: all trials have ended",
        "Best so far",
        "Decisions and rewards",
        "SpineNet-49",
        "the synthetic loss",
        f"nas train spec={run}/winners/best.json",
        f"nas resume {run} trials=60",
    ):
        assert told in text
    assert "diverged" in text


class Hostile:
    def evaluate(
        self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        if seed % 2:
            raise ValueError("<script>alert(1)</script>")
        return Score(1.0, {"<b>AP</b>": 0.5, "macs": 1e9})


def test_hostile_names_and_errors_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "<i>run&"
    run_search(
        SPACE,
        RandomSearch(SPACE, 0),
        Hostile(),
        LocalExecutor(),
        12,
        folder,
        config=SearchConfig(max_failures=1),
    )
    (folder / "config.yaml").write_text("name: </pre><script>\n")
    text = page(folder, read_history(folder))
    checked(text)
    assert "&lt;script&gt;alert(1)" in text
    assert "&lt;b&gt;AP" in text


def test_a_failed_search_and_one_without_a_trial_have_reports(tmp_path: Path) -> None:
    with pytest.raises(SearchError):
        run_search(
            SPACE, RandomSearch(SPACE, 0), SyntheticTask(failing=1.0), LocalExecutor(), 20, tmp_path / "a"
        )
    text = page(tmp_path / "a", read_history(tmp_path / "a"))
    assert "nas resume" not in text
    assert "--config-dir" not in text
    assert "This search was started from Python" in text
    (tmp_path / "a" / "config.yaml").touch()
    text = page(tmp_path / "a", read_history(tmp_path / "a"))
    checked(text)
    assert "--config-dir" in text
    assert "stopped before its end" in text
    assert f"<code>nas resume {tmp_path / 'a'}</code>" in text
    assert "nas train" not in text
    assert "the synthetic loss is infinite" in text
    journal = open_journal(tmp_path / "b", create=True)
    journal.write("session", None, {"workers": 2, "versions": {}, "python": "3.11"})
    text = page(tmp_path / "b", read_history(tmp_path / "b"))
    journal.close()
    checked(text)


def test_a_section_of_ones_own_is_one_function(tmp_path: Path) -> None:
    def show_keys(folder: Path, history: History) -> Table:
        return Table(title="Keys & more", head=["key"], rows=[[row.key] for row in history.rows])

    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 3, tmp_path)
    history = read_history(tmp_path)
    text = page(tmp_path, history, [*SECTIONS, show_keys])
    checked(text)
    section = text.split("<h2>Keys &amp; more</h2>")[1]
    assert re.findall(r"<td>(\w+)</td>", section) == [row.key for row in history.rows]


def test_a_folder_without_a_search_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no search" in capsys.readouterr().err


def test_the_command_tells_of_the_finalists_and_the_report_lists_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["task=synthetic", "task.noise=0.3", "executor=in_process", "trials=12", f"run_dir={run}"]
    assert main(["search", *words, "search.finalists=3", "search.finalist_fidelity=2"]) == 0
    shown = capsys.readouterr().out
    trials = read_history(run).trials
    means = finalist_rewards(trials)
    assert len(means) == 3
    winner = trials.picked  # By all that was measured of it and of its like: not always the best mean.
    assert winner in means
    assert f"winner: trial {winner}, reward" in shown
    assert f"as a finalist {sum(means[winner]) / 2:.4f} (mean of 2)" in shown
    assert re.findall(r"finalist .* (\d)/6$", shown, re.MULTILINE) == list("123456")
    section = (
        (run / "report.html")
        .read_text()
        .split("Finalists, evaluated at fidelity 2</h2>")[1]
        .split("</table>")[0]
    )
    rows = [int(n) for n in re.findall(r"<tr><td>(\d+)</td>", section)]
    assert sorted(rows) == sorted(means)
    assert rows[0] == winner


class Strange:
    def evaluate(
        self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        return Score((-1.0) ** seed * 1.7e308, {"macs": (float("nan"), float("inf"), 1e9)[seed % 3]})


def test_figures_that_no_axis_can_hold_do_not_cost_the_report(tmp_path: Path) -> None:
    run_search(SPACE, RandomSearch(SPACE, 0), Strange(), LocalExecutor(), 12, tmp_path)
    assert "Reward and cost" in page(tmp_path, read_history(tmp_path))


class Detector:
    """Its metrics are those of pycocotools, with -1 for kinds without an object."""

    def evaluate(
        self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        return Score(0.1, {"AP": 0.1, "APs": -1.0, "bbox_mAP_l": -1.0, "balance": -1.0})


def test_what_was_not_measured_is_nowhere(tmp_path: Path) -> None:
    run_search(SPACE, RandomSearch(SPACE, 0), Detector(), LocalExecutor(), 3, tmp_path)
    text = page(tmp_path, read_history(tmp_path))
    assert "APs" not in text
    assert "mAP_l" not in text
    assert "<th>balance</th>" in text
    assert "<td>-1</td>" in text
    assert list(load_result(tmp_path).frame().columns[:4]) == ["status", "reward", "AP", "balance"]
    summary = json.loads((tmp_path / "winners" / "summary.json").read_text())
    assert list(summary["metrics"])[:3] == ["AP", "balance", "excess"]
    assert not {"APs", "bbox_mAP_l"} & set(summary["metrics"])
