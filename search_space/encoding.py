"""Encoding: genotypes as numbers, for models that learn from scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search_space.decisions import Decisions, Genotype
from search_space.space import Space
from search_space.spec import graph_features

Matrix = NDArray[np.float64]

MOST_KNOWN = 100_000
"""Genotypes whose graph features are kept for when they are encoded again."""


class Encoding:
    """Encodes genotypes as groups of numbers.

    One group has a number for every label of every decision: 1 for the answer's label, else 0.
    A second one has the graph features of the specs; a space whose specs have none has no such group.

    Args:
        space: whose genotypes they are.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._positions, self._width = _label_positions(space.decisions)
        self._rows: dict[Genotype, Matrix] = {}

    def encode(self, genotypes: Sequence[Genotype]) -> list[Matrix]:
        """Encodes N genotypes as an array [N, F] for each group."""
        answers = np.array(genotypes, np.int64).reshape(len(genotypes), len(self._positions))
        positions = self._positions[np.arange(len(self._positions)), answers]
        labels = np.zeros((len(genotypes), self._width))
        labels[np.arange(len(genotypes))[:, None], positions] = 1
        if not self._names:
            return [labels]
        return [labels, np.array([self._row(genotype) for genotype in genotypes])]

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self._graph_features(self._space.sample(np.random.default_rng(0))))

    @property
    def known(self) -> int:
        """How many genotypes' graph features are kept."""
        return len(self._rows)

    def _row(self, genotype: Genotype) -> Matrix:
        if genotype not in self._rows:
            if len(self._rows) >= MOST_KNOWN:
                self._rows.clear()
            found = self._graph_features(genotype)
            self._rows[genotype] = np.array([found.get(name, 0.0) for name in self._names])
        return self._rows[genotype]

    def _graph_features(self, genotype: Genotype) -> Mapping[str, float]:
        return graph_features(self._space.decode(genotype))


def _label_positions(decisions: Decisions) -> tuple[NDArray[np.int64], int]:
    """The position of each label, in a row for each decision; and how many positions there are."""
    width = 0
    found = np.zeros((len(decisions), max((len(d.labels) for d in decisions), default=0)), np.int64)
    for row, decision in zip(found, decisions, strict=True):
        names = {name: i for i, name in enumerate(dict.fromkeys(decision.labels))}
        row[: len(decision.labels)] = [width + names[label] for label in decision.labels]
        width += len(names)
    return found, width
