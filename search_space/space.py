"""Space: what a controller searches. Decisions and a decoder; the operators come with it.

A space of your own needs four members: decisions, decode, encode and key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from search_space import decisions as _decisions
from search_space.decisions import Decisions, Genotype


class NotInSpaceError(ValueError):
    """A spec that the space does not contain: says why."""


class Space(ABC):
    """A set of specs, described as a sequence of masked categorical decisions."""

    @property
    @abstractmethod
    def decisions(self) -> Decisions:
        """The decisions, in the order in which they are taken."""

    @abstractmethod
    def decode(self, genotype: Genotype) -> Any:
        """The spec that a genotype stands for."""

    @abstractmethod
    def encode(self, spec: Any) -> Genotype:
        """A genotype of the spec; decode gives it back up to key. Raises NotInSpaceError."""

    @abstractmethod
    def key(self, spec: Any) -> str:
        """One string for all specs that compute the same function."""

    @property
    def size(self) -> int:
        """The exact number of genotypes."""
        return _decisions.count(self.decisions)

    def sample(self, rng: np.random.Generator) -> Genotype:
        """A random genotype: every decision uniform among its options."""
        return _decisions.sample(self.decisions, rng)

    def check(self, genotype: Genotype) -> None:
        """Raises GenotypeError if the genotype does not answer the decisions."""
        _decisions.check_genotype(self.decisions, genotype)

    def contains(self, spec: Any) -> bool:
        """Whether some genotype stands for the spec."""
        try:
            self.encode(spec)
        except NotInSpaceError:
            return False
        return True

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """All genotypes one step away, in a fixed order."""
        return _decisions.neighbours(self.decisions, genotype)

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """A random genotype one step away."""
        return _decisions.mutate(self.decisions, genotype, rng)

    def crossover(self, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
        """A random child of two genotypes."""
        return _decisions.crossover(self.decisions, a, b, rng)
