"""Reports of searches: small, failed, empty, hostile, and large."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from controllers import RandomSearch
from nas.cli.main import main
from nas.executors.local_executor import LocalExecutor
from nas.journal.history import History, read_history
from nas.journal.store import Event, open_journal
from nas.journal.trials import Trials, finalist_rewards
from nas.reporting.blocks import Table
from nas.reporting.charts import Chart, area, bars, lines, tick_labels, ticks, timeline
from nas.reporting.html_report import page
from nas.reporting.importance import chance_level, importance
from nas.reporting.sections import (
    SECTIONS,
    show_best_trials,
    show_curves,
    show_facts,
    show_finalists,
    show_front,
    show_insights,
    show_learning,
    show_next,
    show_why_it_stopped,
)
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.result import SearchError, load_result
from nas.utils.files import locked_folder
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score
from search_space import SpineNetSpec, load_spec, published_space
from tests.nas.journal.test_history import Recorder, replayed

VOID = {"meta", "img", "path", "rect"}
SPACE = published_space("r35-sp18")


class Checker(HTMLParser):
    """Tags are closed in order, and nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has {name}"
            if name in ("src", "href"):
                assert value is not None
                assert value.startswith("data:image/svg+xml;base64,")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "script" not in checker.seen
    assert "url(" not in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().split("<details>")[0].replace("tenan", "")
    return checker


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


def test_importance_finds_the_decision_that_matters() -> None:
    rng = np.random.default_rng(0)
    genotypes = rng.integers(0, 4, (300, 5))
    rewards = 2.0 * genotypes[:, 3] + rng.normal(size=300)
    shares = importance(genotypes.tolist(), rewards.tolist())
    variance = 4 * 1.25
    assert shares[3] == pytest.approx(variance / (variance + 1), abs=0.05)
    assert max(shares[:3] + shares[4:]) < 0.05
    assert importance(genotypes.tolist(), [1.0] * 300) == [0.0] * 5
    assert max(shares[:3] + shares[4:]) < chance_level(genotypes.tolist(), rewards.tolist()) < shares[3]


def test_what_chance_shows_is_rarely_passed_without_a_cause() -> None:
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(100):
        genotypes, rewards = rng.integers(0, 6, (30, 40)).tolist(), rng.normal(size=30).tolist()
        passed += max(importance(genotypes, rewards)) > chance_level(genotypes, rewards)
    assert passed <= 14  # 5 % on average; more than 14 of 100 has p < 0.001.


def decisions_of(record: Recorder, folder: Path) -> str:
    block = show_insights(folder, replayed(record))
    figures = [] if block is None else [figure for figure in block.figures if "Decisions" in figure.title]
    return "".join(f"{figure.about}{figure.picture}" for figure in figures)


def test_scores_that_trials_share_are_no_evidence_of_a_decision(tmp_path: Path) -> None:
    """Ten copies of twelve rewards of chance would look like a hundred rewards that agree."""
    rng = np.random.default_rng(3)
    record = Recorder()
    record.session(0)
    genotypes = rng.integers(0, 3, (12, 20)).tolist()
    for number, genotype in enumerate(genotypes):
        record.ask(number, number, genotype=genotype)
        record.end(number, number, reward=float(rng.normal()))
    alone = decisions_of(record, tmp_path)
    assert "All may be due to chance" in alone
    for copy in range(12, 120):
        source = copy % 12
        record.ask(copy, copy, key=f"key {source}", genotype=genotypes[source], source=source)
        record.end(copy, copy, "cached", reward=replayed(record).rows[source].rewards[0], source=source)  # type: ignore[index]
    assert decisions_of(record, tmp_path) == alone


def test_repeated_evaluations_of_a_network_count_with_their_mean(tmp_path: Path) -> None:
    once, twice = Recorder(), Recorder()
    for record in (once, twice):
        record.session(0)
        for number in range(12):
            record.ask(number, number)
            record.end(number, number, reward=4.0 if number == 3 and record is once else float(number))
    twice.ask(20, 12, key="key 3")
    twice.end(21, 12, reward=5.0)
    assert decisions_of(once, tmp_path) == decisions_of(twice, tmp_path) != ""


