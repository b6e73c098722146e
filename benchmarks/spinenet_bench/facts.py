"""What the table says of its space and of its surrogate, as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.spinenet_bench.held_out import SEARCHES, Unknown, unknown_searches
from benchmarks.spinenet_bench.long_trainings import Long, find_long
from benchmarks.spinenet_bench.measures import (
    DEPTHS,
    Top,
    Variance,
    find_top,
    lost_by_halving,
    misjudgement,
    shares_of_variance,
    short_ranks,
    tau,
)
from benchmarks.spinenet_bench.neighbors import Neighbors, find_neighbors
from benchmarks.spinenet_bench.recipe import FULL, LENGTHS
from benchmarks.spinenet_bench.seeds import Repeats, chance_of_training, find_repeats
from proxy_tasks.spinenet_bench.settings import Settings
from proxy_tasks.spinenet_bench.trainings import FULL as FULL_OUTPUT
from proxy_tasks.spinenet_bench.trainings import RecordedTraining, column
from search_space.encoding import Matrix

RANDOM, RANDOM_WITHIN = "uniform", "excess-0"
"""Groups of random specs: of all, and of those of excess 0."""

MOST_EXCESS = 4
"""Specs of this excess and more are one class."""

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Of the AP, as the card tells them."""

SPENT = "core_seconds"
"""The column of the processor time of a whole training on its machine, all measurements included."""

Trainings = Sequence[RecordedTraining]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The trainings of one group.

    Args:
        specs: different ones.
        mean, deviation: of their AP after the full length.
        hours: processor time of the whole trainings; NaN where the table does not say it.
    """

    specs: int
    mean: float
    deviation: float
    hours: float


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Numbers about a table; all rank correlations are Kendall's tau with the AP of the full length.

    All from `within` to `lost` are of random specs alone: searches choose what they train. "Over all" are
    those of `RANDOM`; "within excess 0" are those of them that have it, and those of `RANDOM_WITHIN`.

    Args:
        groups: trainings by group.
        by_group: what else is to say of each group.
        machines: trainings by machine.
        specs: different ones.
        repeated: those of them with several trainings.
        searches: how well the others' trainings tell each search's own, by group.
        within: random specs of excess 0.
        mean, deviation: of the AP, over all.
        within_mean, within_deviation: the same within excess 0.
        quantiles: of the AP, by `QUANTILES`.
        variance: shares of its variance.
        by_excess: number of trainings and mean AP by excess, the last class open.
        surrogate: rank correlation of what cross-validation by spec expects, over all and within excess 0.
        top: what expectations are worth where they are high, before the calibration and after it.
        short: rank correlation of AP and of the loss of the last quarter of the steps, by length, over all.
        short_within: the same within excess 0.
        depth: rank correlation with the AP, by name of the depth, over all and within excess 0.
        misjudged: what the AP at a length misjudges of deep networks: rank correlation of a depth with the AP
            of the full length where a line over the AP at that length is taken out; by length and name, over
            all and within excess 0, where the line is that of excess 0.
        lost: AP that the best of `OF` random trainings loses if only the better half after a length goes on,
            by length, over all and within excess 0.
        repeats: what seeds do; None as long as too few specs have several.
        neighbors: how far the AP of specs differs that are a few edits apart.
        long: what trainings of four times the length say; None as long as there are fewer than `FEWEST`.
    """

    groups: Mapping[str, int]
    by_group: Mapping[str, Group]
    machines: Mapping[str, int]
    specs: int
    repeated: int
    searches: Mapping[str, Unknown]
    within: int
    mean: float
    deviation: float
    within_mean: float
    within_deviation: float
    quantiles: Sequence[float]
    variance: Variance
    by_excess: Mapping[int, tuple[int, float]]
    surrogate: tuple[float, float]
    top: tuple[Top, Top]
    short: Mapping[int, tuple[float, float]]
    short_within: Mapping[int, tuple[float, float]]
    depth: Mapping[str, tuple[float, float]]
    misjudged: Mapping[tuple[int, str], tuple[float, float]]
    lost: Mapping[int, tuple[float, float]]
    repeats: Repeats | None
    neighbors: Neighbors
    long: Long | None


