"""A table of scores as a task: what was measured once answers any number of searches in seconds.

A row names a spec (column "spec") and gives numbers. A spec of SpineNet is named by its key, any other one by
its parts joined with "|". Files are CSV with a header, or JSON: a list of objects.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy_tasks.task import Score, TaskFailureError
from search_space import SpineNetSpec, spec_key

NAME = "spec"


class TableError(ValueError):
    """A table that cannot be used: says which file, row and column."""


@dataclass(frozen=True)
class TableTask:
    """Looks scores up.

    Args:
        path: of the table, .csv or .json.
        reward: column that is maximised. A column "seconds" is the time that the virtual clock lets pass.
        sign: -1 if the column is an error, to be minimised.

    Raises:
        TableError: if the file cannot be read, or lacks a column, or a cell is no finite number.
    """

    path: str
    reward: str = "reward"
    sign: float = 1.0
    _rows: Mapping[str, Mapping[str, float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", read_table(Path(self.path), self.reward))

    def evaluate(self, spec: Any) -> Score:
        """The spec's row as a score; all its numbers are metrics.

        Raises:
            TaskFailureError: if the table has no such row.
        """
        name = spec_key(spec) if isinstance(spec, SpineNetSpec) else "|".join(map(str, spec))
        row = self._rows.get(name)
        if row is None:
            raise TaskFailureError("invalid", f"{self.path} has no row {name}")
        return Score(self.sign * row[self.reward], row)


def read_table(path: Path, reward: str) -> dict[str, dict[str, float]]:
    """Numbers by spec and column; empty cells are left out, columns that hold text too.

    Raises:
        TableError: see `TableTask`.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TableError(f"{path}: no text file; .csv or .json is wanted") from None
    entries = _json(path, text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
    if not entries:
        raise TableError(f"{path}: no rows")
    rows: dict[str, dict[str, float]] = {}
    for number, entry in enumerate(entries, 1):
        for wanted in (NAME, reward):
            if entry.get(wanted) in (None, ""):
                there = ", ".join(str(key) for key in entries[0])
                raise TableError(f"{path}, row {number}: no {wanted!r}; the columns are {there}")
        numbers = {str(key): value for key, cell in entry.items() if (value := _number(cell)) is not None}
        if reward not in numbers:
            raise TableError(f"{path}, row {number}: {reward} is no finite number: {entry[reward]!r}")
        name = str(entry[NAME])
        if name in rows:
            raise TableError(f"{path}, row {number}: {name} is there twice")
        rows[name] = numbers
    return rows


def _json(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise TableError(f"{path}: no JSON: {error}") from None
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise TableError(f"{path}: a list of objects is wanted, each a row")
    return data


def _number(cell: Any) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
