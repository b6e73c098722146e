"""Settings of the surrogate: what is found once for a table, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from proxy_tasks.spinenet_bench.calibration import (
    CLASSES,
    LEAST_SLOPE,
    MOST_SLOPE,
    Calibration,
    Line,
    cross_calibrate,
    find_calibration,
)
from proxy_tasks.spinenet_bench.components import COMPONENTS, find_components
from proxy_tasks.spinenet_bench.cross_validation import cross_validate
from proxy_tasks.spinenet_bench.families import assign_folds
from proxy_tasks.spinenet_bench.inputs import Inputs, excess_of
from proxy_tasks.spinenet_bench.trainings import (
    DATA_FOLDER,
    MOST_BYTES,
    NEEDED,
    OUTPUTS,
    BenchError,
    RecordedTraining,
    outputs,
)
from search_space.encoding import Matrix
from search_space.utils.atomic_file import atomic_write
from search_space.utils.gaussian_process import Kernel, find_kernel
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import read_bounded, reading, shown
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_number

SETTINGS = "surrogate.json"

LEAST, MOST = 1e-9, 1e9
"""Bounds of a kernel's settings in a file."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is found once, when the table is published.

    Args:
        digest: of the trainings that these were found for.
        kernels: of each component.
        seconds: of the relative time of a training.
        calibrations: of what they expect, of each output.
        uncalibrated: what cross-validation expects of each training, [N, outputs], by place in the file.
        expected: the same, each value calibrated by what was found on the other folds.
    """

    digest: str
    kernels: tuple[Kernel, ...]
    seconds: Kernel
    calibrations: tuple[Calibration, ...]
    uncalibrated: tuple[tuple[float, ...], ...]
    expected: tuple[tuple[float, ...], ...]


def find_settings(trainings: Sequence[RecordedTraining], folds: int = 5) -> Settings:
    """Finds the settings for trainings of at least as many specs as folds; takes minutes for a thousand.

    Args:
        trainings: that the surrogate will learn from.
        folds: of the cross-validation that tells what a model expects of specs that it does not know.
    """
    genotypes = [training.genotype for training in trainings]
    inputs, targets = Inputs(genotypes).encode(genotypes), outputs(trainings)
    fold_of = assign_folds(trainings, folds)
    uncalibrated = cross_validate(genotypes, targets, fold_of)
    excess = excess_of(genotypes)
    pairs = list(zip(uncalibrated.T, targets.T, strict=True))
    expected = np.stack([cross_calibrate(*pair, excess, fold_of) for pair in pairs], axis=1)
    return Settings(
        digest=table_digest(trainings),
        kernels=tuple(find_kernel(inputs, values) for values in find_components(targets).reduce(targets).T),
        seconds=find_kernel(inputs, np.log([training.seconds for training in trainings])),
        calibrations=tuple(find_calibration(*pair, excess) for pair in pairs),
        uncalibrated=_rows(uncalibrated),
        expected=_rows(expected),
    )


def _rows(values: Matrix) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def table_digest(trainings: Sequence[RecordedTraining]) -> str:
    """Identifies trainings and their order."""
    rows = [
        (t.group, t.number, t.key, t.seed, *(float(np.float32(t.scores[name])).hex() for name in NEEDED))
        for t in trainings
    ]
    return blake2b(repr(rows).encode(), digest_size=16).hexdigest()


def write_settings(settings: Settings, path: Path) -> None:
    """Writes settings as `read_settings` reads them."""
    with atomic_write(path) as partial:
        partial.write_text(to_json(asdict(settings)) + "\n", encoding="utf-8")


def read_settings(path: Path = DATA_FOLDER / SETTINGS) -> Settings:
    """Reads what `write_settings` has written.

    Raises:
        BenchError: if the file cannot be used.
    """
    with reading(BenchError, f"{path}: "):
        data: Any = parse_json(read_bounded(path, MOST_BYTES))
        found = Settings(
            digest=str(data["digest"]),
            kernels=tuple(_kernel(kernel) for kernel in data["kernels"]),
            seconds=_kernel(data["seconds"]),
            calibrations=tuple(_calibration(each) for each in data["calibrations"]),
            uncalibrated=tuple(_numbers(row, len(OUTPUTS), -10, 10) for row in data["uncalibrated"]),
            expected=tuple(_numbers(row, len(OUTPUTS), -10, 10) for row in data["expected"]),
        )
        wanted = {"kernels": (found.kernels, COMPONENTS), "calibrations": (found.calibrations, len(OUTPUTS))}
        for name, (values, count) in wanted.items():
            if len(values) != count:
                raise ValueError(f"there must be {count} {name}, not {len(values)}")
        return found


def _kernel(data: Mapping[str, Any]) -> Kernel:
    return Kernel(
        lengths=_numbers(data["lengths"], 2, LEAST, MOST),
        amplitudes=_numbers(data["amplitudes"], 2, LEAST, MOST),
        noise=_numbers([data["noise"]], 1, LEAST, MOST)[0],
    )


def _calibration(data: Mapping[str, Any]) -> Calibration:
    lines = tuple(
        Line(
            middle=_numbers([line["middle"]], 1, -10, 10)[0],
            offset=_numbers([line["offset"]], 1, -10, 10)[0],
            slope=_numbers([line["slope"]], 1, LEAST_SLOPE, MOST_SLOPE)[0],
        )
        for line in data["lines"]
    )
    if len(lines) != CLASSES:
        raise ValueError(f"a calibration has {CLASSES} lines, not {len(lines)}")
    return Calibration(lines=lines)


def _numbers(values: Sequence[Any], count: int, least: float, most: float) -> tuple[float, ...]:
    """Gives `count` numbers within bounds; raises ValueError for anything else."""
    if len(values) != count or not all(is_number(value) and least <= value <= most for value in values):
        raise ValueError(f"{count} numbers in {least:g}..{most:g} are wanted, not {shown(values)}")
    return tuple(map(float, values))
