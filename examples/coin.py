"""Your own controller: with equal probability, a new genotype or a mutation of the best one so far."""

import numpy as np

from controllers import Proposal
from search_space import Space


class Coin:
    def __init__(self, space: Space, seed: int = 0) -> None:
        self.space, self.rng, self.asked = space, np.random.default_rng(seed), 0
        self.best: tuple[float, Proposal] | None = None

    def ask(self) -> Proposal:
        if self.best is None or self.rng.random() < 0.5:
            genotype = self.space.sample(self.rng)
        else:
            genotype = self.space.mutate(self.best[1].genotype, self.rng)
        self.asked += 1
        return Proposal(self.asked - 1, genotype)

    def tell(self, proposal: Proposal, reward: float | tuple[float, ...] | None) -> None:
        value = reward[0] if isinstance(reward, tuple) else reward
        if value is not None and (self.best is None or value > self.best[0]):
            self.best = value, proposal
