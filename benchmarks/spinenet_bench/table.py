"""The rows of the table, in small part files: each call of the command writes parts of its own, once."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.spinenet_bench.task import Measured

ROWS = Path(__file__).parent / "rows"


class RowsError(ValueError):
    """Rows that cannot be used: says in which file."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training.

    Args:
        digest: of the recipe.
        group: why the spec was trained, see `benchmarks.spinenet_bench.plan`.
        number: within the group.
        key: of the spec.
        genotype: the answers to the space's decisions.
        seed: of the training.
        scores: what was measured; empty if the training failed.
        failure: class of what went wrong; "" if nothing did.
        seconds: of the training with all measurements.
        machine: where it ran.
    """

    digest: str
    group: str
    number: int
    key: str
    genotype: tuple[int, ...]
    seed: int
    scores: Measured
    failure: str
    seconds: float
    machine: str

    @property
    def place(self) -> tuple[str, int]:
        """What the plan calls the training."""
        return self.group, self.number

    def ap(self, length: int, part: str = "val") -> float:
        """Gives the AP after so many steps; raises KeyError if it was not measured."""
        return float(self.scores[str(length)][part]["AP"])


def read_table(digest: str, folder: Path = ROWS) -> list[Row]:
    """Gives all rows, the first one of each training, by name of the part file.

    Raises:
        RowsError: if a line is no row, or of another recipe.
    """
    return [row for rows in read_parts(digest, folder).values() for row in rows]


def read_parts(digest: str, folder: Path = ROWS) -> dict[str, list[Row]]:
    """Gives the same rows by name of their part file: what one process has done without a break.

    Raises:
        RowsError: see `read_table`.
    """
    found: dict[str, list[Row]] = {}
    known: set[tuple[str, int]] = set()
    for path in sorted(folder.glob("*.jsonl")):
        rows = found[path.name] = []
        for row in _read_part(path):
            if row.digest != digest:
                raise RowsError(f"{path}: {row.group} {row.number} has recipe {row.digest}, not {digest}")
            if row.place not in known:
                known.add(row.place)
                rows.append(row)
    return found


def _read_part(path: Path) -> Iterator[Row]:
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(
        lines[:-1], start=1
    ):  # After the last line break may be what a kill cut off.
        if not line:
            continue
        try:
            data = json.loads(line)
            yield Row(**{**data, "genotype": tuple(data["genotype"])})
        except (ValueError, TypeError, KeyError) as error:
            raise RowsError(f"{path}, line {number}: {error}") from None


class Part:
    """A part file, which is made with its first row."""

    def __init__(self, folder: Path = ROWS) -> None:
        began = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        self.path = folder / f"{began}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}.jsonl"
        self._broken = False  # Whether the last line may be cut off, so that nothing can follow it.

    def write(self, row: Row) -> None:
        """Appends a row; from then on no kill can lose it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_as_data(row)) + "\n"
        if self._broken:
            self.path = self.path.with_stem(f"{self.path.stem}-{secrets.token_hex(2)}")
        self._broken = True
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._broken = False


def _as_data(row: Row) -> dict[str, Any]:
    return {**row.__dict__, "genotype": list(row.genotype)}


def known_scores(rows: Iterable[Row]) -> dict[tuple[str, int], Measured]:
    """Gives what was measured by (key, seed)."""
    return {(row.key, row.seed): row.scores for row in rows if not row.failure}
