from __future__ import annotations

import csv
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from controllers import AskTell, LocalSearch, Proposal, RandomSearch, RegularizedEvolution, Reward
from nas import run_search
from nas.analysis import controller_report
from nas.analysis.controller_study import best_known
from nas.analysis.controller_summary import choose_points, summarize
from nas.analysis.mean_intervals import mean_interval
from nas.analysis.ranking import band, curve, holm, rank
from nas.analysis.search_curve import CurveObserver, SearchCurve, TimedController, trace_search
from nas.cli.main import main
from nas.executors import SimulatedExecutor
from nas.journal.event import Event
from nas.journal.trials import Trials
from nas.plugins.faults import FaultError
from nas.search.config import SearchConfig
from nas.search.objective import Objective
from proxy_tasks.adapted_task import adapt
from proxy_tasks.table import EXPECTED, TableTask
from proxy_tasks.task import Score, TaskFailureError
from search_space.choices import ChoiceSpace
from tests.nas.analysis.drawn import keep_figures

SPACE = ChoiceSpace({f"edge {i}": ["a", "b", "c"] for i in range(4)})


def table(folder: Path) -> Path:
    """One peak, at c c c c; a spec takes 10 seconds and one more for each c."""
    rows = ["key,accuracy,time"]
    for labels in itertools.product("abc", repeat=4):
        worth = sum("abc".index(label) * (i + 1) for i, label in enumerate(labels))
        rows.append(f"{'|'.join(labels)},{worth},{10 + labels.count('c')}")
    path = folder / "table.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def simulate(
    controller: AskTell, task: object, trials: int, workers: int = 1, config: SearchConfig | None = None
) -> SearchCurve:
    return trace_search(
        SPACE, controller, adapt(task), SimulatedExecutor(workers), trials, config or SearchConfig()
    )


def test_a_simulated_search_counts_trials_and_virtual_time(tmp_path: Path) -> None:
    task = TableTask(str(table(tmp_path)), "accuracy", seconds="time", space=SPACE)
    found = simulate(RandomSearch(SPACE, 3), task, 40)
    again = RandomSearch(SPACE, 3)
    specs = [SPACE.decode(again.ask().genotype) for _ in range(40)]
    assert found.trials == 40
    assert found.distinct == len(set(specs))
    assert found.seconds == sum(10 + spec.count("c") for spec in set(specs))  # A known score takes no time.
    rewards = [task.evaluate(spec).reward for spec in specs]
    bests = np.maximum.accumulate(rewards)
    assert curve([(n, best) for n, _, best in found.steps], np.arange(1.0, 41)).tolist() == bests.tolist()
    quick = simulate(RandomSearch(SPACE, 3), task, 40, workers=8)
    assert quick.seconds < found.seconds / 4
    assert quick.steps[-1][2] == bests[-1]


def test_hill_climbing_finds_the_only_peak(tmp_path: Path) -> None:
    task = TableTask(str(table(tmp_path)), "accuracy", space=SPACE)
    found = simulate(LocalSearch(SPACE, 0), task, 60)
    assert found.steps[-1][2] == best_known(adapt(task), Objective()) == 20


def test_the_searches_are_those_of_nas_search(tmp_path: Path) -> None:
    """The same proposals get the same rewards at the same times, with a journal on the disk or without."""
    task = TableTask(str(table(tmp_path)), "accuracy", seconds="time", space=SPACE)
    controller = RegularizedEvolution(SPACE, 2, population=10)
    result = run_search(
        SPACE,
        controller,
        adapt(task),
        SimulatedExecutor(3),
        50,
        tmp_path / "run",
        config=SearchConfig(seed=2),
    )
    found = simulate(
        RegularizedEvolution(SPACE, 2, population=10), task, 50, workers=3, config=SearchConfig(seed=2)
    )
    assert found.trials == 50
    assert found.distinct == len({trial.key for trial in result.trials.all})
    assert result.best is not None
    best = result.best.rewards
    assert best is not None
    assert found.steps[-1][2] == best[0]


