"""Rows of JSON in a file, to which a benchmark that was cut off adds what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Gives the rows of a file; none if it is missing."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def keep_to(folder: Path, images: Path | None) -> None:
    """Lets a folder hold rows of one set of images alone, which is noted there by its name.

    Args:
        folder: of the rows; it is made if it is missing.
        images: the set's folder; None for generated images.

    Raises:
        SystemExit: if it holds rows of another set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note, name = folder / "images.txt", "generated" if images is None else images.name
    if note.exists() and note.read_text(encoding="utf-8").strip() != name:
        raise SystemExit(
            f"{folder} holds rows of other images, {note.read_text().strip()}; give another folder"
        )
    note.write_text(f"{name}\n", encoding="utf-8")


def keep_to_table(path: Path, digest: str) -> None:
    """Lets a file hold rows of one table of trained detectors alone.

    Args:
        path: of rows that name their table as "table".
        digest: of the table that the next rows are of.

    Raises:
        SystemExit: if it holds rows of another table.
    """
    other = next((row["table"] for row in read_rows(path) if row["table"] != digest), None)
    if other is not None:
        raise SystemExit(f"{path} holds rows of the table {other}, not of {digest}; give another folder")


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Adds a row to a file."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