def table_facts(trainings: Trainings, settings: Settings) -> Facts:
    """Finds the numbers.

    Args:
        trainings: of the table.
        settings: of its surrogate, found for these trainings.
    """
    places = _places(trainings, lambda training: training.group == RANDOM)
    inside = _places(trainings, is_random_within)
    random, within = ([trainings[place] for place in some] for some in (places, inside))

    expected, uncalibrated = (
        np.array(values)[:, FULL_OUTPUT] for values in (settings.expected, settings.uncalibrated)
    )
    groups = dict(Counter(training.group for training in trainings))
    of_specs = Counter(training.key for training in trainings)
    ap, ap_within = _final(random), _final(within)
    classes = np.minimum(column(random, "excess"), MOST_EXCESS).astype(int)
    chance = chance_of_training(trainings, RANDOM)
    return Facts(
        groups=groups,
        by_group={name: _group([t for t in trainings if t.group == name]) for name in groups},
        machines=dict(Counter(training.machine for training in trainings if training.machine)),
        specs=len(of_specs),
        repeated=sum(count > 1 for count in of_specs.values()),
        searches=unknown_searches(trainings),
        within=len(within),
        mean=float(ap.mean()),
        deviation=float(ap.std()),
        within_mean=float(ap_within.mean()),
        within_deviation=float(ap_within.std()),
        quantiles=tuple(np.quantile(ap, QUANTILES).tolist()),
        variance=replace(
            shares_of_variance(ap, column(random, f"test_AP_{FULL}"), classes, expected[places]),
            seeds=None if chance is None else chance / float(ap.var()),
        ),
        by_excess={
            int(each): (int((classes == each).sum()), float(ap[classes == each].mean()))
            for each in np.unique(classes)
        },
        surrogate=(tau(expected[places], ap), tau(expected[inside], ap_within)),
        top=(find_top(uncalibrated[places], ap), find_top(expected[places], ap)),
        short={length: short_ranks(random, length) for length in LENGTHS[:-1]},
        short_within={length: short_ranks(within, length) for length in LENGTHS[:-1]},
        depth={name: (_of_depth(random, name), _of_depth(within, name)) for name in DEPTHS},
        misjudged={
            (length, name): (_misjudged(random, length, name), _misjudged(within, length, name))
            for length in LENGTHS[:-1]
            for name in DEPTHS
        },
        lost={length: (_lost(random, length), _lost(within, length)) for length in LENGTHS[:-1]},
        repeats=find_repeats(trainings),
        neighbors=find_neighbors(trainings, RANDOM, SEARCHES),
        long=find_long(trainings),
    )


def is_random_within(training: RecordedTraining) -> bool:
    """Whether a training is one of a random spec of excess 0."""
    return training.group in (RANDOM, RANDOM_WITHIN) and training.scores["excess"] == 0


def _places(trainings: Trainings, kept: Callable[[RecordedTraining], bool]) -> list[int]:
    return [place for place, training in enumerate(trainings) if kept(training)]


def _final(trainings: Trainings) -> Matrix:
    """The AP after the full length, [N]."""
    return column(trainings, f"val_AP_{FULL}")


def _of_depth(trainings: Trainings, name: str) -> float:
    return tau(column(trainings, name), _final(trainings))


def _misjudged(trainings: Trainings, length: int, name: str) -> float:
    return misjudgement(column(trainings, name), _final(trainings), column(trainings, f"val_AP_{length}"))


def _lost(trainings: Trainings, length: int) -> float:
    """See `Facts.lost`; the AP at the end is the mean of both sets of images."""
    worth = (_final(trainings) + column(trainings, f"test_AP_{FULL}")) / 2
    return lost_by_halving(column(trainings, f"val_AP_{length}"), worth)


def _group(trainings: Sequence[RecordedTraining]) -> Group:
    ap = column(trainings, f"val_AP_{FULL}")
    return Group(
        specs=len({training.key for training in trainings}),
        mean=float(ap.mean()),
        deviation=float(ap.std()),
        hours=float(sum(training.scores.get(SPENT, np.nan) for training in trainings)) / 3600,
    )
