"""What the seed of a training does to its AP, from specs that were trained several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.spinenet_bench.recipe import FULL, LENGTHS
from proxy_tasks.spinenet_bench.trainings import RecordedTraining, column, spec_groups
from search_space.encoding import Matrix

FEWEST_REPEATED = 10
"""Specs with several trainings from which something is told: a search may train one spec twice by chance."""

PARTS = 3
"""Classes of specs by their mean AP, of about equal size."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """How much the AP on the validation images deviates between trainings of one spec.

    Args:
        trainings: how many each spec has; at least two, one entry for each spec.
        means: mean AP of each spec after the full length.
        deviations: standard deviation between its seeds after the full length.
        by_quality: mean AP of the specs of each class and their pooled deviation, ascending.
        by_length: pooled deviation over all of these specs, by length.
    """

    trainings: Sequence[int]
    means: Sequence[float]
    deviations: Sequence[float]
    by_quality: Sequence[tuple[float, float]]
    by_length: Mapping[int, float]


def find_repeats(trainings: Sequence[RecordedTraining]) -> Repeats | None:
    """Looks at the specs with several trainings; None for fewer than `FEWEST_REPEATED` of them."""
    groups = _repeated(trainings)
    if len(groups) < FEWEST_REPEATED:
        return None
    full = [column(group, f"val_AP_{FULL}") for group in groups]
    means = np.array([ap.mean() for ap in full])
    classes = np.array_split(np.argsort(means, kind="stable"), PARTS)
    return Repeats(
        trainings=[len(group) for group in groups],
        means=means.tolist(),
        deviations=[float(ap.std(ddof=1)) for ap in full],
        by_quality=[
            (float(means[places].mean()), _pooled([full[place] for place in places.tolist()]))
            for places in classes
        ],
        by_length={
            length: _pooled([column(group, f"val_AP_{length}") for group in groups]) for length in LENGTHS
        },
    )


def chance_of_training(trainings: Sequence[RecordedTraining], group: str) -> float | None:
    """Gives the variance of the AP that the seed of the training makes.

    It is the covariance, over the seeds of a spec, of the AP on the validation and on the test images: chance
    of the images is not in it, since they are others.

    Args:
        trainings: of the table.
        group: only specs that have a training of this group count.

    Returns:
        the pooled covariance; None for fewer than `FEWEST_REPEATED` specs.
    """
    groups = [found for found in _repeated(trainings) if any(t.group == group for t in found)]
    if len(groups) < FEWEST_REPEATED:
        return None
    apart = [[_apart(column(found, f"{part}_AP_{FULL}")) for part in ("val", "test")] for found in groups]
    return sum(float(val @ test) for val, test in apart) / sum(len(found) - 1 for found in groups)


def _repeated(trainings: Sequence[RecordedTraining]) -> list[list[RecordedTraining]]:
    groups = [places for places in spec_groups(trainings) if len(places) > 1]
    return [[trainings[place] for place in places] for places in groups]


def _apart(values: Matrix) -> Matrix:
    found: Matrix = values - values.mean()
    return found


def _pooled(groups: Sequence[Matrix]) -> float:
    """The standard deviation within groups: each counts by its degrees of freedom."""
    squares = sum(float(np.square(_apart(values)).sum()) for values in groups)
    return float(np.sqrt(squares / sum(len(values) - 1 for values in groups)))
