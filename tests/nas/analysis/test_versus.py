"""A winner beside its baselines: equal trainings, none of them made twice, and true numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.analysis import versus
from nas.analysis.settings import VersusConfig
from nas.analysis.versus import Done, describe_head, run_versus, summarize
from nas.analysis.versus_plan import NEAR, Plan, plan_versus
from nas.config import ConfigError
from nas.executors.job import JobResult
from nas.executors.local_executor import LocalExecutor
from nas.journal.history import History
from nas.plugins.faults import FaultError
from nas.reporting.charts import dot_rows
from nas.reporting.versus import Versus, read_versus, show_versus, show_versus_dots, versus_cells
from nas.utils.files import FolderInUseError, locked_folder
from proxy_tasks.adapted_task import adapt
from proxy_tasks.task import Score, TaskFailureError
from search_space import SCALES, R50FPNSpec, Spec, published_space, published_spec, spec_cost
from tests.nas.analysis.drawn import keep_figures

SPACE = published_space("spinenet-49")
WINNER = SPACE.decode(SPACE.sample(np.random.default_rng(5)))


@dataclass
class Sized:
    """Scores a spec by its seed alone, and knows what it costs."""

    fail: set[str] = field(default_factory=set)
    stop_after: int = 10**9
    trained: list[tuple[str, int]] = field(default_factory=list)

    def evaluate(self, spec: Spec, fidelity: float, seed: int, *_: object) -> Score:
        if len(self.trained) == self.stop_after:
            raise KeyboardInterrupt
        self.trained.append((spec.title, seed))
        if spec.title in self.fail:
            raise TaskFailureError("diverged", "the loss is nan", 3)
        better = 0.1 if spec == WINNER else 0.0
        return Score(0.3 + better + 0.01 * seed, {"AP50": float("nan"), "length": fidelity})

    def costs(self, spec: Spec) -> Mapping[str, float]:
        cost = spec_cost(spec, SCALES["proxy"], 128, "retinanet")
        return {"params": float(cost.params), "macs": float(cost.macs)}


def plan(task: Sized, **changes: Any) -> Plan:
    """What is trained; it follows from the costs alone, which all these tasks but one share."""
    if type(task) is Sized:
        return shared_plan(tuple(changes.items()))
    return plan_versus(WINNER, "a search", SPACE, adapt(task), VersusConfig(**changes))


@lru_cache
def shared_plan(changes: tuple[tuple[str, Any], ...]) -> Plan:
    return plan_versus(WINNER, "a search", SPACE, adapt(Sized()), VersusConfig(**dict(changes)))


def run(task: Sized, folder: Path, made: Plan) -> Versus:
    return run_versus(
        made,
        adapt(task),
        LocalExecutor(),
        folder,
        head=describe_head(made, adapt(task), {"_target_": "x"}),
        command="nas versus",
    )


def test_all_are_as_large_as_the_winner_where_that_can_be() -> None:
    task = Sized()
    made = plan(task)
    assert [entry.name for entry in made.entries] == ["winner", "spinenet-49", "r50-fpn", "random"]
    macs = task.costs(WINNER)["macs"]
    _, published, fitted, random = made.entries
    assert published.specs == (published_spec("spinenet-49"),) * 3
    assert isinstance(fitted.specs[0], R50FPNSpec)
    assert task.costs(fitted.specs[0])["macs"] == pytest.approx(macs, rel=NEAR)
    assert f"width {fitted.specs[0].width:g}, fitted" in fitted.about
    assert task.costs(R50FPNSpec())["macs"] > 3 * macs, "as published it would be no fair baseline"
    assert len(set(random.keys)) == 3
    for spec in random.specs:
        assert spec != WINNER
        assert task.costs(spec)["macs"] == pytest.approx(macs, rel=NEAR)
    assert made.notes == ()


def test_seeds_go_on_with_the_same_random_specs() -> None:
    few, many = plan(Sized()), plan(Sized(), seeds=5)
    assert many.entries[-1].keys[:3] == few.entries[-1].keys
    assert plan(Sized(), seed=2, seeds=1).entries[-1].keys == few.entries[-1].keys[2:]


def test_a_winner_that_is_spinenet_49_is_not_compared_with_itself(tmp_path: Path) -> None:
    spec = published_spec("spinenet-49")
    (tmp_path / "mine.json").write_text(WINNER.to_json())
    other = tmp_path / "other" / "mine.json"
    other.parent.mkdir()
    other.write_text(published_spec("r0-sp53").to_json())
    config = VersusConfig(against=("spinenet-49", str(tmp_path / "mine.json"), str(other)), seeds=1)
    made = plan_versus(spec, "published", SPACE, adapt(Sized()), config)
    assert [entry.name for entry in made.entries] == ["winner", "mine", "mine-2"]
    assert made.notes == ("spinenet-49 is the same network as winner and is left out",)


def test_a_task_without_costs_says_that_nothing_is_fitted() -> None:
    class Plain:
        def evaluate(self, spec: Spec) -> float:
            return 0.0

    made = plan_versus(WINNER, "", SPACE, adapt(Plain()), VersusConfig())
    assert made.entries[2].specs[0] == R50FPNSpec()
    assert made.notes == ("Plain does not report multiply-adds, so no network is fitted to the winner's",)


def test_random_specs_of_which_no_network_can_be_made_are_passed_over() -> None:
    class Picky(Sized):
        def costs(self, spec: Spec) -> Mapping[str, float]:
            if spec != WINNER and int(spec.key(), 16) % 2:
                raise ValueError("a connection is left without filters")
            return super().costs(spec)

    made = plan(Picky(), against=("random",))
    assert len(made.entries[1].keys) == 3
    assert all(int(key, 16) % 2 == 0 for key in made.entries[1].keys)


def test_a_fault_of_the_costs_is_told_as_the_tasks() -> None:
    class Broken(Sized):
        def costs(self, spec: Spec) -> Mapping[str, float]:
            return {"macs": dict[str, float]()["nothing"]}

    with pytest.raises(FaultError, match=r"KeyError in Broken\.costs"):
        plan(Broken(), against=("random",))


def test_a_winner_that_no_r50_fpn_can_be_as_small_as_is_told() -> None:
    class Tiny(Sized):
        def costs(self, spec: Spec) -> Mapping[str, float]:
            found = dict(super().costs(spec))
            return {**found, "macs": 1e5} if spec == WINNER else found

    made = plan(Tiny(), against=("r50-fpn",))
    assert made.entries[1].specs[0].width == 1 / 64
    assert "r50-fpn cannot be made as large as the winner: at width 0.015625 it has" in made.notes[0]
    assert "times the winner's multiply-adds" in made.entries[1].about


def test_a_space_without_the_winner_is_told() -> None:
    made = plan_versus(
        WINNER, "", published_space("r35-sp18"), adapt(Sized()), VersusConfig(against=("random",))
    )
    assert "random specs are from another space than the winner" in made.notes[-1]


def test_everything_is_trained_alike_and_compared(tmp_path: Path) -> None:
    task = Sized()
    made = plan(task, seed=4, fidelity=0.5)
    found = run(task, tmp_path / "out", made)
    assert [seed for _, seed in task.trained] == [4] * 4 + [5] * 4 + [6] * 4
    winner, *others = found.contenders
    assert winner.rewards == pytest.approx((0.44, 0.45, 0.46))
    assert (winner.gap, winner.gap_interval) == (None, None)
    assert winner.mean == pytest.approx(0.45)
    for other in others:
        assert other.gap == pytest.approx(-0.1)
        assert other.gap_interval is not None
        assert other.gap_interval[0] < -0.1 < other.gap_interval[1] < 0
        assert other.macs == pytest.approx(winner.macs, rel=0.3)
    data = json.loads((tmp_path / "out" / "versus.json").read_text(), parse_constant=pytest.fail)
    assert len(data["trainings"]) == 12
    assert data["trainings"][0]["metrics"] == {"AP50": None, "length": 0.5}
    assert data["command"] == "nas versus"
    assert (tmp_path / "out" / "versus.png").read_bytes().startswith(b"\x89PNG")
    specs = sorted(path.name for path in (tmp_path / "out" / "specs").iterdir())
    assert specs == [
        "r50-fpn.json",
        *(f"random-{i}.json" for i in (4, 5, 6)),
        "spinenet-49.json",
        "winner.json",
    ]


def test_what_is_done_is_not_repeated(tmp_path: Path) -> None:
    cut = Sized(stop_after=5)
    made = plan(cut)
    with pytest.raises(KeyboardInterrupt):
        run(cut, tmp_path / "out", made)
    rest = Sized()
    found = run(rest, tmp_path / "out", made)
    assert len(rest.trained) == 7
    assert [len(contender.rewards) for contender in found.contenders] == [3, 3, 3, 3]
    nothing = Sized()
    assert run(nothing, tmp_path / "out", made) == found
    assert nothing.trained == []
    more = Sized()
    run(more, tmp_path / "out", plan(more, seeds=4))
    assert len(more.trained) == 4, "one more seed of each"


def test_a_spec_that_two_entries_have_with_one_seed_is_trained_once(tmp_path: Path) -> None:
    made = plan(Sized(), against=("spinenet-49",))
    winner, published = made.entries
    specs = (winner.specs[0], *published.specs[1:])
    drawn = replace(published, name="random", specs=specs, keys=(winner.keys[0], *published.keys[1:]))
    task = Sized()
    found = run(task, tmp_path, replace(made, entries=(winner, drawn)))
    assert len(task.trained) == 5
    assert found.contenders[1].rewards == pytest.approx((0.4, 0.31, 0.32))


def test_a_result_that_was_cut_off_in_mid_line_is_trained_again(tmp_path: Path) -> None:
    task, made = Sized(), plan(Sized())
    run(task, tmp_path, made)
    log = tmp_path / "results.jsonl"
    log.write_bytes(log.read_bytes()[:-30])
    again = Sized()
    run(again, tmp_path, made)
    assert len(again.trained) == 1


def test_failures_are_told_and_tried_again(tmp_path: Path) -> None:
    task = Sized(fail={"R50-FPN"})
    made = plan(task)
    found = run(task, tmp_path, made)
    failed = found.contenders[2]
    assert (failed.rewards, failed.failed, failed.mean, failed.gap) == ((None,) * 3, 3, None, None)
    assert versus_cells(found)[2][-1] == "failed, failed, failed"
    data = json.loads((tmp_path / "versus.json").read_text())
    assert {t["message"] for t in data["trainings"] if t["name"] == "r50-fpn"} == {"the loss is nan (step 3)"}
    mended = Sized()
    found = run(mended, tmp_path, made)
    assert mended.trained == [("R50-FPN", seed) for seed in range(3)]
    assert found.contenders[2].failed == 0


class Unlucky(Sized):
    """The trainings of some titles, or of "winner", fail with some seeds."""

    def __init__(self, *failing: tuple[str, int]) -> None:
        super().__init__()
        self.failing = failing

    def evaluate(self, spec: Spec, fidelity: float, seed: int, *more: object) -> Score:
        if ("winner" if spec == WINNER else spec.title, seed) in self.failing:
            raise TaskFailureError("diverged", "the loss is nan")
        return super().evaluate(spec, fidelity, seed, *more)


def test_rewards_keep_the_order_of_the_seeds_whatever_fails(tmp_path: Path) -> None:
    made = plan(Sized(), against=("r50-fpn", "spinenet-49"))
    task = Unlucky(("R50-FPN", 0), ("winner", 2))
    found = run(task, tmp_path / "versus", made)
    winner, fitted, published = found.contenders
    assert winner.rewards == pytest.approx((0.4, 0.41, None))
    assert fitted.rewards == pytest.approx((None, 0.31, 0.32))
    assert versus_cells(found)[1][-1] == "failed, 0.3100, 0.3200"
    assert (fitted.failed, published.failed) == (1, 0)
    uneven = [note for note in found.notes if "different seeds" in note]
    assert [note.partition(" has scores with seeds ")[::2] for note in uneven] == [
        ("r50-fpn", "1, 2, and the winner with seeds 0, 1: the other trainings failed, so the two means are "
         "over different seeds"),
        ("spinenet-49", "0, 1, 2, and the winner with seeds 0, 1: the other trainings failed, so the two "
         "means are over different seeds"),
    ]  # fmt: skip
    assert read_versus(tmp_path) == found
    dots = show_versus_dots(tmp_path, History())
    assert dots is not None
    picture = str(dots.figures[0].picture)
    assert picture.count("h0") == 7
    assert " multiply-adds</text>" in picture


def test_a_winner_that_failed_has_no_line_in_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = keep_figures(monkeypatch, versus)
    made = plan(Sized(), against=("r50-fpn",), seeds=1)
    run(Unlucky(("winner", 0)), tmp_path / "failed", made)
    run(Unlucky(), tmp_path / "sound", made)
    lines = [figure.axes[0].lines for figure in figures]
    assert [len(found) for found in lines] == [2, 5], "a dot and a mean of each, and the winner's line"


def test_a_fault_of_the_machine_is_tried_again_at_once(tmp_path: Path) -> None:
    class Flaky(Sized):
        faults = 2

        def evaluate(self, spec: Spec, fidelity: float, seed: int, *more: object) -> Score:
            if self.faults:
                self.faults -= 1
                raise TaskFailureError("infrastructure", "the disk is full")
            return super().evaluate(spec, fidelity, seed, *more)

    found = run(Flaky(), tmp_path, plan(Sized(), seeds=1))
    assert [contender.failed for contender in found.contenders] == [0, 0, 0, 0]
    assert "one seed gives no intervals" in found.notes[-1]


def test_results_of_another_task_or_length_are_not_mixed_in(tmp_path: Path) -> None:
    task, made = Sized(), plan(Sized())
    run(task, tmp_path, made)
    with pytest.raises(ConfigError, match="holds another comparison: fidelity changed; give another folder"):
        run(task, tmp_path, plan(task, fidelity=2.0))
    other = describe_head(made, adapt(task), {"_target_": "y"})
    with pytest.raises(ConfigError, match="task changed"):
        run_versus(made, adapt(task), LocalExecutor(), tmp_path, head=other)


def test_two_at_a_time_in_one_folder_are_refused(tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    with locked_folder(tmp_path), pytest.raises(FolderInUseError):
        run(Sized(), tmp_path, plan(Sized()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with a result."""
    run(Sized(), tmp_path / "versus", plan(Sized()))
    return tmp_path


