"""Strata: rank correlation within groups of specs that are alike before any training.

A proxy that tells good from bad kinds of specs may still be unable to rank the good ones, which is what a
search needs in the end. Over all specs its correlation then looks higher than it is worth.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.analysis.rank_correlation import (
    RESAMPLES,
    Floats,
    Interval,
    kendall,
    percentile_interval,
    variance_parts,
)
from nas.analysis.ranking import SIGNIFICANCE
from nas.utils.terminal import counted
from search_space.utils.lookup import suggestion

DEFAULTS = ("excess", "macs")
"""What strata are made by unless the user says it: the first of these that is known."""

SINGLE_VALUES = 4
"""A feature with at most this number of values has a stratum for each of them."""

PARTS = 3
"""Strata of other features, with about as many specs each; the least value may have one of its own."""

LARGEST_LOSS = 0.15
"""A correlation that falls by more than this within strata is warned of."""

FEW = 0.3
"""Share of all specs up to which those of one stratum are few."""

REMOVALS = 200
"""How often as many specs are left out at random, to see what that does."""

SMALLEST = 4
"""Specs that a stratum needs for figures of its own."""


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Specs that are alike.

    Args:
        name: the values of the feature that they have.
        specs: their positions among those that have all their scores.
        kendall: of proxy and reference among them; NaN if they are fewer than `SMALLEST`.
        reliability: share of the variance of one proxy score that is the spec's own; NaN like `kendall`.
        without: Kendall of all other specs.
    """

    name: str
    specs: tuple[int, ...]
    kendall: float
    reliability: float
    without: float


@dataclass(frozen=True, kw_only=True)
class Strata:
    """What a proxy is worth within strata.

    Args:
        feature: what tells the strata apart.
        strata: by ascending values of the feature.
        kendall: over all pairs of specs of one stratum; see `percentile_interval` for its interval.
        reliability: of one proxy score among specs of one stratum.
        warning: what a reader must not overlook; "" if there is nothing.
    """

    feature: str
    strata: tuple[Stratum, ...]
    kendall: Interval
    reliability: float
    warning: str


@dataclass(frozen=True, kw_only=True)
class Feature:
    """What tells specs apart before training.

    Args:
        name: such as "excess".
        values: one for each spec; None for one of which it is not known.
    """

    name: str
    values: tuple[float | None, ...]

    def of(self, specs: Sequence[int]) -> Feature:
        """Gives the same of some specs."""
        return Feature(name=self.name, values=tuple(self.values[i] for i in specs))


def find_feature(known: Sequence[Mapping[str, float]], wanted: str | None) -> Feature | None:
    """Gives the feature that makes the strata; None if it is not known of any spec.

    Args:
        known: what is known of each spec before training.
        wanted: the user's choice, or None for the first of `DEFAULTS` that is known.
    """
    names = {name.lower(): name for row in known for name in row}
    chosen = next((names[w.lower()] for w in ([wanted] if wanted else DEFAULTS) if w.lower() in names), None)
    if chosen is None:
        return None
    return Feature(name=chosen, values=tuple(row.get(chosen) for row in known))


def explain_unknown(known: Sequence[Mapping[str, float]], wanted: str) -> str:
    """Says why nothing of that name is known of the specs."""
    names = dict.fromkeys(name for row in known for name in row)
    if not names:
        return "nothing is known of these specs before training"
    return f"no such feature{suggestion(wanted, names)}; known before training are {', '.join(names)}"


