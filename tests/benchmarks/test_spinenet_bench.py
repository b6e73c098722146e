"""The table of trained detectors: its plan, its rows, and that work goes on where it was cut off."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.spinenet_bench import plan as module
from benchmarks.spinenet_bench import recipe
from benchmarks.spinenet_bench import work as work_module
from benchmarks.spinenet_bench.__main__ import main as command
from benchmarks.spinenet_bench.plan import Item, Single, plan, space, spread, uniform_genotypes
from benchmarks.spinenet_bench.publish import as_trainings, relative_seconds
from benchmarks.spinenet_bench.publish import main as publish
from benchmarks.spinenet_bench.table import ROWS, Part, Row, RowsError, read_table
from benchmarks.spinenet_bench.task import MeasuredTraining, as_measured, as_score
from benchmarks.spinenet_bench.work import AsRecorded, Bench, forecast, work
from controllers import PredictorSearch, RandomSearch
from controllers.controller import AskTell
from controllers.evidence import REWARD, Evidence, LearnsFromEvidence, Length
from nas.executors.job import evaluation_seed
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig
from proxy_tasks.spinenet_bench import BenchError, SpineNetBenchTask, read_trainings
from proxy_tasks.spinenet_bench.trainings import RecordedTraining, write_trainings
from proxy_tasks.task import TaskFailureError
from proxy_tasks.training_task import TrainingTask
from search_space import Genotype, SpineNetSpec
from search_space.spinenet.excess import output_excess
from tests.nas.search.killing import forking

DIGEST, TEST_SHAPES = recipe.digest(), recipe.TEST_SHAPES

LENGTHS = (2, 4, 6)

FEW = ShapesConfig(train=1, val=3, size=64, seed=1)


def tiny_task(cache: Path) -> TrainingTask:
    """The recipe, small: networks of a few filters, on a few small images."""
    task = recipe.training_task(cache)
    return replace(
        task,
        scale=replace(task.scale, endpoints=16, head_filters=16, head_convs=1),
        train=replace(task.train, steps=6, batch=2, image_size=64, checkpoint_every=1),
        data=DetectionData(cache=cache, shapes=ShapesConfig(train=8, val=4, size=64)),
    )


def tiny_plan(rows: Sequence[Row], folder: Path) -> Iterable[Item]:
    """Two single trainings, and a search of two."""
    for number in range(2):
        make = partial(Single, uniform_genotypes()[number])
        yield Item(group="single", first=number, seed=number, make=make, lengths=LENGTHS)
    make_search = partial(RandomSearch, space(), 5)
    yield Item(group="search", first=0, count=2, seed=9, make=make_search, lengths=LENGTHS)


@pytest.fixture(autouse=True)
def few_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "TEST_SHAPES", FEW)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, list[str]]:
    """All work done, and what was told."""
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "TEST_SHAPES", FEW)
        bench = make_bench(tmp_path_factory.mktemp("done"))
        assert work(bench, told.append) == 3
    return bench, told


@pytest.fixture
def bench_of(tmp_path: Path) -> Callable[[str], Bench]:
    return lambda digest: replace(make_bench(tmp_path), digest=digest)


def make_bench(folder: Path) -> Bench:
    return Bench(
        rows=folder / "rows",
        work=folder / "work",
        digest="tiny",
        task=partial(tiny_task, folder / "cache"),
        plan=tiny_plan,
        planned=4,
        cost=4.0,
    )


def a_row(group: str, number: int, ap: float = 0.5, digest: str = "tiny", **changes: Any) -> Row:
    scores = {"560": {"val": {"AP": ap}, "test": {"AP": ap}, "loss": 1.0, "seconds": 100.0}}
    about: dict[str, Any] = {"key": f"{group}{number}", "genotype": (number,), "seed": number, "failure": ""}
    about |= {"scores": scores, "seconds": 100.0, "machine": "m"} | changes
    return Row(digest=digest, group=group, number=number, **about)


def without_times(rows: Iterable[Row]) -> dict[tuple[str, int], Any]:
    """What does not depend on the machine's mood."""
    return {
        row.place: (
            row.key,
            row.genotype,
            row.seed,
            row.failure,
            {
                length: {name: value for name, value in parts.items() if name != "seconds"}
                for length, parts in row.scores.items()
            },
        )
        for row in rows
    }


