"""Rows that a benchmark goes on with."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import transfer
from benchmarks.real_searches import RANDOM, TABLE, missing
from benchmarks.rows import add_row, keep_to, keep_to_table, read_rows
from benchmarks.spinenet_bench.plan import space

RESULTS = Path(transfer.__file__).parent / "results"


def test_rows_are_added_and_read(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "rows.jsonl") == []
    for number in range(2):
        add_row(tmp_path / "rows.jsonl", {"number": number})
    assert read_rows(tmp_path / "rows.jsonl") == [{"number": 0}, {"number": 1}]


def test_rows_of_other_images_are_not_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "out"
    keep_to(out, tmp_path / "bccd")
    keep_to(out, tmp_path / "elsewhere" / "bccd")
    with pytest.raises(SystemExit, match="holds rows of other images, bccd; give another folder"):
        keep_to(out, None)
    with pytest.raises(SystemExit, match="holds rows of other images, bccd"):
        keep_to(out, tmp_path / "neu-det")
    assert str(tmp_path) not in (out / "images.txt").read_text(), "results are published"


def test_rows_of_another_table_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    keep_to_table(path, "a")
    add_row(path, {"table": "a", "AP": 0.5})
    keep_to_table(path, "a")
    with pytest.raises(SystemExit, match="holds rows of the table a, not of b; give another folder"):
        keep_to_table(path, "b")


def test_specs_that_another_table_has_chosen_are_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the 20 specs that the shipped table chooses, one is among those that an older one has chosen."""
    (tmp_path / "rows.jsonl").write_text((RESULTS / "transfer-neu-det" / "rows.jsonl").read_text())
    monkeypatch.setattr(sys, "argv", ["transfer", str(tmp_path / "images"), str(tmp_path), "--specs", "20"])
    monkeypatch.setattr(transfer, "get_context", None)
    with pytest.raises(SystemExit, match="holds rows of the table 06b19255e45b908ca20602d8020b0679, not of"):
        transfer.main()


@dataclass(frozen=True)
class Network:
    name: str

    def key(self) -> str:
        return self.name


def test_a_network_that_is_another_one_by_now_is_not_trained_further() -> None:
    old, new = Network("old"), Network("new")
    rows = [{"name": TABLE, "again": again, "key": "old"} for again in range(2)]
    assert missing({TABLE: [new] * 2}, rows) == [], "what is done stays"
    assert missing({TABLE: [old] * 3}, rows) == [(TABLE, 2, old)]
    with pytest.raises(SystemExit, match="training 0 was of the network old, and today it would be of new"):
        missing({TABLE: [new] * 3}, rows)
    # The random ones differ from each other, and only from the same one's rows they must not.
    rows = [{"name": RANDOM, "again": 0, "key": "old"}]
    assert missing({RANDOM: [old, new]}, rows) == [(RANDOM, 1, new)]
    assert missing({TABLE: [new] * 2, RANDOM: [old, new]}, rows) == [
        (TABLE, 0, new),
        (TABLE, 1, new),
        (RANDOM, 1, new),
    ]


def test_the_stored_rows_name_their_networks() -> None:
    for row in read_rows(RESULTS / "transfer-neu-det" / "rows.jsonl"):
        assert row["key"] == space().decode(tuple(row["genotype"])).key()
    for folder in sorted((RESULTS / "real-searches").iterdir()):
        trained = {row["name"]: row["key"] for row in read_rows(folder / "trainings.jsonl")}
        for row in read_rows(folder / "searches.jsonl"):
            assert trained[f"search {row['seed']}"] == space().decode(tuple(row["genotype"])).key()
