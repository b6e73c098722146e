"""A table of scores as a task: what was measured once answers any number of searches in seconds.

A row names a spec and gives numbers. Files are CSV with a header, or JSON: a list of objects, or one object
of names to numbers or to objects; either may be compressed (.gz). The column that names is the one that was
said, or the first of `NAMES` that is there: the key that the space gives a spec (what a spec's `key()` gives,
or for independent choices the labels joined with "|", or without a separator if all options of a decision are
equally long), or, if it is called `genotype`, ints. Rows of one spec are measurements of it, of several seeds
for instance: they count with their mean, or one of them is drawn.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from proxy_tasks.task import Score, TaskFailureError
from search_space import ChoiceSpace, Space
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import ParseError, explain, read_bounded, reading, shorten, shown
from search_space.utils.paths import make_paths_absolute

MAX_BYTES = 256 << 20
"""Size of a table; that of NAS-Bench-101 with all its 423,624 rows has less."""

SHOWN_COLUMNS = 20

EXPECTED = "expected_reward"
"""Metric of a score that was drawn: the mean of what might have been drawn."""

NAMES = ("spec", "key", "arch", "architecture", "arch_str", "genotype")


class TableError(ValueError):
    """A table that cannot be used: says which file, row and column."""


@dataclass(frozen=True)
class TableTask:
    """Looks scores up.

    Args:
        path: of the table, .csv or .json; it becomes absolute.
        reward: column that is maximized.
        sign: -1 if the column is an error, to be minimized.
        seconds: column of the time that the virtual clock lets pass, where there is one.
        name: column that names the spec; None for the first of `NAMES` that is there.
        space: gives specs their keys, and is needed where rows are named by genotypes.
        noise: what a spec with several rows scores: "mean" for their mean, "draw" for one of them, which
            follows from the seed of the evaluation, as if the spec had been trained anew.

    Raises:
        TableError: if the file cannot be read, or lacks a column, or a cell is no finite number, or a
            genotype is none of the space.
    """

    path: str | Path
    reward: str = "reward"
    sign: float = 1.0
    seconds: str = "seconds"
    name: str | None = None
    space: Space | None = None
    noise: Literal["mean", "draw"] = "mean"
    _rows: Mapping[str, Sequence[Mapping[str, float]]] = field(init=False, repr=False, compare=False)
    _means: Mapping[str, Mapping[str, float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        make_paths_absolute(self)
        if self.noise not in ("mean", "draw"):
            raise TableError(f"task.noise must be mean or draw, not {self.noise!r}")
        object.__setattr__(self, "_rows", read_table(Path(self.path), self.reward, self.name, self.space))
        with reading(TableError, f"{self.path}: "):
            means = {key: _mean_row(rows) for key, rows in self._rows.items()}
        object.__setattr__(self, "_means", means)

    @cached_property
    def digest(self) -> str:
        """Identifies what the table says. A large table takes a moment."""
        return hashlib.blake2b(repr(self._rows).encode(), digest_size=16).hexdigest()

    def evaluate(self, spec: Any, seed: int = 0) -> Score:
        """The spec's row as a score; all its numbers are metrics.

        Raises:
            TaskFailureError: if the table has no such row.
        """
        if self.space is not None:
            name = self.space.key(spec)
        elif isinstance(spec, str):
            name = spec
        else:
            name = "|".join(map(str, spec)) if isinstance(spec, Sequence) else spec.key()
        key = name.replace("|", "") if name not in self._rows and self._may_join else name
        rows = self._rows.get(key)
        if rows is None:
            such = next(iter(self._rows))
            raise TaskFailureError("invalid", f"{self.path} has no row {name}; it has rows such as {such}")
        if self.noise == "mean":
            return self._score(self._means[key])
        digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
        drawn = self._score(rows[int.from_bytes(digest) % len(rows)])
        return Score(drawn.reward, {**drawn.metrics, EXPECTED: self._score(self._means[key]).reward})

    @cached_property
    def _may_join(self) -> bool:
        """Whether a key without separators still says which spec it is: a decision's labels are as long."""
        if not isinstance(self.space, ChoiceSpace):
            return False
        return all(len({len(label) for label in labels}) == 1 for _, labels in self.space.choices)

    def scores(self) -> Iterator[Score]:
        """Gives the scores of all specs, means of their rows."""
        return map(self._score, self._means.values())

    def _score(self, row: Mapping[str, float]) -> Score:
        metrics = dict(row)
        if self.seconds in row:
            metrics["seconds"] = row[self.seconds]
        return Score(self.sign * row[self.reward], metrics)