def stratify(
    feature: Feature, proxy: Floats, reference: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> Strata:
    """Looks at a proxy within strata. Specs of which the feature is not known are in none.

    Args:
        feature: what tells the strata apart; it must be known of at least one spec.
        proxy: [specs, seeds], the scores of every spec with every seed.
        reference: [specs], the scores at the higher fidelity.
        seed: of the bootstrap, which draws specs within their strata.
        resamples: its draws.
    """
    values = np.array([np.nan if value is None else value for value in feature.values])
    groups = _group(values)
    means, rng = proxy.mean(1), np.random.default_rng(seed)
    names = _name_groups(feature.name, [values[group] for group in groups])
    strata = tuple(
        Stratum(
            name=name,
            specs=tuple(group.tolist()),
            kendall=_kendall(means[group], reference[group]) if len(group) >= SMALLEST else float("nan"),
            reliability=variance_parts(proxy, [group])[2] if len(group) >= SMALLEST else float("nan"),
            without=_kendall_without(means, reference, group),
        )
        for name, group in zip(names, groups, strict=True)
    )
    drawn = [
        _kendall_within(means, reference, [rng.choice(group, len(group)) for group in groups])
        for _ in range(resamples)
    ]
    pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    within = percentile_interval(_kendall_within(means, reference, groups), np.array(drawn), pairs)
    return Strata(
        feature=feature.name,
        strata=strata,
        kendall=within,
        reliability=variance_parts(proxy, groups)[2],
        warning=_warn(feature.name, within.value, strata, means, reference, rng),
    )


def _group(values: Floats) -> list[NDArray[np.intp]]:
    """Positions by stratum; equal values are in one.

    The least value is not mixed with others if `SMALLEST` specs have it: specs of excess 0 are of a kind.
    """
    known = np.flatnonzero(~np.isnan(values))
    distinct = np.unique(values[known])
    if len(distinct) <= SINGLE_VALUES:
        ends = distinct[:-1]
    else:
        least, ends = distinct[0], _ends_of_parts(values[known], PARTS)
        if ends[0] > least and (values[known] == least).sum() >= SMALLEST:
            rest = values[known][values[known] > least]
            ends = np.concatenate([[least], _ends_of_parts(rest, PARTS - 1)])
    number = np.searchsorted(ends, values[known], side="left")
    return [known[number == i] for i in np.unique(number)]


def _ends_of_parts(values: Floats, parts: int) -> Floats:
    """The greatest value of each of about equally many, but for the last part."""
    return np.unique(np.quantile(values, np.arange(1, parts) / parts, method="inverted_cdf"))


def _name_groups(feature: str, groups: Sequence[Floats]) -> list[str]:
    """Names each group by the least and the greatest value, with as many digits as tell them apart."""
    names: list[str] = []
    for digits in (4, 7, 17):
        ends = [[f"{value:.{digits}g}" for value in (group.min(), group.max())] for group in groups]
        names = [f"{feature} {low}" if low == high else f"{feature} {low} to {high}" for low, high in ends]
        if len(set(names)) == len(groups):
            break
    return names


def _kendall(a: Floats, b: Floats) -> float:
    if len(a) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Where one side is constant, there is no correlation.
        return float(kendall(a, b))


def _kendall_within(a: Floats, b: Floats, groups: Sequence[NDArray[np.intp]]) -> float:
    """Tau-b over the pairs whose two specs are of one group."""
    both = first = second = 0.0
    for group in groups:
        up, across = (np.sign(side[group][:, None] - side[group][None]) for side in (a, b))
        both += float((up * across).sum())
        first, second = first + float(np.abs(up).sum()), second + float(np.abs(across).sum())
    return both / (first * second) ** 0.5 if first and second else float("nan")


def _kendall_without(a: Floats, b: Floats, left_out: NDArray[np.intp]) -> float:
    return _kendall(np.delete(a, left_out), np.delete(b, left_out))


def _warn(
    feature: str,
    within: float,
    strata: Sequence[Stratum],
    means: Floats,
    reference: Floats,
    rng: np.random.Generator,
) -> str:
    """Says where the correlation comes from, if it is from few specs, or from differences between strata."""
    everything, specs, found = _kendall(means, reference), len(means), []
    if everything - within > LARGEST_LOSS:
        found.append(
            f"the rank correlation of all specs, {everything:.2f}, is {within:.2f} among specs of like "
            f"{feature}: the proxy tells kinds of specs apart better than specs of one kind"
        )
    for stratum in strata:
        count = len(stratum.specs)
        # One of the two is NaN where nothing varies, and then there is no loss.
        if count > specs * FEW or not everything - stratum.without > LARGEST_LOSS:
            continue
        # Any specs that are left out change the correlation a little.
        others = [
            _kendall_without(means, reference, rng.choice(specs, count, replace=False))
            for _ in range(REMOVALS)
        ]
        others = [value for value in others if np.isfinite(value)]
        if others and np.mean(np.array(others) <= stratum.without) < SIGNIFICANCE:
            found.append(
                f"without the {counted(count, 'spec')} of {stratum.name} it is {stratum.without:.2f}: "
                "a few specs of one kind carry it"
            )
    if found and min(len(stratum.specs) for stratum in strata) < SMALLEST:
        found.append("some strata have very few specs: more specs would tell more")
    return "; ".join(found)
