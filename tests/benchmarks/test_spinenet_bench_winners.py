"""What real searches found, beside what the surrogate expects of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.spinenet_bench.winners import Winner, describe, deviation, read_winners
from proxy_tasks.spinenet_bench import read_trainings
from proxy_tasks.spinenet_bench.surrogate import read_surrogate
from search_space import published_space, published_spec
from tests.proxy_tasks.spinenet_bench.made_up import trainings, write_table

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def winner(scores: list[float]) -> Winner:
    return Winner(search="", genotype=trainings()[0].genotype, excess=0.0, scores=tuple(scores))


def test_own_deviations_and_those_of_seeds_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    own, expected = rng.normal(0.01, 0.02, 3000), rng.uniform(0.3, 0.5, 3000)
    scores = (expected + own)[:, None] + rng.normal(0, 0.03, (3000, 3))
    found = deviation([winner(row) for row in scores.tolist()], expected)
    assert found.difference == pytest.approx(0.01, abs=0.002)
    assert found.error == pytest.approx((0.02**2 + 0.03**2 / 3) ** 0.5 / 3000**0.5, rel=0.05)
    assert found.own == pytest.approx(0.02, rel=0.1)
    assert found.seeds == pytest.approx(0.03, rel=0.05)
    assert found.tau > 0.5


def test_where_means_deviate_less_than_seeds_make_them_nothing_is_their_own() -> None:
    alike = [winner([0.3, 0.5]), winner([0.5, 0.3]), winner([0.35, 0.45])]
    found = deviation(alike, np.full(3, 0.4))
    assert found.own == 0
    assert found.seeds == pytest.approx(((0.02 + 0.02 + 0.005) / 3) ** 0.5)


def test_both_kinds_of_searches_are_read(tmp_path: Path) -> None:
    """By genotype or by spec, and trainings by name or by design and seed; one training is too few."""
    space, spec = published_space("spinenet-49"), published_spec("spinenet-49")
    searches = [
        {"design": "a", "seed": 0, "excess": 1.0, "genotype": list(space.encode(spec))},
        {"design": "b", "seed": 0, "excess": 1.0, "spec": json.loads(spec.to_json())},
        {"design": "b", "seed": 1, "excess": 1.0, "spec": json.loads(spec.to_json())},
    ]
    runs = [
        *({"name": "search 0", "val": value, "AP": 0.0} for value in (0.1, 0.2)),
        *({"design": "b", "seed": 0, "val": value, "AP": 0.0} for value in (0.3, 0.4)),
        {"design": "b", "seed": 1, "val": 0.5, "AP": 0.0},
    ]
    for name, rows, kind in (("one", searches[:1], runs[:2]), ("two", searches[1:], runs[2:])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "searches.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "trainings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kind))
    found = [each for name in ("one", "two") for each in read_winners(tmp_path / name)]
    assert [each.search for each in found] == ["a, search 0", "b, search 0"]
    assert [each.scores for each in found] == [(0.1, 0.2), (0.3, 0.4)]
    assert found[0].genotype == found[1].genotype == space.encode(spec)


def test_the_stored_winners_are_described(tmp_path: Path) -> None:
    folder = write_table(tmp_path)
    surrogate = read_surrogate(read_trainings(folder / "trainings.parquet"), folder)
    folders = ("default-search", "real-searches/shapes")
    found = [each for name in folders for each in read_winners(RESULTS / name)]
    assert len(found) == 18
    text = describe(found, surrogate)
    assert "17 winners of excess 0" in text
    assert "| fifty, search 2 | 0 |" in text
