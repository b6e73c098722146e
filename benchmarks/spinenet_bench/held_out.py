"""What a surrogate says of trainings that it does not know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.spinenet_bench.measures import FEWEST, tau
from benchmarks.spinenet_bench.recipe import FULL, LENGTHS
from proxy_tasks.spinenet_bench.families import assign_folds
from proxy_tasks.spinenet_bench.settings import find_settings
from proxy_tasks.spinenet_bench.surrogate import Surrogate
from proxy_tasks.spinenet_bench.trainings import OUTPUTS, RecordedTraining, column, outputs
from search_space.encoding import Matrix

SEARCHES = ("local", "evolution", "predictor", "chains")
"""Groups of trainings that were chosen by scores of others."""

BAND = (0.05, 0.95)
"""Quantiles between which nine of ten trainings should lie."""

FOLDS = 5
"""Of the cross-validation of a surrogate, by family of specs."""


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """How well a surrogate knows what a search finds, of which it has learned nothing.

    Args:
        trainings: of the search.
        tau: rank correlation of what is expected with the AP.
        overrated: mean of what is expected minus the AP.
    """

    trainings: int
    tau: float
    overrated: float


def unknown_searches(trainings: Sequence[RecordedTraining]) -> dict[str, Unknown]:
    """Finds for each search how well a surrogate that has not seen it knows its specs.

    Args:
        trainings: of the table. Of searches with fewer than `FEWEST` trainings nothing is told.
    """
    ap, found = column(trainings, f"val_AP_{FULL}"), {}
    for name in SEARCHES:
        own = np.array([training.group == name for training in trainings])
        if FEWEST <= own.sum() < len(own):
            known = [training for training in trainings if training.group != name]
            asked = [training.genotype for training in trainings if training.group == name]
            expected = Surrogate(known, find_settings(known, FOLDS)).full(asked)
            found[name] = Unknown(
                trainings=int(own.sum()),
                tau=tau(expected, ap[own]),
                overrated=float((expected - ap[own]).mean()),
            )
    return found


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a surrogate says of N trainings whose specs it does not know.

    Args:
        measured, expected: APs, [N, outputs].
        inside: whether each AP lies in the band of the scores that the task may draw, [N, outputs].
        zero: whether each spec has excess 0, [N].
    """

    measured: Matrix
    expected: Matrix
    inside: NDArray[np.bool_]
    zero: NDArray[np.bool_]


def judge(known: Sequence[RecordedTraining], asked: Sequence[RecordedTraining]) -> Judged:
    """Makes a surrogate of known trainings, as `publish` does, and asks it about others.

    Args:
        known: the surrogate learns from these.
        asked: trainings of other specs.
    """
    surrogate, measured = Surrogate(known, find_settings(known, FOLDS)), outputs(asked)
    expected = np.array([surrogate.expect(training.genotype)[0] for training in asked])
    bands = np.array([np.quantile(surrogate.possible(values), BAND, axis=0) for values in expected])
    return Judged(
        measured=measured,
        expected=expected,
        inside=(bands[:, 0] <= measured) & (measured <= bands[:, 1]),
        zero=column(asked, "excess") == 0,
    )


def share_inside(trainings: Sequence[RecordedTraining], folds: int) -> dict[int, tuple[float, float]]:
    """Gives the share of trainings in the 90 % band of a surrogate that does not know their families.

    The band is that of the scores which the task may draw for their specs.

    Args:
        trainings: of the table.
        folds: how many surrogates are made; each takes as long as to publish the table.

    Returns:
        by length, for the AP on the images of a search: over all, and over specs of excess 0 (NaN if there
        are none).
    """
    fold_of = assign_folds(trainings, folds)
    found = [
        judge(
            *(
                [trainings[place] for place in np.flatnonzero(kept).tolist()]
                for kept in (fold_of != fold, fold_of == fold)
            )
        )
        for fold in np.unique(fold_of).tolist()
    ]
    inside = np.concatenate([judged.inside for judged in found])
    zero = np.concatenate([judged.zero for judged in found])
    columns = {length: inside[:, OUTPUTS.index(("val", length))] for length in LENGTHS}
    return {
        length: (float(values.mean()), float(values[zero].mean()) if zero.any() else math.nan)
        for length, values in columns.items()
    }
