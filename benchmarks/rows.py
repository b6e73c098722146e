"""Rows of JSON in a file, to which a benchmark that was cut off adds what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Gives the rows of a file; none if it is missing."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Adds a row to a file."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