def test_every_training_has_a_row_with_all_its_scores(done: tuple[Bench, list[str]]) -> None:
    bench, told = done
    rows = read_table("tiny", bench.rows)
    assert {row.place for row in rows} == {("single", 0), ("single", 1), ("search", 0), ("search", 1)}
    for row in rows:
        assert list(row.scores) == ["2", "4", "6"]
        for scores in row.scores.values():
            assert scores["val"]["AP"] >= 0
            assert scores["test"]["AP"] >= 0
            assert {"loss", "loss_25", "loss_50", "seconds"} < scores.keys()
        assert row.seconds > 0
        assert space().decode(row.genotype).key() == row.key
    assert len({row.seed for row in rows}) == 4
    assert told[-1].endswith("0 trainings are left, about 0 core-hours")
    assert not list(bench.work.rglob("journal.db")), "what is done leaves nothing"
    assert work(bench, told.append) == 0, "there is nothing left"


def test_a_lost_folder_of_work_costs_only_what_has_no_row(
    done: tuple[Bench, list[str]], tmp_path: Path
) -> None:
    rows, bench = read_table("tiny", done[0].rows), make_bench(tmp_path)
    part = Part(bench.rows)
    for row in rows:
        if row.place != ("search", 1):
            part.write(replace(row, machine="known"))
    told: list[str] = []
    assert work(bench, told.append) == 1
    assert len(told) == 1, "the search's first trial was not trained again"
    again = read_table("tiny", bench.rows)
    assert without_times(again) == without_times(rows)
    assert sorted(row.machine == "known" for row in again) == [False, True, True, True]


def do_work(folder: Path) -> None:
    recipe.TEST_SHAPES = FEW
    work_module.WAIT_SECONDS = 0.1
    work(make_bench(folder), lambda _: None)


