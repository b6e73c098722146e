"""The trainings of the table: one row of a Parquet file for each, read without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from search_space import Genotype
from search_space.utils.parsing import reading

FOLDER = Path(__file__).parent / "data"
"""What is shipped: the trainings, the surrogate, and the card that describes them."""

TRAININGS = "trainings.parquet"

SPACE = "spinenet-49"
"""The published space whose specs were trained."""

LENGTHS = (70, 140, 280, 560)
"""Training steps after which each network was measured; the last one is the full length."""

PARTS = ("val", "test")
"""Images that a search sees, and others."""


class BenchError(ValueError):
    """A file of the benchmark cannot be used; the message says which one, and why."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training.

    Args:
        group: why the spec was trained, such as "uniform" or "local".
        number: within the group.
        key: of the spec.
        genotype: answers to the decisions of `SPACE`.
        seed: of the training.
        seconds: processor time of the full length with all measurements, in units of the median training on
            the same machine and day.
        scores: by column, such as "val_AP_560", "test_APs_70" or "loss_280"; NaN where nothing could be
            measured.
    """

    group: str
    number: int
    key: str
    genotype: Genotype
    seed: int
    seconds: float
    scores: Mapping[str, float]

    def curve(self, part: str, metric: str = "AP") -> list[float]:
        """Gives a metric at each of `LENGTHS`."""
        return [self.scores[f"{part}_{metric}_{length}"] for length in LENGTHS]


PLAIN = ("group", "number", "key", "genotype", "seed", "seconds")


def read_trainings(path: Path = FOLDER / TRAININGS) -> list[Training]:
    """Reads the trainings, in the order of the file.

    Raises:
        BenchError: if the file is missing or is none of these.
    """
    with reading(BenchError, f"{path}: "):
        table = pq.read_table(path)
        names = [name for name in table.column_names if name not in PLAIN]
        missing = [name for name in (*PLAIN, *_score_names()) if name not in table.column_names]
        if missing:
            raise BenchError(f"{path}: there is no column {missing[0]}")
        return [_training(row, names) for row in table.to_pylist()]


def _score_names() -> list[str]:
    return [f"{part}_AP_{length}" for part in PARTS for length in LENGTHS]


def _training(row: dict[str, Any], names: Sequence[str]) -> Training:
    scores = {name: float("nan") if row[name] is None else float(row[name]) for name in names}
    plain = {name: row[name] for name in PLAIN}
    return Training(**{**plain, "genotype": tuple(plain["genotype"])}, scores=scores)


def write_trainings(trainings: Sequence[Training], path: Path) -> None:
    """Writes trainings as `read_trainings` reads them; all have the same columns."""
    rows = [
        {
            **{name: getattr(training, name) for name in PLAIN},
            "genotype": list(training.genotype),
            **{name: None if value != value else value for name, value in training.scores.items()},
        }
        for training in trainings
    ]
    names = list(trainings[0].scores)
    schema = pa.schema(
        [
            ("group", pa.string()),
            ("number", pa.int32()),
            ("key", pa.string()),
            ("genotype", pa.list_(pa.int16())),
            ("seed", pa.int64()),
            ("seconds", pa.float32()),
            *((name, pa.float32()) for name in names),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")
