"""What trainings of four times the full length say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.spinenet_bench.measures import DEPTHS, FEWEST, misjudgement, tau
from benchmarks.spinenet_bench.recipe import FULL, LONG_LENGTHS
from proxy_tasks.spinenet_bench.trainings import RecordedTraining, column

LONGEST = LONG_LENGTHS[-1]
"""Steps of the longest trainings."""


@dataclass(frozen=True, kw_only=True)
class Long:
    """What the trainings of four times the full length say; rank correlations are Kendall's tau.

    Args:
        trainings, within: how many there are, and how many of excess 0.
        mean: of the AP after the longest training.
        gain: mean of the AP after the longest training minus that after the full length.
        ranks: of the AP after each shorter length with that after the longest, over all and within excess 0.
        misjudged: see `Facts`; what the AP at the shorter lengths misjudges of that after the longest.
    """

    trainings: int
    within: int
    mean: float
    gain: float
    ranks: Mapping[int, tuple[float, float]]
    misjudged: Mapping[tuple[int, str], tuple[float, float]]


def long_trainings(trainings: Sequence[RecordedTraining]) -> list[RecordedTraining]:
    """Gives those of four times the full length."""
    name = f"val_AP_{LONGEST}"
    return [training for training in trainings if not np.isnan(training.scores.get(name, np.nan))]


def find_long(trainings: Sequence[RecordedTraining]) -> Long | None:
    """Finds what the trainings of four times the full length say; None for fewer than `FEWEST`."""
    trainings = long_trainings(trainings)
    if len(trainings) < FEWEST:
        return None
    late, zero = column(trainings, f"val_AP_{LONGEST}"), column(trainings, "excess") == 0
    early = {length: column(trainings, f"val_AP_{length}") for length in LONG_LENGTHS[:-1]}
    depths = {name: column(trainings, name) for name in DEPTHS}
    return Long(
        trainings=len(trainings),
        within=int(zero.sum()),
        mean=float(late.mean()),
        gain=float((late - early[FULL]).mean()),
        ranks={length: (tau(ap, late), tau(ap[zero], late[zero])) for length, ap in early.items()},
        misjudged={
            (length, name): (
                misjudgement(depth, late, ap),
                misjudgement(depth[zero], late[zero], ap[zero]),
            )
            for length, ap in early.items()
            for name, depth in depths.items()
        },
    )