def test_several_objectives_have_their_front(tmp_path: Path) -> None:
    record = Recorder()
    record.session(0, objective={"maximize": ["reward"], "minimize": ["latency_ms"]})
    for number, rewards in enumerate([(2.0, -1.0), (1.0, -7.0), (4.0, -8.0), (3e-7, -0.5), (2.0, -9.0)]):
        record.ask(number, number)
        record.end(number, number, reward=rewards[0], rewards=list(rewards))
    history = replayed(record)
    table = show_front(tmp_path, history)
    assert table is not None
    assert table.head == ["trial", "reward", "-latency_ms", "key"]
    assert [row[:3] for row in table.rows] == [
        ["2", "4.0000", "-8.0000"],
        ["0", "2.0000", "-1.0000"],
        ["3", "3e-07", "-0.5000"],
    ]
    block = show_insights(tmp_path, history)
    assert block is not None
    (figure,) = [figure for figure in block.figures if figure.title == "Pareto front"]
    assert str(figure.picture).count("h0") == 5 + 3
    checked(page(tmp_path, history))
    one = Recorder()
    one.session(0, objective={"maximize": 5, "minimize": None})
    one.ask(0, 0)
    one.end(1, 0)
    assert show_front(tmp_path, replayed(one)) is None


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


def test_the_winner_is_written_as_soon_as_there_is_one(tmp_path: Path) -> None:
    class Watcher:
        def on_event(self, event: Event, trials: Trials) -> None:
            if event.kind == "ended" and trials.best is not None:
                winners = tmp_path / "winners"
                assert json.loads((winners / "summary.json").read_text())["trial"] == trials.best
                spec = load_spec(winners / "best.json")
                assert spec == SPACE.decode(trials.all[trials.best].genotype)
                seen.add(trials.best)

        def close(self) -> None:
            pass

    seen: set[int] = set()
    run_search(
        SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 30, tmp_path, observers=[Watcher()]
    )
    assert len(seen) > 1, "several trials were the best in turn, within seconds"


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


def test_numbers_of_ticks_differ() -> None:
    assert tick_labels([0, 0.5, 1]) == ["0", "0.5", "1"]
    near = ticks(0.3912345, 0.3912349)
    assert len(set(tick_labels(near))) == len(near) > 2
    large = ticks(1234567, 1234570)
    assert [float(label) for label in tick_labels(large)] == large
    assert tick_labels([]) == []


def test_ticks_of_tiny_numbers_differ() -> None:
    labels = tick_labels(ticks(1e-13, 1.2e-12))
    assert labels == ["2e-13", "4e-13", "6e-13", "8e-13", "1e-12", "1.2e-12"]
    assert ticks(1e-300, 1e-299)[-1] == 1e-299


@pytest.mark.parametrize("limit", [0.0, 0.02, 0.1, 0.3, 0.5, 1.0])
def test_no_percentage_is_crossed_by_the_mark_of_chance(limit: float) -> None:
    picture = bars(["a", "b", "c", "d"], [0.904, 0.25, 0.06, 0.0], limit)
    mark = float(re.findall(r"M([\d.]+) \d+v16", picture)[0])
    texts = re.findall(r'<text x="([\d.]+)" y="\d+">([\d.]+%)', picture)
    assert [label for _, label in texts] == ["90.4%", "25.0%", "6.0%", "0.0%"]
    for x, label in texts:
        assert not float(x) - 1 < mark < float(x) + 7 * len(label)
        assert float(x) + 7 * len(label) <= 400


def test_charts_keep_the_best_and_have_round_ticks() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.7, 13) == [0, 5, 10]
    chart = Chart("x", "y", [1, 4], [0, 1])
    assert lines(chart, [1, 2, 3, 4], [0, 0, 1, 1]).count("V") == 2
    alone = Chart("x", "y", [3], [0.5])
    assert alone.place(3, 0.5)[0] == pytest.approx((alone.left + alone.right) / 2)
    assert ticks(0, 3, whole=True) == [0, 1, 2, 3]
    assert ticks(0, 1, 5, whole=True) == [0, 1]


def test_a_line_stays_level_until_the_next_point() -> None:
    path = lines(Chart("", "", [0, 1], [0, 1]), [0, 1], [0, 1]).split('"')[1]
    assert path.index("H") < path.index("V")


def test_the_edge_of_an_area_goes_forth_above_and_back_below() -> None:
    chart = Chart("", "", [0, 1], [0, 1])
    path = area(chart, [0, 1], [0, 0], [1, 1], "--best").split('"')[1]
    across = [float(place.split()[0]) for place in path.strip("MZ").split("L")]
    middle = len(across) // 2
    assert across == sorted(across[:middle]) + sorted(across[middle:], reverse=True)


def test_each_worker_has_a_row_from_the_top_of_the_picture_on() -> None:
    picture = timeline(["a", "b"], [(0, 0, 1, "completed"), (1, 0, 1, "completed")], 2.0)
    assert " 11H" in picture
    assert " 33H" in picture


