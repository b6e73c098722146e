"""Local search: hill climbing with restarts (White et al. 2020, for architecture search)."""

from __future__ import annotations

from controllers.controller import Controller, Proposal, Reward, single
from search_space import Genotype, Space

TRIES = 1000
"""Random draws before a space is taken to be used up."""


class LocalSearch(Controller):
    """Climbs from a random start to the first better neighbour, and starts anew where there is none.

    Neighbours come in random order, and no key is proposed twice as long as there are others. While the
    neighbours' scores are out, further neighbours are proposed; while a start's score is out, further
    starts, of which the best is climbed.

    Args:
        space, seed: see `Controller`.
        starts: random proposals at the beginning of a climb, of which the best is climbed.
    """

    def __init__(self, space: Space, seed: int = 0, starts: int = 1) -> None:
        super().__init__(space, seed)
        if starts < 1:
            raise ValueError(f"starts must be at least 1, not {starts}")
        self.starts = starts
        self._seen: set[str] = set()
        self._climb_of: dict[int, int] = {}
        self._begin(0)

    def _begin(self, climb: int) -> None:
        self._climb, self._started = climb, 0
        self._centre: Genotype | None = None
        self._height = float("-inf")
        self._path: list[Genotype] = []

    def _propose(self) -> Genotype:
        genotype = None
        if self._centre is not None and self._started >= self.starts:
            genotype = self._next_neighbour()
            if genotype is None:
                self._begin(self._climb + 1)
        if genotype is None:
            genotype = self._fresh()
            self._started += 1
        self._climb_of[self._asked] = self._climb
        return genotype

    def _take_over(self, genotype: Genotype) -> None:
        self._is_new(genotype)
        self._climb_of[self._asked] = self._climb
        self._started += 1

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        height = single(reward)
        climb = self._climb_of.pop(proposal.number, None)
        if height is not None and climb == self._climb and height > self._height:
            self._centre, self._height = proposal.genotype, height
            around = list(self.space.neighbours(proposal.genotype))
            self._path = [around[i] for i in self.rng.permutation(len(around))]

    def _next_neighbour(self) -> Genotype | None:
        while self._path:
            genotype = self._path.pop()
            if self._is_new(genotype):
                return genotype
        return None

    def _fresh(self) -> Genotype:
        for _ in range(TRIES):
            genotype = self.space.sample(self.rng)
            if self._is_new(genotype):
                break
        return genotype

    def _is_new(self, genotype: Genotype) -> bool:
        key = self.space.key(self.space.decode(genotype))
        if key in self._seen:
            return False
        self._seen.add(key)
        return True