@pytest.mark.slow
def test_two_processes_that_are_killed_and_begun_again_make_the_same_table(
    done: tuple[Bench, list[str]], tmp_path: Path
) -> None:
    bench = make_bench(tmp_path)
    for killed_at in ("training.pt", "scores.json", None):
        processes = [forking().Process(target=do_work, args=(tmp_path,)) for _ in range(2)]
        for process in processes:
            process.start()
        while killed_at is not None and not list(bench.work.rglob(killed_at)):
            assert any(process.is_alive() for process in processes), f"they ended before {killed_at}"
            time.sleep(0.01)
        for process in processes:
            if killed_at is not None:
                process.kill()
            process.join()
    assert without_times(read_table("tiny", bench.rows)) == without_times(read_table("tiny", done[0].rows))
    lines = [line for path in bench.rows.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(lines) == 4, "no training was done twice"


def test_what_another_recipe_has_begun_is_not_gone_on_with(bench_of: Callable[[str], Bench]) -> None:
    first, other = bench_of("first"), bench_of("other")
    item = next(iter(tiny_plan([], first.rows)))
    assert first.folder(item) != other.folder(item)


def test_a_row_that_cannot_be_written_stops_the_search_and_is_written_by_the_next(
    done: tuple[Bench, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, told, write = make_bench(tmp_path), list[str](), Part.write
    rows = read_table("tiny", done[0].rows)
    part = Part(bench.rows)
    for row in rows:
        if row.group == "single":
            part.write(row)

    def full(self: Part, row: Row) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write('{"digest": "ti')
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Part, "write", full)
    assert work(bench, told.append) == 0
    assert told[-1].endswith("No space left on device")
    monkeypatch.setattr(Part, "write", write)
    assert work(bench, told.append) == 1
    assert without_times(read_table("tiny", bench.rows)) == without_times(rows)


def test_a_part_goes_on_in_another_file_after_a_line_that_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part(tmp_path)
    part.write(a_row("uniform", 0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(OSError, match="full"):
            part.write(a_row("uniform", 1))
    part.write(a_row("uniform", 2))
    assert len(list(tmp_path.iterdir())) == 2
    assert {row.number for row in read_table("tiny", tmp_path)} >= {0, 2}


@pytest.mark.parametrize(("kind", "kept"), [("diverged", True), ("error", False), ("infrastructure", False)])
def test_only_failures_of_the_spec_are_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, kept: bool
) -> None:
    def fail(*_: object) -> None:
        raise TaskFailureError(kind, "it fails")  # type: ignore[arg-type]

    monkeypatch.setattr(MeasuredTraining, "_measure", fail)
    monkeypatch.setattr(MeasuredTraining, "setup", lambda *_: None)
    monkeypatch.setattr(MeasuredTraining, "open", lambda *_: None)
    bench, told = make_bench(tmp_path), list[str]()
    assert work(bench, told.append) == (3 if kept else 0)
    assert {row.failure for row in read_table("tiny", bench.rows)} == ({kind} if kept else set())
    if not kept:
        assert told == [f"{name}: it fails" for name in ("single-0", "single-1", "search-0")]


def test_rows_of_another_recipe_are_refused(tmp_path: Path) -> None:
    part = Part(tmp_path)
    part.write(a_row("uniform", 0))
    part.write(a_row("uniform", 1, digest="other"))
    with pytest.raises(RowsError, match=r"\.jsonl: uniform 1 has recipe other, not tiny"):
        read_table("tiny", tmp_path)


def test_a_line_that_was_cut_off_is_no_row_and_damage_is_told(tmp_path: Path) -> None:
    part = Part(tmp_path)
    part.write(a_row("uniform", 0))
    part.path.write_text(part.path.read_text() + '{"digest": "tiny", "gro')
    assert [row.number for row in read_table("tiny", tmp_path)] == [0]
    part.path.write_text('{"digest": "tiny"}\n')
    with pytest.raises(RowsError, match="line 1: "):
        read_table("tiny", tmp_path)


def test_the_first_row_of_a_training_counts(tmp_path: Path) -> None:
    for name, ap in (("b", 0.25), ("a", 0.75)):
        part = Part(tmp_path)
        part.path = tmp_path / f"{name}.jsonl"
        part.write(a_row("uniform", 0, ap))
    assert [row.ap(560) for row in read_table("tiny", tmp_path)] == [0.75]


def test_scores_are_written_as_metrics_and_read_back() -> None:
    scores = a_row("uniform", 0).scores
    score = as_score(scores, 560)
    assert score.reward == 0.5
    assert score.metrics["560/val/AP"] == 0.5
    assert as_measured(score.metrics) == scores


class TestPlan:
    def test_it_begins_with_random_specs_searches_and_specs_of_excess_0(self, tmp_path: Path) -> None:
        items = list(plan([], tmp_path))
        searches = ["predictor", "evolution", "local"]
        assert [item.group for item in items] == (
            ["uniform"] * 200 + searches + ["excess-0"] * 200 + ["uniform"] * 200
        )
        assert len({item.seed for item in items}) == 603
        assert len({place for item in items for place in item.places}) == 600 + 3 * 40
        for item in items[203:223]:
            spec = space().decode(item.make().ask().genotype)
            assert isinstance(spec, SpineNetSpec)
            assert not any(output_excess(spec).values())

    def test_it_is_the_same_every_time(self, tmp_path: Path) -> None:
        first, second = (
            [(item.name, item.seed, item.make().ask().genotype) for item in plan([], tmp_path)]
            for _ in range(2)
        )
        assert first == second
        assert [item.seed for item in list(plan([], tmp_path))[:3]] == [1965928123, 637122259, 122606278]

    @pytest.fixture
    def begun(self) -> list[Row]:
        """The first two groups, with scores."""
        rng = np.random.default_rng(0)
        groups = {"uniform": module.uniform_genotypes()[:400], "excess-0": module.excess_0_genotypes()}
        return [
            a_row(group, i, float(rng.random()), genotype=genotype)
            for group, genotypes in groups.items()
            for i, genotype in enumerate(genotypes)
        ]

    def test_what_follows_is_chosen_by_scores_once(self, begun: list[Row], tmp_path: Path) -> None:
        items = list(plan(begun, tmp_path))
        counts = {
            group: sum(item.count for item in items if item.group == group)
            for group in ("uniform", "excess-0", "seeds", "local", "evolution", "predictor", "chains", "long")
        }
        assert counts == {
            "uniform": 1000,
            "excess-0": 200,
            "seeds": 160,
            "local": 40,
            "evolution": 40,
            "predictor": 40,
            "chains": 80,
            "long": 120,
        }
        assert len({item.name for item in items}) == len(items)
        chosen = json.loads((tmp_path / "selections.json").read_text())
        assert [len(chosen[group]) for group in ("seeds", "long")] == [40, 60]
        changed = [replace(row, scores=a_row("", 0, 1 - row.ap(560)).scores) for row in begun]
        again = list(plan(changed, tmp_path))
        assert [item.make().ask().genotype for item in again[603:763]] == [
            item.make().ask().genotype for item in items[603:763]
        ], "later scores change nothing"

    def test_a_chain_begins_with_a_spec_of_several_seeds(self, begun: list[Row], tmp_path: Path) -> None:
        items = list(plan(begun, tmp_path))
        starts = module.chain_starts(module.read_selections(tmp_path)["seeds"])
        repeated = [item.make().ask().genotype for item in items if item.group == "seeds"]
        chains = [item.make().ask().genotype for item in items if item.group == "chains"]
        assert len(starts) == module.CHAINS
        assert set(starts) <= set(repeated)
        for start, first in zip(starts, chains[:: module.EDITS], strict=True):
            assert first in set(space().neighbors(start))

    def test_chains_change_one_thing_at_a_time(self, begun: list[Row], tmp_path: Path) -> None:
        genotypes = [item.make().ask().genotype for item in plan(begun, tmp_path) if item.group == "chains"]
        for start in range(0, len(genotypes), module.EDITS):
            for before, after in zip(genotypes[start:], genotypes[start + 1 : start + 4], strict=False):
                assert after in set(space().neighbors(before))
        assert len(set(genotypes)) > 75

    def test_without_all_scores_nothing_is_chosen(self, begun: list[Row], tmp_path: Path) -> None:
        assert len(list(plan(begun[1:], tmp_path))) == 603
        assert not (tmp_path / "selections.json").exists()

    def test_long_trainings_are_measured_on_their_way_too(self, begun: list[Row], tmp_path: Path) -> None:
        item = next(item for item in plan(begun, tmp_path) if item.group == "long")
        assert item.lengths == (70, 140, 280, 560, 1120, 2240)
        assert item.cost == 4


def test_a_search_on_another_machine_goes_on_from_what_was_trained() -> None:
    """Of the 14 rows that are there, the last three differ from what this machine would propose."""

    def run(controller: AskTell, count: int) -> list[Genotype]:
        found = []
        for number in range(count):
            proposal = controller.ask()
            found.append(proposal.genotype)
            assert proposal.number == number
            evidence = Evidence(length=Length(1.0), metrics={REWARD: hash(proposal.genotype) % 97 / 97})
            assert isinstance(controller, LearnsFromEvidence)
            controller.learn_evidence(proposal, evidence)
            controller.tell(proposal, hash(proposal.genotype) % 97 / 97)
        return found

    before = run(PredictorSearch(space(), 3), 14)
    rows = dict(enumerate([*before[:11], *uniform_genotypes()[:3]]))
    again = run(AsRecorded(PredictorSearch(space(), 3), rows), 16)
    assert again[:14] == list(rows.values())
    assert len(set(again)) == 16
    assert run(AsRecorded(PredictorSearch(space(), 3), {}), 14) == before


def test_a_spread_has_the_best_and_the_worst() -> None:
    rows = [a_row("uniform", i, ap) for i, ap in enumerate((0.3, 0.1, 0.5, 0.2, 0.4))]
    assert [row.ap(560) for row in spread(rows, 3)] == [0.1, 0.3, 0.5]


def test_the_forecast_follows_the_latest_rows(tmp_path: Path) -> None:
    items = list(plan([], tmp_path))
    rows = [a_row("uniform", i) for i in range(40)]
    assert forecast(rows, items) == "680 trainings are left, about 19 core-hours"
    assert forecast([], items) == "720 trainings are left, about 50 core-hours"


def test_the_forecast_tells_what_scores_have_not_chosen_yet(tmp_path: Path) -> None:
    bench = Bench(rows=tmp_path, work=tmp_path, digest=DIGEST, task=partial(tiny_task, tmp_path))
    missing, later = bench.missing([])
    assert sum(item.count for item in missing) + later.count == module.PLANNED
    # 160 with other seeds, 80 of chains and 600 random ones cost 1, and 120 cost four times as much.
    assert later.cost == 160 + 80 + 600 + 4 * 120
    assert forecast([a_row("uniform", 0)], missing, later) == (
        "719 trainings are left, about 20 core-hours; "
        "960 more follow once scores have chosen specs, about 37 core-hours"
    )


def test_the_rows_that_are_there_are_of_this_recipe_and_plan(tmp_path: Path) -> None:
    """Whatever changes the recipe makes them void: the recipe is frozen."""
    rows = read_table(DIGEST, ROWS)
    assert all(space().decode(row.genotype).key() == row.key for row in rows[:20])
    uniform = [row for row in rows if row.group == "uniform"]
    assert len(uniform) > 100
    assert all(row.genotype == uniform_genotypes()[row.number] for row in uniform)
    items = {(item.group, item.first): item for item in plan([], tmp_path)}
    assert all(row.seed == evaluation_seed(items[row.place].seed, 0) for row in uniform[:20])


def test_a_training_is_what_it_was_when_the_rows_were_made(tmp_path: Path) -> None:
    """If this fails, seeds give other scores than those of the table: see `recipe.ENGINE`."""
    task, losses = tiny_task(tmp_path), []
    torch.set_num_threads(1)
    # At higher rates, what machines add up in another order grows from step to step.
    task = replace(task, train=replace(task.train, learning_rate=1e-5))
    task.fit(
        space().decode(uniform_genotypes()[0]),
        1.0,
        3,
        lambda *_: None,
        None,
        on_step=lambda _step, loss, _rate: losses.append(loss),
    )
    assert losses[0] == pytest.approx(ENGINE_LOSSES[0], rel=1e-4)
    assert losses == pytest.approx(ENGINE_LOSSES, rel=3e-4)


ENGINE_LOSSES = [1.46309, 1.39294, 1.40435, 1.37963, 1.38317, 1.39916]
"""Losses of the first steps, of engine 1."""


@pytest.mark.slow
def test_the_command_says_what_is_left_and_works_at_the_lowest_priority(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--rows", str(tmp_path / "rows"), "--work", str(tmp_path / "work")]
    monkeypatch.setattr(recipe, "TEST_SHAPES", TEST_SHAPES)
    monkeypatch.setattr(sys, "argv", ["spinenet_bench", *words, "--status"])
    command()
    shown = capsys.readouterr().out
    assert f"recipe {DIGEST}: {{}}; 720 trainings are left, about 50 core-hours" in shown
    assert not (tmp_path / "rows").exists()
    program, root = [sys.executable, "-m", "benchmarks.spinenet_bench"], Path(__file__).parents[2]
    with subprocess.Popen([*program, *words, "--workers", "1"], cwd=root) as process:
        while process.poll() is None and not list((tmp_path / "work").rglob("journal.db")):
            time.sleep(0.05)
        assert process.poll() is None
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
        process.send_signal(signal.SIGINT)
        assert process.wait(240) == 0


def measured(ap: float, seconds: float, lengths: Sequence[int] = recipe.LENGTHS) -> dict[str, Any]:
    """What a row holds, when AP grows with the length and each length takes as long."""
    return {
        str(length): {
            **{part: {"AP": ap * length / 560, "APs": ap / 2} for part in ("val", "test")},
            "loss": 1.0,
            "loss_25": 2.0,
            "loss_50": 1.5,
            "seconds": seconds / 4,
        }
        for length in lengths
    }


def test_seconds_do_not_depend_on_the_machine_but_on_the_network() -> None:
    """The second part ran on a machine three times slower, and had networks of twice the multiply-adds."""
    rng = np.random.default_rng(0)
    macs = {"a": rng.uniform(1, 2, 20), "b": 2 * rng.uniform(1, 2, 30), "c": np.array([1.5])}
    true = {name: values**0.8 * np.exp(0.05 * rng.normal(size=len(values))) for name, values in macs.items()}
    speed = {"a": 70.0, "b": 210.0, "c": 100.0}
    found = relative_seconds(
        {name: list(zip(speed[name] * true[name], macs[name], strict=True)) for name in macs} | {"d": []}
    )
    assert found["d"] == []
    logs = np.log(np.concatenate([found[name] for name in macs]))
    expected = np.log(np.concatenate([true[name] for name in macs]))
    assert abs(logs.mean()) < 1e-9
    assert np.abs(logs - (expected - expected.mean())).max() < 0.15
    assert np.corrcoef(logs, expected)[0, 1] > 0.95
    assert relative_seconds({}) == {}


def test_rows_become_trainings() -> None:
    genotypes = uniform_genotypes()[:6]

    def row(number: int, seconds: float, **changes: Any) -> Row:
        spec = space().decode(genotypes[number])
        about: dict[str, Any] = {"scores": measured(0.1 * number, seconds), "key": space().key(spec)}
        return a_row("uniform", number, **{**about, "genotype": genotypes[number], **changes})

    rows = [row(number, 100.0 + number) for number in range(5)]
    failed = row(5, 1.0, scores={}, failure="diverged")
    found = as_trainings({"a": [*reversed(rows[:3]), failed], "b": rows[3:], "c": []})
    assert [training.number for training in found] == [0, 1, 2, 3, 4]
    assert found[2].curve("val") == pytest.approx([0.2 * n / 560 for n in recipe.LENGTHS])
    assert found[2].scores["test_APs_70"] == pytest.approx(0.1)
    assert found[2].scores["loss_25_280"] == 2.0
    spec = space().decode(genotypes[2])
    assert isinstance(spec, SpineNetSpec)
    assert found[2].scores["excess"] == sum(output_excess(spec).values())
    assert found[2].scores["macs"] > 1e7
    assert not any(name.startswith("seconds") for name in found[2].scores)


def test_rows_of_every_group_become_columns(tmp_path: Path) -> None:
    """Chains name their start, long trainings have two more lengths, and each says where it was trained."""
    genotypes = uniform_genotypes()[:6]
    keys = [space().key(space().decode(genotype)) for genotype in genotypes]

    def row(group: str, number: int, lengths: Sequence[int] = recipe.LENGTHS) -> Row:
        place = number % len(genotypes)
        about: dict[str, Any] = {"scores": measured(0.1, 100.0, lengths), "key": keys[place]}
        return a_row(group, number, genotype=genotypes[place], machine=f"of {group}", **about)

    def columns(trainings: Sequence[RecordedTraining]) -> list[str]:
        write_trainings(trainings, tmp_path / "table.parquet")
        return list(pq.read_schema(tmp_path / "table.parquet").names)

    uniform = [row("uniform", number) for number in range(3)]
    chains = [row("chains", number) for number in (0, 3, 4)]
    before = columns(as_trainings({"a": uniform}))
    assert {"start", "edits"}.isdisjoint(before)
    assert not [name for name in before if name.endswith(("_1120", "_2240"))]
    found = as_trainings({"a": [*uniform, *chains, row("long", 5, recipe.LONG_LENGTHS)]}, keys[:2])
    new = set(columns(found)) - set(before)
    assert {"start", "edits", "val_AP_1120", "test_APs_2240", "loss_25_2240"} <= new
    assert all(name.endswith(("_1120", "_2240")) for name in new - {"start", "edits"})
    again = {(t.group, t.number): t for t in read_trainings(tmp_path / "table.parquet")}
    told = [(again["chains", n].start, again["chains", n].scores["edits"]) for n in (0, 3, 4)]
    assert told == [(keys[0], 1), (keys[0], 4), (keys[1], 1)]
    assert again["uniform", 0].start == ""
    assert np.isnan(again["uniform", 0].scores["val_AP_2240"])
    assert again["long", 5].scores["val_AP_2240"] == pytest.approx(0.4)
    assert {training.machine for training in again.values()} == {"of uniform", "of chains", "of long"}
    assert {training.scores["core_seconds"] for training in again.values()} == {100.0}
    table = pq.read_table(tmp_path / "table.parquet")
    numbers = pa.array(range(table.num_rows))
    pq.write_table(table.drop(["machine"]).append_column("machine", numbers), tmp_path / "table.parquet")
    with pytest.raises(BenchError, match="chains 0: machine must be a text, not 0"):
        read_trainings(tmp_path / "table.parquet")
    with pytest.raises(RowsError, match=r"chains 4: selections\.json does not say with which spec"):
        as_trainings({"a": chains}, keys[:1])


def test_rows_become_files_from_which_the_task_gives_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    genotypes = uniform_genotypes()[:12]
    part = Part(tmp_path / "rows")
    for number, genotype in enumerate(genotypes):
        about: dict[str, Any] = {
            "scores": measured(0.3 + 0.01 * number, 100.0),
            "key": space().key(space().decode(genotype)),
        }
        part.write(a_row("uniform", number, digest=DIGEST, genotype=genotype, **about))
    words = ["publish", "--rows", str(tmp_path / "rows"), "--out", str(tmp_path / "data")]
    monkeypatch.setattr(recipe, "TEST_SHAPES", TEST_SHAPES)
    monkeypatch.setattr(sys, "argv", words)
    publish()
    assert capsys.readouterr().out.startswith("12 trainings of 560 steps, 12 specs: ")
    task = SpineNetBenchTask(folder=tmp_path / "data", noise="mean")
    task.check()
    exact = replace(task, exact=True)
    known = exact.evaluate(space().decode(genotypes[7]), 1.0, 0, lambda *_: None)
    assert known.reward == pytest.approx(0.37)
    other = task.evaluate(space().decode(uniform_genotypes()[50]), 1.0, 0, lambda *_: None)
    assert 0.2 < other.reward < 0.55


def test_without_rows_nothing_is_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["publish", "--rows", str(tmp_path), "--out", str(tmp_path / "data")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="2"):
        publish()
    assert capsys.readouterr().err.endswith("has no rows yet\n")
    assert not (tmp_path / "data").exists()
