"""Space: the set of specs that a controller searches, as decisions with a decoder.

A space of your own needs four members: decisions, decode, encode and key. All operators follow from these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from search_space import decisions as _decisions
from search_space.decisions import Decisions, Genotype


class NotInSpaceError(ValueError):
    """The space does not hold the spec; the message says why."""


class Space(ABC):
    """A set of specs, described as a sequence of masked categorical decisions."""

    @property
    @abstractmethod
    def decisions(self) -> Decisions:
        """The decisions, in the order in which they are taken."""

    @abstractmethod
    def decode(self, genotype: Genotype) -> Any:
        """Makes the spec of a genotype.

        Raises:
            GenotypeError: if the genotype does not answer the decisions.
        """

    @abstractmethod
    def encode(self, spec: Any) -> Genotype:
        """Returns a genotype of the spec; `decode` makes a spec of the same key of it.

        Raises:
            NotInSpaceError: if the space does not hold the spec.
        """

    @abstractmethod
    def key(self, spec: Any) -> str:
        """Returns one text for all specs that compute the same function."""

    @property
    def size(self) -> int:
        """The exact number of genotypes."""
        return _decisions.count(self.decisions)

    @property
    def num_specs(self) -> int | None:
        """The exact number of distinct specs, or None if it is not known."""
        return None

    def describe(self) -> Mapping[str, str]:
        """Describes the space for a table of spaces: a short text by the name of its column."""
        return {"decisions": str(len(self.decisions))}

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draws a random genotype; every decision is uniform among its options."""
        return _decisions.sample(self.decisions, rng)

    def check(self, genotype: Genotype) -> None:
        """Raises GenotypeError if the genotype does not answer the decisions."""
        _decisions.check_genotype(self.decisions, genotype)

    def contains(self, spec: Any) -> bool:
        """Whether the space holds the spec."""
        try:
            self.encode(spec)
        except NotInSpaceError:
            return False
        return True

    def neighbors(self, genotype: Genotype) -> Iterator[Genotype]:
        """Yields all genotypes one step away, in a fixed order."""
        return _decisions.neighbors(self.decisions, genotype)

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Draws a random genotype one step away."""
        return _decisions.mutate(self.decisions, genotype, rng)

    def crossover(self, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
        """Makes a random child of two genotypes."""
        return _decisions.crossover(self.decisions, a, b, rng)