class Fixed:
    """Proposes given genotypes, and keeps what it is told."""

    objectives = 1

    def __init__(self, *genotypes: tuple[int, ...]) -> None:
        self.genotypes = genotypes
        self.asked = 0
        self.rewards: list[Reward] = []

    def ask(self) -> Proposal:
        self.asked += 1
        return Proposal(self.asked - 1, self.genotypes[self.asked - 1])

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        self.rewards.append(reward)


class Counting:
    """Takes ten seconds; fails at the first call if it is to."""

    def __init__(self, failing: bool = False) -> None:
        self.failing, self.calls = failing, 0

    def evaluate(self, spec: tuple[str, ...]) -> Score:
        self.calls += 1
        if self.failing and self.calls == 1:
            raise TaskFailureError("error", "the first one fails")
        return Score(float(self.calls), {"seconds": 10.0})


A, B = (0, 0, 0, 0), (1, 1, 1, 1)


def test_a_key_that_failed_is_evaluated_again() -> None:
    task = Counting(failing=True)
    found = simulate(Fixed(A, A, A), task, 3)
    assert task.calls == 2  # The third shares the second's score.
    assert (found.failed, found.failure) == (1, "the first one fails")
    assert found.steps == ((2, 11.0, 2.0),)  # A failure takes the executor's second.


def test_a_key_under_way_is_not_evaluated_twice() -> None:
    task = Counting()
    found = simulate(Fixed(A, A, B), task, 3, workers=2)
    assert task.calls == 2
    assert (found.trials, found.distinct, found.seconds) == (3, 2, 10.0)


def test_rewards_are_as_late_as_the_staleness_says() -> None:
    for staleness, known in ((1, 3), (3, 1)):
        controller = Fixed(*[A, B] * 2)
        config = SearchConfig(max_staleness=staleness)
        simulate(controller, Counting(), 4, config=config)
        assert len(controller.rewards) == known


def test_time_is_measured_and_faults_name_the_controller() -> None:
    class Broken(Fixed):
        def tell(self, proposal: Proposal, reward: Reward) -> None:
            raise ZeroDivisionError("no")

    assert simulate(Fixed(A, B), Counting(), 2).ask_ms > 0
    with pytest.raises(FaultError, match=r"ZeroDivisionError in Broken\.tell: no"):
        simulate(Broken(A, B), Counting(), 2, config=SearchConfig(max_staleness=1))


def test_the_time_of_a_proposal_is_told_in_milliseconds() -> None:
    controller = TimedController(Fixed(A))
    observer = CurveObserver(SimulatedExecutor(), controller)
    controller.seconds = 2.0
    for number in range(4):
        observer.on_event(Event(0.0, "asked", number, {"key": "k"}), Trials())
    assert observer.curve().ask_ms == 500


def made_up(*steps: tuple[int, float, float], failed: int = 0, failure: str = "") -> SearchCurve:
    """A search of four trials."""
    return SearchCurve(
        steps=steps, trials=4, seconds=9.0, distinct=3, failed=failed, ask_ms=2.0, failure=failure
    )


SEARCHES = {
    "local": {
        5: made_up((1, 1.0, 2.0), (3, 4.0, 6.0)),
        6: made_up((2, 2.0, 4.0), failed=1, failure="no memory"),
    },
    "random": {5: made_up((1, 1.0, 1.0)), 6: made_up((1, 1.0, 3.0), failed=2, failure="diverged")},
}


def test_a_summary_tells_the_regrets_of_the_searches() -> None:
    """Before its first score a search has the regret of the worst reward that any search began with."""
    summary = summarize(SEARCHES, 4, None)
    local, random = summary.controllers
    assert (summary.best, summary.best_is_known, summary.points) == (6.0, False, (4,))
    assert local.regrets.tolist() == [[4, 4, 0, 0], [5, 2, 2, 2]]
    assert random.regrets.tolist() == [[5] * 4, [3] * 4]
    assert (local.regret, local.error) == ({4: 1.0}, {4: 1.0})
    assert (random.regret, random.error) == ({4: 4.0}, {4: 1.0})
    assert [(each.rank, each.beats) for each in summary.controllers] == [(1.0, 0), (2.0, 0)]
    assert random.p is None
    assert local.p == pytest.approx(1 / 6)
    assert (local.distinct, local.ask_ms, local.failed, local.trials) == (0.75, 2.0, 1, 8)
    assert (local.failure, random.failure) == ("no memory", "diverged")


