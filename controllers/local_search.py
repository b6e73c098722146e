"""Local search: hill climbing with restarts (White et al. 2020, for architecture search)."""

from __future__ import annotations

from controllers.controller import Controller, Proposal, Reward, single
from search_space import Genotype, Space

MAX_RESAMPLES = 1000
"""Random draws before a space counts as used up."""


class LocalSearch(Controller):
    """Climbs from a random start to the first better neighbor, and starts anew where there is none.

    Neighbors come in random order, and no key is proposed twice as long as there are others. While the
    rewards of neighbors are awaited, further neighbors are proposed; while the reward of a start is awaited,
    further starts are proposed, of which the best is climbed.

    Args:
        space, seed: see `Controller`.
        starts: random proposals at the beginning of a climb, of which the best is climbed.
    """

    def __init__(self, space: Space, seed: int = 0, starts: int = 1) -> None:
        super().__init__(space, seed)
        if starts < 1:
            raise ValueError(f"starts must be at least 1, not {starts}")
        self.starts = starts
        self._climb_of: dict[int, int] = {}
        self._begin(0)

    @property
    def climb(self) -> int:
        """The number of the present climb, from 0."""
        return self._climb

    @property
    def center(self) -> Genotype | None:
        """The best genotype of the present climb, whose neighbors are proposed; None before a reward."""
        return self._center

    def _begin(self, climb: int) -> None:
        self._climb, self._started = climb, 0
        self._center: Genotype | None = None
        self._height = float("-inf")
        self._path: list[Genotype] = []

    def _propose(self) -> Genotype:
        genotype = None
        if self._center is not None and self._started >= self.starts:
            genotype = self._next_neighbor()
            if genotype is None:
                self._begin(self._climb + 1)
        if genotype is None:
            genotype = self._sample_new()
            self._started += 1
        self._climb_of[self._asked] = self._climb
        return genotype

    def _adopt(self, genotype: Genotype) -> None:
        self._proposed.add(genotype)
        self._climb_of[self._asked] = self._climb
        self._started += 1

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        height = single(reward)
        climb = self._climb_of.pop(proposal.number, None)
        if height is not None and climb == self._climb and height > self._height:
            self._center, self._height = proposal.genotype, height
            around = list(self.space.neighbors(proposal.genotype))
            self._path = [around[i] for i in self.rng.permutation(len(around))]

    def _next_neighbor(self) -> Genotype | None:
        while self._path:
            genotype = self._path.pop()
            if self._proposed.add(genotype):
                return genotype
        return None

    def _sample_new(self) -> Genotype:
        for _ in range(MAX_RESAMPLES):
            genotype = self.space.sample(self.rng)
            if self._proposed.add(genotype):
                break
        return genotype
