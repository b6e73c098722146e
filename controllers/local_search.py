"""Local search: hill climbing with restarts (White et al. 2020, for architecture search)."""

from __future__ import annotations

from typing import Annotated

from controllers.controller import Controller, Proposal, Reward, single
from search_space import Genotype, Space
from search_space.utils.validation import AtLeast, checked

MAX_RESAMPLES = 1000
"""Random draws before a space counts as used up."""


class LocalSearch(Controller):
    """Climbs from a random start to the first better neighbor, and starts anew where there is none.

    Neighbors come in random order, and no key is proposed twice as long as there are others: to a neighbor
    whose reward is known and better the climb moves at once. While the rewards of neighbors are awaited,
    further neighbors are proposed; while the reward of a start is awaited, further starts are proposed, of
    which the best is climbed. A climb that was given up, as all its neighbors had been proposed, is taken up
    again when the reward of one of them turns out better.

    Args:
        space, seed: see `Controller`.
        starts: random proposals at the beginning of a climb, of which the best is climbed.
    """

    @checked
    def __init__(self, space: Space, seed: int = 0, *, starts: Annotated[int, AtLeast(1)] = 1) -> None:
        super().__init__(space, seed)
        self.starts = starts
        self._climb_of: dict[int, int] = {}
        self._open_starts: set[int] = set()  # Random proposals whose reward is awaited.
        self._heights: dict[Genotype, float] = {}
        self._summits: list[float] = []
        self._better: dict[int, Genotype] = {}
        self._used_up = False  # Whether a thousand draws have given nothing new.
        self._begin()

    @property
    def climb(self) -> int:
        """The number of the present climb, from 0."""
        return self._climb

    @property
    def center(self) -> Genotype | None:
        """The best genotype of the present climb, whose neighbors are proposed; None before a reward."""
        return self._center

    def _begin(self) -> None:
        """Begins another climb."""
        self._climb, self._started = len(self._summits), 0
        self._center: Genotype | None = None
        self._path: list[Genotype] = []
        self._summits.append(float("-inf"))

    def _propose(self) -> Genotype:
        genotype = None
        while genotype is None and self._center is not None and self._started >= self.starts:
            genotype = self._next_neighbor()
            if genotype is None:
                self._give_up()
        if genotype is None:
            genotype = self._sample_new()
            self._open_starts.add(self._asked)
            self._started += 1
        self._climb_of[self._asked] = self._climb
        return genotype

    def _adopt(self, genotype: Genotype) -> None:
        self._proposed.add(genotype)
        self._climb_of[self._asked] = self._climb
        self._started += 1

    def take_back(self, proposal: Proposal) -> None:
        """Draws another start for one that is not evaluated."""
        climb = self._climb_of.pop(proposal.number, None)
        if proposal.number in self._open_starts:
            self._open_starts.remove(proposal.number)
            self._started -= climb == self._climb

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        height, genotype = single(reward), proposal.genotype
        self._open_starts.discard(proposal.number)
        climb = self._climb_of.pop(proposal.number, None)
        if height is None or climb is None:
            return
        self._heights[genotype] = height
        if climb == self._climb:
            if height > self._summits[climb]:
                self._climb_to(genotype)
        elif height > self._summits[climb]:
            self._summits[climb], self._better[climb] = height, genotype
            if height > self._summits[self._climb]:
                self._take_up(climb)

    def _climb_to(self, genotype: Genotype) -> None:
        """Moves the climb to a genotype, and on as long as a better neighbor is known."""
        while True:
            around = list(self.space.neighbors(genotype))
            height = self._heights[genotype]
            known = max(around, key=lambda near: self._heights.get(near, float("-inf")), default=genotype)
            if self._heights.get(known, float("-inf")) <= height:
                break
            genotype = known
        self._center, self._summits[self._climb] = genotype, height
        self._path = [around[i] for i in self.rng.permutation(len(around))]

    def _give_up(self) -> None:
        """Leaves the climb for the best one that has turned out not to be over, or for a new one."""
        if self._better:
            self._take_up(max(self._better, key=lambda climb: self._summits[climb]))
        else:
            self._begin()

    def _take_up(self, climb: int) -> None:
        """Goes on with an earlier climb; the present one may be taken up again in the same way."""
        self._climb, self._started = climb, self.starts
        self._climb_to(self._better.pop(climb))

    def _next_neighbor(self) -> Genotype | None:
        while self._path:
            genotype = self._path.pop()
            if self._proposed.add(genotype):
                return genotype
        return None

    def _sample_new(self) -> Genotype:
        for _ in range(1 if self._used_up else MAX_RESAMPLES):
            genotype = self.space.sample(self.rng)
            if self._proposed.add(genotype):
                return genotype
        self._used_up = True
        return genotype
