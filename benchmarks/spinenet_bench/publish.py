"""Makes the files that are shipped of the rows: trainings as Parquet, settings of the surrogate, a card.

uv run python -m benchmarks.spinenet_bench.publish
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.spinenet_bench.card import CARD, write_card
from benchmarks.spinenet_bench.facts import SPENT, table_facts
from benchmarks.spinenet_bench.held_out import FOLDS, share_inside
from benchmarks.spinenet_bench.neighbors import EDITS as EDITS_COLUMN
from benchmarks.spinenet_bench.plan import EDITS, SELECTIONS, chain_starts, read_selections
from benchmarks.spinenet_bench.recipe import FULL, LENGTHS, SPACE, digest, training_task
from benchmarks.spinenet_bench.table import ROWS, Row, RowsError, read_parts
from nas.utils.files import replace_file
from proxy_tasks.data.shapes import CLASSES
from proxy_tasks.spinenet_bench.settings import SETTINGS, find_settings, write_settings
from proxy_tasks.spinenet_bench.trainings import DATA_FOLDER, TRAININGS, RecordedTraining, write_trainings
from search_space import graph_features, published_space, spec_cost
from search_space.spinenet.spec import SpineNetSpec


def as_trainings(parts: Mapping[str, Sequence[Row]], starts: Sequence[str] = ()) -> list[RecordedTraining]:
    """Gives the rows as trainings, without those that failed.

    Args:
        parts: rows by part file.
        starts: keys of the specs with which the chains of edits begin, in the order of the plan.

    Raises:
        RowsError: if there are rows of a chain whose start is not given.
    """
    done = {name: [row for row in rows if not row.failure] for name, rows in parts.items()}
    before = {name: [known_before(row.genotype) for row in rows] for name, rows in done.items()}
    costs = {
        name: [(_full_seconds(row), known["macs"]) for row, known in zip(rows, before[name], strict=True)]
        for name, rows in done.items()
    }
    seconds = relative_seconds(costs)
    found = [
        _as_training(row, relative, known, starts)
        for name, rows in done.items()
        for row, relative, known in zip(rows, seconds[name], before[name], strict=True)
    ]
    return sorted(found, key=lambda training: (training.group, training.number))


def relative_seconds(parts: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, list[float]]:
    """Takes out of the seconds what is the machine's and the day's, whose speed differs threefold.

    The logarithm of the seconds is a part's own number, plus a slope, which all parts share, times the
    logarithm of the multiply-adds, plus what is the training's. The part's own number is taken away.

    Args:
        parts: (seconds, multiply-adds) of the trainings that one process has done without a break.

    Returns:
        seconds of the same trainings, whose geometric mean over all is 1.
    """
    logs = {name: np.log(np.array(rows, float)) for name, rows in parts.items() if rows}
    if not logs:
        return {name: [] for name in parts}
    apart = np.concatenate([rows - rows.mean(0) for rows in logs.values()])
    spread = float(np.square(apart[:, 1]).sum())
    slope = float(apart[:, 0] @ apart[:, 1]) / spread if spread else 0.0
    own = {name: rows[:, 0] - (rows[:, 0] - slope * rows[:, 1]).mean() for name, rows in logs.items()}
    usual = np.concatenate(list(own.values())).mean()
    return {name: np.exp(own[name] - usual).tolist() if name in own else [] for name in parts}


def _full_seconds(row: Row) -> float:
    return sum(float(row.scores[str(length)]["seconds"]) for length in LENGTHS)


def _as_training(
    row: Row, seconds: float, before: Mapping[str, float], starts: Sequence[str]
) -> RecordedTraining:
    start, edits = _place_in_chain(row, starts)
    return RecordedTraining(
        group=row.group,
        number=row.number,
        key=row.key,
        genotype=row.genotype,
        seed=row.seed,
        seconds=seconds,
        scores={**_scores(row), **before, SPENT: row.seconds, **edits},
        machine=row.machine,
        start=start,
    )


def _scores(row: Row) -> dict[str, float]:
    """What was measured, by column, at every length of the row."""
    scores: dict[str, float] = {}
    for length in sorted(row.scores, key=int):
        for name, value in row.scores[length].items():
            values = (
                {f"_{metric}": v for metric, v in value.items()} if isinstance(value, dict) else {"": value}
            )
            if name != "seconds":
                scores |= {
                    f"{name}{metric}_{length}": math.nan if v is None else float(v)
                    for metric, v in values.items()
                }
    return scores


def _place_in_chain(row: Row, starts: Sequence[str]) -> tuple[str, dict[str, float]]:
    """The start of a row's chain and the column of its edits; nothing for a row of another group."""
    if row.group != "chains":
        return "", {}
    chain, step = divmod(row.number, EDITS)
    if chain >= len(starts):
        raise RowsError(f"chains {row.number}: {SELECTIONS} does not say with which spec the chain began")
    return starts[chain], {EDITS_COLUMN: step + 1.0}


def known_before(genotype: tuple[int, ...]) -> dict[str, float]:
    """Gives what is known of a spec before any training: its cost in the recipe, and its graph features."""
    spec = published_space(SPACE).decode(genotype)
    assert isinstance(spec, SpineNetSpec)
    task = training_task()
    cost = spec_cost(spec, task.scale, task.train.image_size, task.head, len(CLASSES))
    return {"params": float(cost.params), "macs": float(cost.macs), **graph_features(spec, summary=True)}


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=Path, default=ROWS, help="folder of the part files")
    parser.add_argument("--out", type=Path, default=DATA_FOLDER, help="folder of the files that are shipped")
    options = parser.parse_args()
    parts, space = read_parts(digest(), options.rows), published_space(SPACE)
    repeated = read_selections(options.rows).get("seeds", [])
    starts = [space.decode(genotype).key() for genotype in chain_starts(repeated)]
    trainings = as_trainings(parts, starts)
    if not trainings:
        parser.error(f"{options.rows} has no rows yet")
    specs = len({training.key for training in trainings})
    if specs < FOLDS:
        parser.error(f"{options.rows} has {specs} specs, and a surrogate needs at least {FOLDS}")
    settings = find_settings(trainings, FOLDS)
    options.out.mkdir(parents=True, exist_ok=True)
    write_trainings(trainings, options.out / TRAININGS)
    write_settings(settings, options.out / SETTINGS)
    failed = Counter(row.group for rows in parts.values() for row in rows if row.failure)
    card = write_card(table_facts(trainings, settings), share_inside(trainings, FOLDS), failed=failed)
    replace_file(options.out / CARD, card)
    print(f"{len(trainings)} trainings of {FULL} steps, {specs} specs: {options.out}")


if __name__ == "__main__":
    main()
