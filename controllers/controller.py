"""Controller: asked for proposals, told their scores. It owns no loop, no worker, no file.

Its proposals follow from the space, the seed and the sequence of asks and tells alone, so that replaying
that sequence restores it exactly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from search_space import Genotype, Space

Reward = float | Sequence[float] | None
"""What a proposal earned: to be maximised; several numbers for several objectives; None if it failed."""


@dataclass(frozen=True)
class Proposal:
    """What a controller wants to be evaluated.

    Args:
        number: counts the controller's proposals from 0.
        genotype: of the space.
    """

    number: int
    genotype: Genotype


class Controller(ABC):
    """Numbers the proposals; a subclass says what to try and what it learns.

    Args:
        space: what is searched.
        seed: everything random follows from it.

    Attributes:
        objectives: how many rewards it takes; None for any number.
    """

    objectives: int | None = 1

    def __init__(self, space: Space, seed: int = 0) -> None:
        self.space, self.rng = space, np.random.default_rng(seed)
        self._asked = 0
        self._first: deque[Genotype] = deque()

    def begin_with(self, genotypes: Iterable[Genotype]) -> None:
        """Proposes these first, such as what looked best before any training."""
        self._first.extend(genotypes)

    def ask(self) -> Proposal:
        """The next proposal; never waits for a score."""
        if self._first:
            genotype = self._first.popleft()
            self._take_over(genotype)
        else:
            genotype = self._propose()
        proposal = Proposal(self._asked, genotype)
        self._asked += 1
        return proposal

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Takes the reward of a proposal; in any order, late, or never."""
        self._learn(proposal, reward)

    def _take_over(self, genotype: Genotype) -> None:  # noqa: B027 - most have nothing to note
        """Notes the next proposal, which comes from elsewhere, as if it were its own."""

    @abstractmethod
    def _propose(self) -> Genotype: ...

    @abstractmethod
    def _learn(self, proposal: Proposal, reward: Reward) -> None: ...


def single(reward: Reward) -> float | None:
    """The reward of a search with one objective.

    Raises:
        ValueError: if there are several.
    """
    if reward is None or isinstance(reward, (int, float)):
        return reward
    if len(reward) != 1:
        raise ValueError(f"this controller takes one objective, not {len(reward)}; try optuna with nsga2")
    return float(reward[0])


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: small operations lose on several, most of all where workers use all cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
