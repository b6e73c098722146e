"""What the table says of its space and of its surrogate, as numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.spinenet_bench.neighbors import Neighbors, find_neighbors
from benchmarks.spinenet_bench.recipe import FULL, LENGTHS, LONG_LENGTHS
from benchmarks.spinenet_bench.seeds import Repeats, chance_of_training, find_repeats
from proxy_tasks.spinenet_bench.families import assign_folds
from proxy_tasks.spinenet_bench.settings import Settings, find_settings
from proxy_tasks.spinenet_bench.surrogate import Surrogate
from proxy_tasks.spinenet_bench.trainings import FULL as FULL_OUTPUT
from proxy_tasks.spinenet_bench.trainings import OUTPUTS, RecordedTraining, column, outputs
from search_space import Genotype
from search_space.encoding import Matrix

MOST_EXCESS = 4
"""Specs of this excess and more are one class."""

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Of the AP, as the card tells them."""

RANDOM, SEARCHES = "uniform", ("local", "evolution", "predictor", "chains")
"""Groups of trainings: random specs, and those that were chosen by scores of others."""

FEWEST = 10
"""Trainings of a search, or of four times the length, about which something is told."""

LONGEST = LONG_LENGTHS[-1]
"""Steps of the longest trainings."""

SPENT = "core_seconds"
"""The column of the processor time of a whole training on its machine, all measurements included."""

DEPTHS = ("shortest_path", "longest_path")

OF, DRAWS = 16, 4000
"""Trainings of which the better half goes on, and how often some are drawn."""

BAND = (0.05, 0.95)
"""Quantiles between which nine of ten trainings should lie."""

HIGH, BEST = 0.4, 10
"""Expected AP above which much is expected, and how many of those of which most is expected are looked at."""

FOLDS = 5
"""Of the cross-validation of a surrogate that is made to be judged."""


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


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Numbers about a table; all rank correlations are Kendall's tau with the AP of the full length.

    All from `mean` to `lost` are of the random specs alone: searches choose what they train.

    Args:
        groups: trainings by group.
        by_group: what else is to say of each group.
        machines: trainings by machine.
        specs: different ones.
        repeated: those of them with several trainings.
        searches: how well the others' trainings tell each search's own, by group.
        mean, deviation: of the AP.
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
    mean: float
    deviation: float
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


def table_facts(trainings: Sequence[RecordedTraining], settings: Settings) -> Facts:
    """Finds the numbers.

    Args:
        trainings: of the table.
        settings: of its surrogate, found for these trainings.
    """
    groups, of_specs, searches = (
        dict(Counter(training.group for training in trainings)),
        Counter(training.key for training in trainings),
        unknown_searches(trainings),
    )
    everything = trainings
    random = [place for place, training in enumerate(trainings) if training.group == RANDOM]
    expected = np.array(settings.expected)[random, FULL_OUTPUT]
    uncalibrated = np.array(settings.uncalibrated)[random, FULL_OUTPUT]
    trainings = [trainings[place] for place in random]
    ap, excess = column(trainings, f"val_AP_{FULL}"), column(trainings, "excess")
    zero = excess == 0
    worth = (ap + column(trainings, f"test_AP_{FULL}")) / 2
    classes = np.minimum(excess, MOST_EXCESS).astype(int)
    chance = chance_of_training(everything, RANDOM)
    return Facts(
        groups=groups,
        by_group={name: _group([t for t in everything if t.group == name]) for name in groups},
        machines=dict(Counter(training.machine for training in everything if training.machine)),
        specs=len(of_specs),
        repeated=sum(count > 1 for count in of_specs.values()),
        searches=searches,
        mean=float(ap.mean()),
        deviation=float(ap.std()),
        quantiles=tuple(np.quantile(ap, QUANTILES).tolist()),
        variance=replace(
            shares_of_variance(ap, column(trainings, f"test_AP_{FULL}"), classes, expected),
            seeds=None if chance is None else chance / float(ap.var()),
        ),
        by_excess={
            int(each): (int((classes == each).sum()), float(ap[classes == each].mean()))
            for each in np.unique(classes)
        },
        surrogate=(_tau(expected, ap), _tau(expected[zero], ap[zero])),
        top=(find_top(uncalibrated, ap), find_top(expected, ap)),
        short={length: _short(trainings, length, ap, np.full(len(ap), True)) for length in LENGTHS[:-1]},
        short_within={length: _short(trainings, length, ap, zero) for length in LENGTHS[:-1]},
        depth={name: _taus(column(trainings, name), ap, zero) for name in DEPTHS},
        misjudged={
            (length, name): misjudgement(
                column(trainings, name), ap, column(trainings, f"val_AP_{length}"), zero
            )
            for length in LENGTHS[:-1]
            for name in DEPTHS
        },
        lost={
            length: (
                lost_by_halving(column(trainings, f"val_AP_{length}"), worth),
                lost_by_halving(column(trainings, f"val_AP_{length}")[zero], worth[zero]),
            )
            for length in LENGTHS[:-1]
        },
        repeats=find_repeats(everything),
        neighbors=find_neighbors(everything, RANDOM, SEARCHES),
        long=find_long(everything),
    )


def _group(trainings: Sequence[RecordedTraining]) -> Group:
    ap = column(trainings, f"val_AP_{FULL}")
    return Group(
        specs=len({training.key for training in trainings}),
        mean=float(ap.mean()),
        deviation=float(ap.std()),
        hours=float(sum(training.scores.get(SPENT, np.nan) for training in trainings)) / 3600,
    )


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
    return Long(
        trainings=len(trainings),
        within=int(zero.sum()),
        mean=float(late.mean()),
        gain=float((late - early[FULL]).mean()),
        ranks={length: _taus(ap, late, zero) for length, ap in early.items()},
        misjudged={
            (length, name): misjudgement(column(trainings, name), late, ap, zero)
            for length, ap in early.items()
            for name in DEPTHS
        },
    )


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
            expected = expect(known, asked)
            found[name] = Unknown(
                trainings=int(own.sum()),
                tau=_tau(expected, ap[own]),
                overrated=float((expected - ap[own]).mean()),
            )
    return found


def expect(known: Sequence[RecordedTraining], asked: Sequence[Genotype]) -> Matrix:
    """Gives the AP of the full length that a surrogate of known trainings expects of genotypes, [N]."""
    return Surrogate(known, find_settings(known, FOLDS)).full(asked)


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


def _short(
    trainings: Sequence[RecordedTraining], length: int, ap: Matrix, kept: Matrix
) -> tuple[float, float]:
    names = (f"val_AP_{length}", f"loss_25_{length}")
    short, loss = (column(trainings, name)[kept] for name in names)
    return _tau(short, ap[kept]), _tau(-loss, ap[kept])


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


def misjudgement(depth: Matrix, late: Matrix, early: Matrix, kept: Matrix) -> tuple[float, float]:
    """Gives the rank correlation of a depth with what a line over early scores leaves of late ones.

    Args:
        depth, late, early: of N trainings.
        kept: some of them.

    Returns:
        over all, and over those that are kept, with a line of their own.
    """
    return (
        _tau(depth, without_line(late, early)),
        _tau(depth[kept], without_line(late[kept], early[kept])),
    )


def _taus(first: Matrix, second: Matrix, kept: Matrix) -> tuple[float, float]:
    """Over all, and over those that are kept."""
    return _tau(first, second), _tau(first[kept], second[kept])


def _tau(first: Matrix, second: Matrix) -> float:
    return float(kendalltau(first, second).statistic)
