"""The trainings of the table: one row of a Parquet file for each, read without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search_space import Genotype, published_space
from search_space.encoding import Matrix
from search_space.utils.atomic_file import atomic_write
from search_space.utils.parsing import reading
from search_space.utils.regular_file import open_regular

DATA_FOLDER = Path(__file__).parent / "data"
"""What is shipped: the trainings, the surrogate, and the card that describes them."""

TRAININGS = "trainings.parquet"

SPACE = "spinenet-49"
"""The published space whose specs were trained."""

LENGTHS = (70, 140, 280, 560)
"""Training steps after which each network was measured; the last one is the full length."""

PARTS = ("val", "test")
"""Images that a search sees, and others."""

MOST_TRAININGS, MOST_BYTES = 100_000, 1 << 28
"""A file with more rows, or that unpacks to more, is none of ours."""


class BenchError(ValueError):
    """A file of the benchmark cannot be used; the message says which one, and why."""


@dataclass(frozen=True, kw_only=True)
class RecordedTraining:
    """One training.

    Args:
        group: why the spec was trained, such as "uniform" or "local".
        number: within the group.
        key: of the spec.
        genotype: answers to the decisions of `SPACE`.
        seed: of the training.
        seconds: processor time of the full length with all measurements. The speed of the machine and the
            day is taken out; 1 is a usual training.
        scores: by column, such as "val_AP_560", "test_APs_70" or "loss_280"; NaN where nothing could be
            measured. Trainings of four times the full length also have "val_AP_2240" and the like.
        machine: where it ran; "" where the table does not say it.
        start: key of the spec with which its chain of edits began; "" where it is of no chain.
    """

    group: str
    number: int
    key: str
    genotype: Genotype
    seed: int
    seconds: float
    scores: Mapping[str, float]
    machine: str = ""
    start: str = ""

    def curve(self, part: str, metric: str = "AP") -> list[float]:
        """Gives a metric at each of `LENGTHS`."""
        return [self.scores[f"{part}_{metric}_{length}"] for length in LENGTHS]


def column(trainings: Sequence[RecordedTraining], name: str) -> Matrix:
    """Gives one score of all trainings, [N]."""
    return np.array([training.scores[name] for training in trainings])


PLAIN = ("group", "number", "key", "genotype", "seed", "seconds")

TEXTS = ("machine", "start")
"""Columns that a table may lack."""

OUTPUTS = tuple((part, length) for part in PARTS for length in LENGTHS)
"""What the surrogate tells: the AP on each part after each length."""

FULL = OUTPUTS.index(("val", LENGTHS[-1]))

NEEDED = tuple(f"{part}_AP_{length}" for part, length in OUTPUTS)
"""Scores that every training has: those of the outputs."""


def outputs(trainings: Sequence[RecordedTraining]) -> Matrix:
    """Gives the APs of trainings, [N, outputs]."""
    return np.array([[training.scores[name] for name in NEEDED] for training in trainings])


def spec_groups(trainings: Sequence[RecordedTraining]) -> list[list[int]]:
    """Gives the places of each spec's trainings."""
    groups: dict[str, list[int]] = {}
    for place, training in enumerate(trainings):
        groups.setdefault(training.key, []).append(place)
    return list(groups.values())


def read_trainings(path: Path = DATA_FOLDER / TRAININGS) -> list[RecordedTraining]:
    """Reads the trainings, in the order of the file.

    Raises:
        BenchError: if the file is missing or is none of these.
    """
    with reading(BenchError, f"{path}: "), open_regular(path) as file, pq.ParquetFile(file) as table:
        about = table.metadata
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if about.num_rows > MOST_TRAININGS or size > MOST_BYTES:
            raise ValueError(f"it has {about.num_rows} rows of {size} bytes, more than the table ever will")
        columns = table.schema_arrow.names
        missing = [name for name in (*PLAIN, *NEEDED) if name not in columns]
        if missing:
            raise ValueError(f"there is no column {missing[0]}")
        names = [name for name in columns if name not in (*PLAIN, *TEXTS)]
        found = [_training(row, names) for row in table.read().to_pylist()]
        if not found:
            raise ValueError("there is no training")
        return found


def _training(row: dict[str, Any], names: Sequence[str]) -> RecordedTraining:
    where = f"{row['group']} {row['number']}"
    genotype = tuple(row["genotype"])
    published_space(SPACE).check(genotype)
    if not isinstance(row["key"], str):
        raise ValueError(f"{where}: there is no key")
    seconds = row["seconds"]
    if seconds is None or not 0 < seconds < math.inf:
        raise ValueError(f"{where}: seconds must be above 0, not {seconds}")
    scores = {name: math.nan if row[name] is None else float(row[name]) for name in names}
    for name in NEEDED:
        if not 0 <= scores[name] <= 1:
            raise ValueError(f"{where}: {name} must be in 0..1, not {scores[name]}")
    texts = {name: "" if row.get(name) is None else row[name] for name in TEXTS}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{where}: {name} must be a text, not {text}")
    return RecordedTraining(
        **{name: row[name] for name in PLAIN} | {"genotype": genotype} | texts, scores=scores
    )


def write_trainings(trainings: Sequence[RecordedTraining], path: Path) -> None:
    """Writes trainings as `read_trainings` reads them; what one of them lacks is empty there."""
    texts = [name for name in TEXTS if any(getattr(training, name) for training in trainings)]
    names = list(dict.fromkeys(name for training in trainings for name in training.scores))
    rows = [
        {
            **{name: getattr(training, name) for name in PLAIN},
            **{name: getattr(training, name) or None for name in texts},
            "genotype": list(training.genotype),
            **{name: value for name, value in training.scores.items() if not math.isnan(value)},
        }
        for training in trainings
    ]
    schema = pa.schema(
        [
            ("group", pa.string()),
            ("number", pa.int32()),
            ("key", pa.string()),
            ("genotype", pa.list_(pa.int16())),
            ("seed", pa.int64()),
            ("seconds", pa.float32()),
            *((name, pa.string()) for name in texts),
            *((name, pa.float32()) for name in names),
        ]
    )
    with atomic_write(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), partial, compression="zstd")
