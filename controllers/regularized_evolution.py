"""Regularized evolution (Real et al. 2019): the oldest member dies, the best of a few has a child."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Annotated

from controllers.controller import Controller, Proposal, Reward, single
from search_space import Genotype, Space
from search_space.utils.validation import AtLeast, AtMost, checked

MAX_RESAMPLES = 20
"""Mutations that are drawn before a child whose key was proposed before is proposed again."""


class RegularizedEvolution(Controller):
    """An asynchronous population that forgets its oldest members.

    Args:
        space, seed: see `Controller`.
        trials: the budget, from which the size of the population follows: a fifth of it, from 10 to 50, or
            100 from 1,000 trials on.
        population: size of the population; None to let it follow from the budget.
        tournament: members drawn, of which the best becomes a parent; None for a fifth of the population.
        crossover: chance that a child has two parents before it is mutated, from 0 to 1.

    Raises:
        ValueError: if a value is out of its range, or the tournament is larger than the population.
    """

    @checked
    def __init__(
        self,
        space: Space,
        seed: int = 0,
        *,
        trials: Annotated[int, AtLeast(1)] = 250,
        population: Annotated[int, AtLeast(1)] | None = None,
        tournament: Annotated[int, AtLeast(1)] | None = None,
        crossover: Annotated[float, AtLeast(0), AtMost(1)] = 0.0,
    ) -> None:
        super().__init__(space, seed)
        if population is None:
            population = 100 if trials >= 1000 else min(50, max(10, trials // 5))
        if tournament is None:
            tournament = max(2, population // 5)
        if tournament > population:
            raise ValueError(f"tournament must be at most {population}, the population, not {tournament}")
        self.population, self.tournament, self.crossover = population, tournament, crossover
        self._members: deque[tuple[float, Genotype]] = deque(maxlen=population)
        self._taken_back = 0

    @property
    def members(self) -> Sequence[tuple[float, Genotype]]:
        """(reward, genotype) of the present population, oldest first."""
        return tuple(self._members)

    def _propose(self) -> Genotype:
        child = self.space.sample(self.rng)
        for _ in range(MAX_RESAMPLES):
            if self._asked - self._taken_back >= self.population and self._members:
                child = self._breed()
            if self._proposed.add(child):
                break
        return child

    def _adopt(self, genotype: Genotype) -> None:
        self._proposed.add(genotype)

    def take_back(self, proposal: Proposal) -> None:
        """Does not count a proposal that is not evaluated: the population begins with as many random ones."""
        self._taken_back += 1

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        value = single(reward)
        if value is not None:
            self._members.append((value, proposal.genotype))

    def _breed(self) -> Genotype:
        parent = self._select_parent()
        if self.rng.random() < self.crossover:
            parent = self.space.crossover(parent, self._select_parent(), self.rng)
        return self.space.mutate(parent, self.rng)

    def _select_parent(self) -> Genotype:
        drawn = self.rng.integers(len(self._members), size=self.tournament)
        return max((self._members[i] for i in drawn), key=lambda member: member[0])[1]
