"""Random search: the baseline that every other controller is measured against."""

from __future__ import annotations

from controllers.controller import Controller, Proposal, Reward
from search_space import Genotype


class RandomSearch(Controller):
    """Draws every proposal from the space, whatever the rewards are."""

    objectives = None

    def _propose(self) -> Genotype:
        return self.space.sample(self.rng)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        pass