def test_colors_of_many_trials_have_the_share_of_their_time() -> None:
    statuses = ["failed" if i % 20 == 7 else "completed" for i in range(14_000)]
    spans = [(0, i + 0.1, i + 0.9, status) for i, status in enumerate(statuses)]
    picture = timeline(["a"], spans, 14_000.0)
    widths = {}
    for path, color in re.findall(r'<path d="([^"]+)" stroke="var\((--\w+)\)"', picture):
        widths[color] = sum(float(b) - float(a) for a, b in re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", path))
    hours = 14_000 / 3600
    whole = Chart("hours", "", [0, hours], [0, 1])
    whole.left = 8.0
    width = whole.place(hours, 0)[0] - whole.place(0.0, 0)[0]
    assert widths["--bad"] == pytest.approx(0.04 * width, abs=1.5)
    assert widths["--ok"] == pytest.approx(0.76 * width, abs=1.5)
    assert len(picture) < 12_000


@pytest.mark.parametrize("bad", [0, 1999, 3999])
def test_a_short_failure_among_many_trials_is_seen_where_it_was(bad: int) -> None:
    spans = [(0, i * 300.0, i * 300.0 + 298.0, "completed") for i in range(4000)]
    spans[bad] = (0, bad * 300.0, bad * 300.0, "failed")
    picture = timeline(["a"], spans, 1_200_000.0)
    (path,) = re.findall(r'<path d="([^"]+)" stroke="var\(--bad\)"', picture)
    ((begin, end),) = re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", path)
    hours = 1_200_000 / 3600
    whole = Chart("hours", "", [0, hours], [0, 1])
    whole.left = 8.0
    assert float(begin) <= whole.place(bad / 12, 0)[0] + 1
    assert float(end) >= whole.place(bad / 12, 0)[0]
    assert float(end) == float(begin) + 1
    assert ">failed<" in picture


def test_a_paused_trial_has_not_failed_in_the_picture_of_the_workers() -> None:
    picture = timeline(["a"], [(0, 0, 1, "paused")], 2.0)
    assert "pruned or paused" in picture
    assert "failed" not in picture


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.00012, 0.00012), (1e-7, 3e-7), (0, 14000), (-1e6, 1e6)], ids=str
)
def test_labels_stay_clear_of_each_other_and_inside_the_picture(low: float, high: float) -> None:
    text = Chart("trial", "reward", [0, 14000], [low, high]).drawn("")
    numbers = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="(end|middle)">([^<]*)<', text)
    assert len(numbers) > 4
    for x, anchor, label in numbers:
        width = 6.8 * len(label)  # At most, with 12 px letters.
        left = float(x) - (width if anchor == "end" else width / 2)
        assert left >= 18, f"{label} meets the name of the axis, which ends at 18"
        assert left + width <= 400


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


class Strange:
    def evaluate(
        self, spec: SpineNetSpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        return Score((-1.0) ** seed * 1.7e308, {"macs": (float("nan"), float("inf"), 1e9)[seed % 3]})


def test_figures_that_no_axis_can_hold_do_not_cost_the_report(tmp_path: Path) -> None:
    run_search(SPACE, RandomSearch(SPACE, 0), Strange(), LocalExecutor(), 12, tmp_path)
    assert "Reward and cost" in page(tmp_path, read_history(tmp_path))


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


CONFIG = """space:
  data:
    root: other
task:
  _target_: proxy_tasks.TrainingTask
  head:
    _target_: {head}
  data:
    _target_: {data}
    root: {root}
controller:
    root: other
"""


@pytest.mark.parametrize(
    ("head", "data", "root", "words"),
    [
        ("search_space.RetinaNetHead", "proxy_tasks.DetectionData", "/a/b-1", "task.data.root=/a/b-1"),
        (
            "search_space.MaskRCNNHead",
            "proxy_tasks.DetectionData",
            "set",
            "task=mask-rcnn-cpu task.data.root=set",
        ),
        ("x.Y", "proxy_tasks.LabeledImages", "set", "task=classification task.data.root=set"),
        (
            "search_space.FCOSHead",
            "proxy_tasks.DetectionData",
            "set",
            "task.head=fcos-small task.data.root=set",
        ),
        ("search_space.FCOSHead", "proxy_tasks.DetectionData", "null", "task.head=fcos-small"),
        ("x.Y", "proxy_tasks.DetectionData", "null", ""),
        ("x.Y", "proxy_tasks.DetectionData", "'a b'", ""),
        ("x.Y", "proxy_tasks.DetectionData", "a;b", ""),
    ],
)
def test_the_next_command_names_the_data_of_the_search(
    tmp_path: Path, head: str, data: str, root: str, words: str
) -> None:
    run_search(SPACE, RandomSearch(SPACE, 0), SyntheticTask(), LocalExecutor(), 1, tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.format(head=head, data=data, root=root))
    commands = dict(show_next(tmp_path, read_history(tmp_path)).commands)
    (train,) = (command for command in commands.values() if command.startswith("nas train"))
    assert train == f"nas train spec={tmp_path}/winners/best.json {words}".rstrip()