def read_table(
    path: Path, reward: str, name: str | None = None, space: Space | None = None
) -> dict[str, list[dict[str, float]]]:
    """Rows by spec, each with its numbers by column; empty cells are left out, columns that hold text too.

    Raises:
        TableError: see `TableTask`.
    """
    with reading(TableError, f"{path}: "):
        return _read_table(path, reward, name, space)


def _read_table(
    path: Path, reward: str, name: str | None, space: Space | None
) -> dict[str, list[dict[str, float]]]:
    packed = path.suffix.lower() == ".gz"
    text = read_bounded(path, MAX_BYTES, unpack=packed)
    ending = path.with_suffix("").suffix if packed else path.suffix
    entries = _json(path, text, reward) if ending.lower() == ".json" else _csv(path, text)
    if not entries:
        raise TableError(f"{path}: no rows")
    there = _listed(entries[0])
    column = name or next((known for known in NAMES if known in entries[0]), None)
    if column is None:
        raise TableError(
            f"{path}: no column is called {', '.join(NAMES[:-1])} or {NAMES[-1]}; say which one names "
            f"the spec with task.name=COLUMN; the columns are {there}"
        )
    rows: dict[str, list[dict[str, float]]] = {}
    for number, entry in enumerate(entries, 1):
        for wanted in (column, reward):
            if entry.get(wanted) in (None, ""):
                raise TableError(f"{path}, row {number}: no {wanted!r}; the columns are {there}")
        numbers = {str(key): value for key, cell in entry.items() if (value := _number(cell)) is not None}
        if reward not in numbers:
            raise TableError(f"{path}, row {number}: {reward} is no finite number: {shown(entry[reward])}")
        cell = entry[column]
        if column != "genotype" and isinstance(cell, (list, dict)):
            raise TableError(f"{path}, row {number}: {column} must be a text, not {shown(cell)}")
        key = _key(f"{path}, row {number}", cell, space) if column == "genotype" else str(cell).strip()
        rows.setdefault(key, []).append(numbers)
    return rows


def _listed(names: Iterable[object]) -> str:
    text = ", ".join(str(name)[:40] for name in islice(names, SHOWN_COLUMNS + 1))
    return shorten(text, 400)


def _mean_row(found: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Gives the means of several measurements of one spec."""
    if len(found) == 1:
        return found[0]
    shared = set.intersection(*map(set, found))
    return {name: fmean(row[name] for row in found) for name in found[0] if name in shared}


def _key(where: str, cell: Any, space: Space | None) -> str:
    """Gives the key of a genotype, which is a list or a text such as "(0, 3, 1)" or "0 3 1"."""
    if space is None:
        raise TableError(f"{where}: genotypes are of a space; give the task its space")
    try:
        parts = cell if isinstance(cell, list) else re.findall(r"(?<![\d.])-?[\d.]+", cell)
        if isinstance(cell, list) and any(type(part) is not int for part in cell):
            raise ValueError("a genotype is whole numbers")
        genotype = tuple(map(int, parts))
        return space.key(space.decode(genotype))
    except Exception as error:  # The space may be a user's own.
        raise TableError(f"{where}: {shown(cell)}: {explain(error)}") from None


def _json(path: Path, text: str, reward: str) -> list[dict[str, Any]]:
    data = parse_json(text, error=TableError, where=path, pairs=_once_each)
    if isinstance(data, dict):
        data = [
            {NAMES[0]: key, **(row if isinstance(row, dict) else {reward: row})} for key, row in data.items()
        ]
    if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
        raise TableError(
            f"{path}: a list of objects is wanted, each a row, or one object with a row for each name"
        )
    return data


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ParseError(
                f"{shown(name)} occurs twice in one object; rows of one spec need a list of objects"
            )
        found[name] = value
    return found


def _csv(path: Path, text: str) -> list[dict[str, Any]]:
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        cells = [[cell.strip() for cell in row] for row in rows if any(map(str.strip, row))]
    except csv.Error as error:
        raise TableError(f"{path}, line {rows.line_num}: {error}") from None
    head = cells[0] if cells else []
    twice = next((name for name, count in Counter(head).items() if count > 1), None)
    if twice is not None:
        raise TableError(f"{path}: two columns are called {shown(twice)}")
    for number, row in enumerate(cells[1:], 1):
        if len(row) > len(head):
            raise TableError(
                f"{path}, row {number}: {len(row)} cells, and the header has {len(head)}; "
                "decimals need a point, cells are parted by commas, and a cell with one needs quotes"
            )
    return [dict(zip(head, row, strict=False)) for row in cells[1:]]


def _number(cell: Any) -> float | None:
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