def test_a_summary_counts_from_the_best_of_the_task_if_it_is_known() -> None:
    summary = summarize(dict(reversed(SEARCHES.items())), 4, 10.0)
    assert (summary.best, summary.best_is_known) == (10.0, True)
    assert [each.regret for each in summary.controllers] == [{4: 8.0}, {4: 5.0}]
    assert [each.name for each in summary.by_rank()] == ["local", "random"]


def test_a_summary_without_random_search_tests_against_none() -> None:
    summary = summarize({"local": SEARCHES["local"], "mine": SEARCHES["random"]}, 4, None)
    assert [each.p for each in summary.controllers] == [None, None]


def test_a_summary_names_the_controller_that_found_nothing() -> None:
    searches = {**SEARCHES, "mine": {5: SEARCHES["local"][5], 6: made_up(failed=4, failure="not built")}}
    wanted = "a search with mine found no score at all; the last failure: not built"
    with pytest.raises(ValueError, match=wanted):
        summarize(searches, 4, None)


def compare(folder: Path, *words: str) -> int:
    common = [
        "space._target_=search_space.ChoiceSpace",
        *(f"space.choices.e{i}=[a,b,c]" for i in range(4)),
        "task=table",
        f"task.path={folder / 'table.csv'}",
        "task.reward=accuracy",
        "task.seconds=time",
        "processes=1",
        f"out={folder / 'out'}",
    ]
    return main(["compare", *common, *words])


def test_failed_trials_and_standard_errors_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = table(tmp_path).read_text().splitlines()
    (tmp_path / "table.csv").write_text("\n".join([rows[0], *rows[1::2]]) + "\n")
    assert compare(tmp_path, "controllers=[random,local]", "seeds=3", "trials=20") == 0
    told = capfd.readouterr().out
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    for name in ("random", "local"):
        assert found["failed"][name] > 0
        assert f"{found['failed'][name]} of 60 trials of {name} failed, for instance: " in told
        curves = [line.split(",") for line in (tmp_path / "out" / "comparison.csv").read_text().splitlines()]
        ends = [max(float(row[4]) for row in curves[1:] if row[:2] == [name, str(seed)]) for seed in range(3)]
        assert found["standard_error"][name]["20"] == pytest.approx(np.std(ends, ddof=1) / 3**0.5)
    assert re.search(r"\| local \| [\d.]+ ± [\d.]+ \|", told)