def test_a_report_shows_the_table_and_the_dots(folder: Path) -> None:
    table, dots = show_versus(folder, History()), show_versus_dots(folder, History())
    assert table is not None
    assert dots is not None
    assert "(3 seeds, fidelity 1)" in table.title
    assert [row[0] for row in table.rows[:4]] == ["winner", "spinenet-49", "r50-fpn", "random"]
    assert len(table.rows) == 4
    assert any("fitted to the winner's multiply-adds" in note for note in table.notes)
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert str(dots.figures[0].picture).count("h0") == 12
    assert show_versus(folder / "elsewhere", History()) is None
    assert show_versus_dots(folder / "elsewhere", History()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"contenders": 5},
        {"contenders": [{"name": 3}]},
        {"contenders": [{"name": "a", "rewards": ["high"]}]},
        {"contenders": [{"name": "a", "interval": [1]}]},
        {"contenders": [{"name": "a", "failed": -1}]},
        {"seeds": None},
        {"seeds": [1, 2]},
        {"metric": {}},
        {"fidelity": "1"},
        {"notes": [1]},
    ],
)
def test_a_damaged_result_is_told_in_the_report(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "versus" / "versus.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=r"versus\.json is damaged"):
        read_versus(folder)
    table = show_versus(folder, History())
    assert table is not None
    assert "versus.json is damaged" in table.rows[0][0]
    assert show_versus_dots(folder, History()) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 10_000, '{"contenders": []}'])
def test_a_file_that_is_no_result_is_damaged(folder: Path, text: str) -> None:
    (folder / "versus" / "versus.json").write_text(text)
    with pytest.raises(ValueError, match=r"versus\.json is damaged"):
        read_versus(folder)


def test_dots_of_one_value_and_of_huge_ones_have_a_place() -> None:
    for values in ([[0.5]], [[1e308, -1e308]], [[0.0], [0.0]]):
        picture = dot_rows(["<a>"] * len(values), values, [None] * len(values), "AP")
        assert "&lt;a&gt;" in picture
        assert "nan" not in picture
        assert "inf" not in picture


def test_the_time_of_a_training_is_that_of_those_with_a_score() -> None:
    made = plan(Sized())
    first, second, _ = made.trainings_of(made.entries[0])
    done: Done = {
        first: JobResult(0, 0, "completed", Score(0.5), seconds=100.0),
        second: JobResult(1, 0, "failed", failure="error", message="", seconds=2.0),
    }
    found = summarize(made, adapt(Sized()), done).contenders[0]
    assert (found.seconds, found.failed) == (100.0, 2)
