"""Measures of trainings: how scores and what is known before agree, and what is lost by deciding early.

All rank correlations are Kendall's tau.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from benchmarks.spinenet_bench.recipe import FULL
from proxy_tasks.spinenet_bench.trainings import RecordedTraining, column
from search_space.encoding import Matrix

FEWEST = 10
"""Trainings about which something is told."""

DEPTHS = ("shortest_path", "longest_path")
"""Features that tell how deep a network is, in blocks."""

OF, DRAWS = 16, 4000
"""Trainings of which the better half goes on, and how often some are drawn."""

HIGH, BEST = 0.4, 10
"""Expected AP above which much is expected, and how many of those of which most is expected are looked at."""


@dataclass(frozen=True, kw_only=True)
class Variance:
    """Shares of the variance of the AP, each between 0 and 1 but for chance.

    Args:
        excess: what the mean of the other specs of the same excess explains.
        surrogate: what cross-validation by spec explains, excess included.
        images: what it does not explain and is not there on the test images: chance of the validation images.
        training: all else: what is the spec's own, and chance of the training.
        seeds: the part of `training` that is chance; None as long as too few random specs have several seeds.
    """

    excess: float
    surrogate: float
    images: float
    training: float
    seeds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Top:
    """What expectations are worth where they are high.

    Args:
        slope: by how much the AP rises with the expected AP where that is above `HIGH`; None for fewer than
            `FEWEST` trainings.
        overrated: mean of expected minus measured AP of the `BEST` by expectation.
        error: standard error of this mean.
    """

    slope: float | None
    overrated: float
    error: float


def tau(first: Matrix, second: Matrix) -> float:
    """Gives the rank correlation of N values with N others."""
    return float(kendalltau(first, second).statistic)


def short_ranks(trainings: Sequence[RecordedTraining], length: int) -> tuple[float, float]:
    """Gives the rank correlations of AP and of the last quarter's loss, after a length, with the last AP."""
    ap = column(trainings, f"val_AP_{FULL}")
    early, loss = (column(trainings, f"{name}_{length}") for name in ("val_AP", "loss_25"))
    return tau(early, ap), tau(-loss, ap)


def lost_by_halving(early: Matrix, worth: Matrix) -> float:
    """Gives what the best of some random trainings loses if only the better half of them goes on.

    Args:
        early: scores by which the half is chosen, [N].
        worth: what each is in the end, [N].

    Returns:
        the mean over draws of `OF` of them; 0 for fewer.
    """
    rng, lost = np.random.default_rng(0), 0.0
    if len(early) < OF:
        return 0.0
    for _ in range(DRAWS):
        some = rng.choice(len(early), OF, replace=False)
        half = some[np.argsort(early[some])[OF // 2 :]]
        lost += float(worth[some].max() - worth[half].max())
    return lost / DRAWS


def misjudgement(depth: Matrix, late: Matrix, early: Matrix) -> float:
    """Gives the rank correlation of a depth with what a line over early scores leaves of late ones.

    Args:
        depth, late, early: of N trainings, [N].
    """
    return tau(depth, without_line(late, early))


def find_top(expected: Matrix, ap: Matrix) -> Top:
    """Finds what expectations are worth where they are high.

    Args:
        expected, ap: [N], N at least 2.
    """
    high, best = expected > HIGH, np.argsort(-expected, kind="stable")[:BEST]
    over = (expected - ap)[best]
    return Top(
        slope=float(np.polyfit(expected[high], ap[high], 1)[0]) if high.sum() >= FEWEST else None,
        overrated=float(over.mean()),
        error=float(over.std(ddof=1) / len(over) ** 0.5),
    )


def shares_of_variance(ap: Matrix, test: Matrix, classes: Matrix, expected: Matrix) -> Variance:
    """Divides the variance of the AP.

    Args:
        ap, test: [N] of the same trainings on the validation and on the test images.
        classes: [N] of excess.
        expected: [N] AP by a surrogate that does not know the training's spec.
    """
    place = np.unique(classes, return_inverse=True)[1]
    others = np.bincount(place)[place] - 1
    sums = np.bincount(place, weights=ap)[place] - ap
    of_class = np.where(others, sums / np.maximum(others, 1), ap.mean())
    left = ap - expected
    on_both = float(np.cov(left, without_line(test, expected), bias=True)[0, 1])
    whole, rest = float(ap.var()), float((left**2).mean())
    return Variance(
        excess=1 - float(((ap - of_class) ** 2).mean()) / whole,
        surrogate=1 - rest / whole,
        images=(rest - on_both) / whole,
        training=on_both / whole,
    )


def without_line(values: Matrix, known: Matrix) -> Matrix:
    """Takes a line over what is known out of values; both [N]."""
    found: Matrix = values - np.polyval(np.polyfit(known, values, 1), known)
    return found
