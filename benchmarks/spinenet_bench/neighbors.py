"""How far the AP of specs differs that are a few edits apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from benchmarks.spinenet_bench.recipe import FULL, SPACE
from proxy_tasks.spinenet_bench.trainings import RecordedTraining, column, spec_groups
from search_space import Genotype, published_space
from search_space.encoding import Matrix

EDITS = "edits"
"""The column of a training of a chain: how many edits have made its spec of the chain's start."""

BIN = 5
"""Pairs of random specs are in one class if the numbers of decisions in which they differ are within this."""

FEWEST_PAIRS = 10
"""Of a distance about which something is told."""

Pair = tuple[int, int, int]
"""How far two trainings are apart, and their places."""


@dataclass(frozen=True, kw_only=True)
class Neighbors:
    """Absolute differences of the AP after the full length, one training of each spec against one.

    Args:
        unit: what distances count: "edits", or "decisions" as long as too few specs of the table are known
            to be edits apart.
        differences: of each pair, by distance. Of edits, 0 stands for two trainings of one spec; of
            decisions, each distance stands for the class of `BIN` that begins there.
        random: the mean over all pairs of random specs.
    """

    unit: str
    differences: Mapping[int, Sequence[float]]
    random: float


def find_neighbors(trainings: Sequence[RecordedTraining], random: str, searches: Iterable[str]) -> Neighbors:
    """Looks at the pairs of trainings of which the distance is known.

    Args:
        trainings: of the table.
        random: the group of random specs.
        searches: groups in which specs were proposed that may be one edit from a known one.
    """
    ap = column(trainings, f"val_AP_{FULL}")
    drawn = [place for place, training in enumerate(trainings) if training.group == random]
    known = {*chain_pairs(trainings), *search_pairs(trainings, set(searches))}
    unit, found = "edits", _differences(ap, [*seed_pairs(trainings), *sorted(known)])
    if not set(found) - {0}:
        unit, found = "decisions", _differences(ap, random_pairs(trainings, drawn))
    each = np.triu_indices(len(drawn), 1)
    return Neighbors(
        unit=unit,
        differences=found,
        random=float(np.abs(np.subtract.outer(ap[drawn], ap[drawn])[each]).mean()),
    )


def _differences(ap: Matrix, pairs: Iterable[Pair]) -> dict[int, list[float]]:
    """Gives the differences by distance, of those at which there are enough pairs."""
    found: dict[int, list[float]] = {}
    for distance, first, second in pairs:
        found.setdefault(distance, []).append(abs(float(ap[first] - ap[second])))
    return {distance: found[distance] for distance in sorted(found) if len(found[distance]) >= FEWEST_PAIRS}


def chain_pairs(trainings: Sequence[RecordedTraining]) -> Iterator[Pair]:
    """Gives the pairs of trainings of one chain, of which the start may have several, by edits."""
    by_key: dict[str, list[int]] = {}
    chains: dict[str, dict[int, list[int]]] = {}
    for place, training in enumerate(trainings):
        if training.start:
            steps = chains.setdefault(training.start, {})
            steps.setdefault(round(training.scores[EDITS]), []).append(place)
        else:
            by_key.setdefault(training.key, []).append(place)
    for start, steps in chains.items():
        whole = {0: by_key.get(start, []), **steps}
        for (near, firsts), (far, seconds) in combinations(sorted(whole.items()), 2):
            yield from ((far - near, first, second) for first, second in product(firsts, seconds))


def search_pairs(trainings: Sequence[RecordedTraining], searches: set[str]) -> Iterator[Pair]:
    """Gives the pairs whose specs are one edit apart, of which at least one was proposed by a search."""
    space, places = published_space(SPACE), dict[Genotype, list[int]]()
    for place, training in enumerate(trainings):
        places.setdefault(training.genotype, []).append(place)
    for place, training in enumerate(trainings):
        if training.group in searches and not training.start:
            near = [places.get(genotype, []) for genotype in space.neighbors(training.genotype)]
            yield from ((1, min(place, other), max(place, other)) for others in near for other in others)


def seed_pairs(trainings: Sequence[RecordedTraining]) -> Iterator[Pair]:
    """Gives the pairs of trainings of one spec, as 0 edits apart."""
    for places in spec_groups(trainings):
        yield from ((0, first, second) for first, second in combinations(places, 2))


def random_pairs(trainings: Sequence[RecordedTraining], drawn: Sequence[int]) -> Iterator[Pair]:
    """Gives the pairs of random specs, by the class of how many decisions differ."""
    genotypes = np.array([trainings[place].genotype for place in drawn])
    for (i, first), (j, second) in combinations(enumerate(drawn), 2):
        differing = int((genotypes[i] != genotypes[j]).sum())
        yield differing // BIN * BIN, first, second
