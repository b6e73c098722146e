"""What the surrogate is told of a network: counts of its blocks, and its graph features.

Two things are counted: blocks by level, kind and whether they are outputs, and the same with the blocks that
they get their inputs from. These are the labels of two rounds of the Weisfeiler-Lehman test, see Ru et al.,
"Interpretable neural architecture search via Bayesian optimisation with Weisfeiler-Lehman kernels", 2021.
Build order and dead blocks change neither counts nor graph features. So all specs of one key have the same
inputs, which the genotype, a labeled build order, has not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain

import numpy as np

from proxy_tasks.spinenet_bench.trainings import SPACE
from search_space import Genotype, SpineNetSpec, published_space
from search_space.encoding import Matrix
from search_space.spinenet.wiring import live_blocks, wire

Label = tuple[int, str, bool]

Pattern = tuple[Label, ...]
"""Label of a block, alone or with those of its sources."""

FEWEST_SPECS = 3
"""A pattern that fewer specs of the table have is left out: it tells little, and takes as much time."""

MOST_KEPT = 10_000
"""Genotypes whose counts and features are kept for when they are encoded again."""


def block_patterns(spec: SpineNetSpec) -> Counter[Pattern]:
    """Counts the blocks that reach an output: by their labels, and by those with their sources' labels."""
    labels: list[Label] = [(block.level, "stem", False) for block in spec.stem]
    labels += [(block.level, block.kind, block.output) for block in spec.blocks]
    found: Counter[Pattern] = Counter()
    for index, block, joined in live_blocks(spec, wire(spec)):
        found[(labels[index],)] += 1
        found[(labels[index], *sorted(labels[source] for source in block.parents + joined))] += 1
    return found


class Inputs:
    """Encodes genotypes of the table's space for the surrogate.

    Args:
        genotypes: of the trainings from which the surrogate learns; they say which patterns are counted.
    """

    def __init__(self, genotypes: Sequence[Genotype]) -> None:
        specs = Counter(chain.from_iterable(_network(genotype)[0] for genotype in set(genotypes)))
        usual = sorted(pattern for pattern, count in specs.items() if count >= FEWEST_SPECS)
        self._columns = {pattern: column for column, pattern in enumerate(usual)}

    def encode(self, genotypes: Sequence[Genotype]) -> list[Matrix]:
        """Encodes N genotypes as counts of patterns [N, P] and graph features [N, F]."""
        counts = np.zeros((len(genotypes), len(self._columns)))
        networks = [_network(genotype) for genotype in genotypes]
        for row, (patterns, _) in zip(counts, networks, strict=True):
            for pattern, count in patterns.items():
                if (column := self._columns.get(pattern)) is not None:
                    row[column] = count
        return [counts, np.array([tuple(features.values()) for _, features in networks])]


def excess_of(genotypes: Sequence[Genotype]) -> Matrix:
    """Gives the excess of N genotypes' specs, [N]."""
    return np.array([_network(genotype)[1]["excess"] for genotype in genotypes])


@lru_cache(maxsize=MOST_KEPT)
def _network(genotype: Genotype) -> tuple[Mapping[Pattern, int], Mapping[str, float]]:
    """The patterns of a genotype's network, and its graph features, sorted by name."""
    spec = published_space(SPACE).decode(genotype)
    assert isinstance(spec, SpineNetSpec)
    return block_patterns(spec), dict(sorted(spec.graph_features().items()))