def test_controllers_are_ranked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table(tmp_path)
    wanted = "controllers=[random,local,'evolution population=10 tournament=3']"
    assert compare(tmp_path, wanted, "seeds=12", "trials=30", "workers=2") == 0
    told = capfd.readouterr().out
    assert "3 controllers, 12 seeds, 30 trials" in told
    assert "| evolution population=10 tournament=3 |" in told
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["best"] == 20
    assert found["best_is_known"]
    assert found["regret"]["local"]["30"] < found["regret"]["random"]["30"]
    assert found["against_random"]["local"] < 0.01
    assert sum(found["ranks"].values()) == pytest.approx(6)
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 10_000
    rows = list(csv.DictReader((tmp_path / "out" / "comparison.csv").read_text().splitlines()))
    assert {row["controller"] for row in rows} == set(found["ranks"])
    # A second call has nothing to search and says the same; more seeds only add.
    lines = (tmp_path / "out" / "searches.jsonl").read_text()
    assert compare(tmp_path, wanted, "seeds=12", "trials=30", "workers=2") == 0
    assert capfd.readouterr().out == told
    assert compare(tmp_path, wanted, "seeds=13", "trials=30", "workers=2") == 0
    assert (tmp_path / "out" / "searches.jsonl").read_text().startswith(lines)
    # Cut off while a line was written: that search is made again, to the same end.
    whole = (tmp_path / "out" / "comparison.md").read_text()
    cut = (tmp_path / "out" / "searches.jsonl").read_text()[:-40]
    (tmp_path / "out" / "searches.jsonl").write_text(cut)
    assert compare(tmp_path, wanted, "seeds=13", "trials=30", "workers=2") == 0
    columns = [line.rsplit("|", 2)[0] for line in whole.splitlines()]
    again = (tmp_path / "out" / "comparison.md").read_text()
    assert [line.rsplit("|", 2)[0] for line in again.splitlines()] == columns


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["controllers=[rndom]"], "unknown controller 'rndom' (did you mean random?)"),
        (["controllers=['evolution popultion=3']"], "popultion"),
        (["controllers=['evolution population=0']"], "population"),
        (["controllers=[absent.Mine]"], "there is no absent.py"),
        (["controllers=[]"], "controllers: give at least one"),
        (["seeds=1"], "seeds must be a whole number of at least 2, not 1"),
        (["task.reward=speed"], "no 'speed'; the columns are key, accuracy, time"),
        (["task.path=absent.csv"], "absent.csv: No such file"),
        (["--seeds"], "unknown option --seeds"),
    ],
)
def test_wrong_comparisons_are_told(
    words: list[str], told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table(tmp_path)
    assert compare(tmp_path, *words) == 2
    error = capfd.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_comparison_in_the_folder_is_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table(tmp_path)
    assert compare(tmp_path, "controllers=[random]", "seeds=2", "trials=5") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert compare(tmp_path, "controllers=[random]", "seeds=2", "trials=6") == 2
    assert "holds another comparison: trials changed; give another folder with out=" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.slow
def test_searches_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In other processes as in this one; and a controller of one's own, in a file."""
    table(tmp_path)
    (tmp_path / "mine_to_compare.py").write_text(
        "from controllers import RandomSearch\nclass Mine(RandomSearch):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["controllers=[random,mine_to_compare.Mine]", "seeds=3", "trials=20"]
    assert compare(tmp_path, *words, "processes=2") == 0
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["regret"]["random"] == found["regret"]["mine_to_compare.Mine"]
    assert found["kruskal_p"] > 0.9
    one = tmp_path / "one"
    assert compare(tmp_path, *words, f"out={one}") == 0
    assert json.loads((one / "comparison.json").read_text())["regret"] == found["regret"]


@pytest.mark.parametrize(
    ("trials", "last"),
    [
        (5, [5]),
        (10, [10]),
        (150, [100, 150]),
        (14_000, [5000, 10_000, 14_000]),
        (10**6, [200_000, 500_000, 10**6]),
    ],
)
def test_regret_is_told_at_every_power_of_ten(trials: int, last: list[int]) -> None:
    points = choose_points(trials)
    assert points[-len(last) :] == last
    assert points == sorted(set(points))
    assert {10**k for k in range(1, 7) if 10**k <= trials} <= set(points)


def test_ranks_and_tests() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(0, 1, 40), rng.normal(2, 1, 40)
    found = rank({"low": low, "high": high, "same": low}, "low")
    assert found.overall_p < 1e-6
    assert found.ranks["high"] < found.ranks["low"] == found.ranks["same"]
    assert found.beaten("high") == 2
    assert found.beaten("low") == found.beaten("same") == 0
    assert found.against["high"] < 1e-6 < 0.4 < found.against["same"]
    assert found.superiority["high", "low"] == np.mean(high[:, None] > low)
    assert rank({"worse": low, "random": high}, "random").against["worse"] > 0.95, "it is one-sided"
    equal = rank({"a": np.ones(5), "b": np.ones(5)})
    assert equal.overall_p == 1
    assert set(equal.pairs.values()) == {1.0}


def test_adjusted_p_values() -> None:
    pairs = {("a", "b"): 0.01, ("a", "c"): 0.04, ("b", "c"): 0.03}
    assert holm(pairs) == pytest.approx({("a", "b"): 0.03, ("b", "c"): 0.06, ("a", "c"): 0.06})


@pytest.mark.parametrize("seeds", [2, 3, 20])
def test_a_band_holds_the_mean_also_of_few_seeds(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    values = rng.normal(5, 2, (seeds, 4000))
    mean, low, high = band(values)
    inside = int(((low < 5) & (high > 5)).sum())
    assert stats.binomtest(inside, 4000, 0.95).pvalue > 0.001
    wanted = mean_interval(values[:, 0].tolist())
    assert (low[0], high[0]) == pytest.approx(wanted)
    assert mean[0] == pytest.approx(values[:, 0].mean())


def test_the_optimum_is_of_the_objective_and_of_the_table_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path)
    words = ("controllers=[random]", "seeds=2", "trials=8")
    assert compare(tmp_path, *words, "objective.maximize=[time]", "objective.limits.time=13") == 0
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["best"] == 13
    path.write_text(path.read_text().replace("c|c|c|c,20", "c|c|c|c,1000"))
    capsys.readouterr()
    assert compare(tmp_path, *words, "objective.maximize=[time]", "objective.limits.time=13") == 2
    assert f"holds another comparison: own files ({path}) and table changed" in capsys.readouterr().err


class Drawn:
    """Draws its scores by chance around what they are worth."""

    def evaluate(self, spec: tuple[str, ...], seed: int) -> Score:
        worth = 1.0 + spec.count("c")
        score = worth + float(np.random.default_rng(seed).normal(0, 0.1))
        return Score(score, {EXPECTED: worth, "error": -score, "time": 10.0})


@pytest.mark.parametrize(
    ("objective", "worths"),
    [
        (Objective(), {1.0, 2.0, 3.0, 4.0, 5.0}),
        (Objective(limits={"time": 5.0}, penalty_exponent=-1.0), {0.5, 1.0, 1.5, 2.0, 2.5}),
        (Objective(maximize=(), minimize=("error",)), None),
    ],
)
def test_a_curve_tells_what_drawn_scores_are_worth_by_the_objective(
    objective: Objective, worths: set[float] | None
) -> None:
    config = SearchConfig(objective=objective)
    found = [worth for _, _, worth in simulate(RandomSearch(SPACE, 3), Drawn(), 40, config=config).steps]
    assert len(found) > 3
    if worths is None:  # Nothing tells what another metric is worth.
        assert all(b > a for a, b in itertools.pairwise(found))
    else:
        assert set(found) <= worths


def test_searches_that_begin_with_failures_are_compared(tmp_path: Path) -> None:
    words = ("controllers=[random,local]", "seeds=3", "trials=12", "processes=1", "task.failing=0.5")
    assert main(["compare", "task=synthetic", *words, f"out={tmp_path / 'out'}"]) == 0
    assert (tmp_path / "out" / "comparison.png").is_file()
    assert "nan" not in (tmp_path / "out" / "comparison.md").read_text()


def test_a_study_of_one_trial_has_dots_and_whole_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = keep_figures(monkeypatch, controller_report)
    table(tmp_path)
    assert compare(tmp_path, "controllers=[random,local]", "seeds=2", "trials=1") == 0
    by_trial, by_time, _ = figures[0].axes
    assert [line.get_marker() for line in by_trial.lines] == ["o", "o"]
    assert all(float(at).is_integer() for at in by_trial.get_xticks())
    assert {line.get_drawstyle() for axes in (by_trial, by_time) for line in axes.lines} == {"steps-post"}
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert page.startswith("# 2 controllers, 2 seeds, 1 trial\n")


def test_searches_that_lose_nothing_have_an_axis_that_begins_at_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = keep_figures(monkeypatch, controller_report)
    rows = table(tmp_path).read_text().splitlines()
    flat = [re.sub(r",\d+,", ",1,", row) for row in rows]
    (tmp_path / "table.csv").write_text("\n".join(flat) + "\n")
    many = ",".join(f"'evolution population={2 + i}'" for i in range(8))
    assert compare(tmp_path, f"controllers=[{many}]", "seeds=2", "trials=4") == 0
    by_trial, _, ends = figures[0].axes
    assert by_trial.get_yscale() == "linear"
    looks = {(line.get_color(), line.get_linestyle()) for line in by_trial.lines}
    assert len(looks) == 8, "no two controllers look alike"
    boxes = {(patch.get_edgecolor(), patch.get_linestyle()) for patch in ends.patches}
    assert len(boxes) == 8, "nor do their boxes, which stand in place of a legend"


def test_a_table_that_no_spec_is_in_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path)
    assert compare(tmp_path, "controllers=[random]", "seeds=2", "trials=8", "space.text='{}-{}-{}-{}'") == 2
    told = capsys.readouterr().err
    assert "found no score at all" in told
    assert "it has rows such as a|a|a|a" in told
