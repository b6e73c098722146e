"""Rows that a benchmark goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rows import add_row, keep_to, read_rows


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
