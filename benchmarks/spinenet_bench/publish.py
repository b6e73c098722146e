"""Makes the files that are shipped of the rows: the trainings as Parquet, and the settings of the surrogate.

uv run python -m benchmarks.spinenet_bench.publish
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.spinenet_bench.recipe import FULL, LENGTHS, digest, training_task
from benchmarks.spinenet_bench.table import ROWS, Row, read_parts
from proxy_tasks.data.shapes import CLASSES
from proxy_tasks.spinenet_bench.surrogate import SETTINGS, find_settings, write_settings
from proxy_tasks.spinenet_bench.trainings import FOLDER, TRAININGS, Training, write_trainings
from search_space import graph_features, published_space, spec_cost
from search_space.spinenet.spec import SpineNetSpec


def as_trainings(parts: Mapping[str, Sequence[Row]]) -> list[Training]:
    """Gives the rows as trainings, without those that failed.

    A processor's speed differs from day to day, so that seconds are those of the median training of the same
    part file that was measured at the same lengths.

    Args:
        parts: rows by part file.
    """
    found = []
    for rows in parts.values():
        done = [row for row in rows if not row.failure]
        seconds = {row.place: _full_seconds(row) for row in done}
        usual = statistics.median(seconds.values()) if seconds else 1.0
        found += [_as_training(row, seconds[row.place] / usual) for row in done]
    return sorted(found, key=lambda training: (training.group, training.number))


def _full_seconds(row: Row) -> float:
    return sum(float(row.scores[str(length)]["seconds"]) for length in LENGTHS)


def _as_training(row: Row, seconds: float) -> Training:
    scores: dict[str, float] = {}
    for length in LENGTHS:
        for name, value in row.scores[str(length)].items():
            values = (
                {f"_{metric}": v for metric, v in value.items()} if isinstance(value, dict) else {"": value}
            )
            if name != "seconds":
                scores |= {f"{name}{metric}_{length}": float(v) for metric, v in values.items()}
    return Training(
        group=row.group,
        number=row.number,
        key=row.key,
        genotype=row.genotype,
        seed=row.seed,
        seconds=seconds,
        scores={**scores, **before_training(row.genotype)},
    )


def before_training(genotype: tuple[int, ...]) -> dict[str, float]:
    """Gives what is known of a spec before any training: its cost in the recipe, and its graph features."""
    spec = published_space("spinenet-49").decode(genotype)
    assert isinstance(spec, SpineNetSpec)
    task = training_task()
    cost = spec_cost(spec, task.scale, task.train.image_size, task.head, len(CLASSES))
    return {"params": float(cost.params), "macs": float(cost.macs), **graph_features(spec, summary=True)}


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=Path, default=ROWS, help="folder of the part files")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the files that are shipped")
    options = parser.parse_args()
    trainings = as_trainings(read_parts(digest(), options.rows))
    if not trainings:
        parser.error(f"{options.rows} has no rows yet")
    options.out.mkdir(parents=True, exist_ok=True)
    write_trainings(trainings, options.out / TRAININGS)
    write_settings(find_settings(trainings), options.out / SETTINGS)
    specs = len({training.key for training in trainings})
    print(f"{len(trainings)} trainings of {FULL} steps, {specs} specs: {options.out}")


if __name__ == "__main__":
    main()
