"""The controller: it is asked for proposals and learns their rewards. It owns no loop, no worker, no file.

Its proposals follow from the space, the seed and the sequence of asks and tells alone, so that replaying
that sequence restores it exactly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from search_space import Genotype, Space

Reward = float | Sequence[float] | None
"""The reward of a proposal, to be maximized; one number for each objective; None if the trial failed."""


LARGEST = 1e100
"""Larger rewards are ignored, because their squares overflow."""


@dataclass(frozen=True)
class Proposal:
    """A genotype that a controller wants to be evaluated.

    Args:
        number: position among the controller's proposals, from 0.
        genotype: a genotype of the space.
        fidelity: length of the evaluation relative to the task's own; None for the search's.
        resume_from: number of an earlier proposal whose checkpoint the evaluation continues from, or None;
            see `ResumesProposals`.
    """

    number: int
    genotype: Genotype
    fidelity: float | None = None
    resume_from: int | None = None


class AskTell(Protocol):
    """The two methods that a search needs of a controller."""

    def ask(self) -> Proposal:
        """Returns the next proposal."""

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Takes the reward of a proposal."""


@runtime_checkable
class Recalls(Protocol):
    """Ability of a controller: a recorded proposal can take the place of the one that it has just made.

    Proposals that follow from long calculations may differ on another processor, with other versions of
    libraries, or with more prior knowledge. A search that is resumed there keeps those that were recorded.
    """

    def recall(self, proposal: Proposal) -> None:
        """Takes the recorded proposal, whose number is that of the latest one."""


@runtime_checkable
class TakesBack(Protocol):
    """Ability of a controller: it tells a proposal that will not be evaluated from one that failed."""

    def take_back(self, proposal: Proposal) -> None:
        """Takes back a proposal; its reward is never told."""


@runtime_checkable
class ResumesProposals(Protocol):
    """Ability of a controller: it proposes to go on from earlier proposals; see `Proposal.resume_from`."""

    def may_resume(self, proposal: Proposal) -> bool:
        """Says whether it may still go on from a proposal that is over; if not, its checkpoint goes."""


class Controller(ABC):
    """Base of the controllers: it numbers the proposals, and a subclass chooses and learns.

    Args:
        space: the space that is searched.
        seed: everything random follows from it.

    Attributes:
        objectives: how many rewards the controller takes for a proposal; None for any number.
    """

    objectives: int | None = 1

    def __init__(self, space: Space, seed: int = 0) -> None:
        self.space, self.rng = space, np.random.default_rng(seed)
        self._asked = 0
        self._proposed = ProposedKeys(space)
        self._initial: deque[Genotype] = deque()

    def warm_start(self, genotypes: Iterable[Genotype]) -> None:
        """Has the controller propose these genotypes first, for instance those that a cheap score prefers."""
        self._initial.extend(genotypes)

    def ask(self) -> Proposal:
        """Returns the next proposal; never waits for a reward."""
        self._proposed.latest = None
        if self._initial:
            genotype = self._initial.popleft()
            self._adopt(genotype)
        else:
            genotype = self._propose()
        proposal = Proposal(self._asked, genotype)
        self._asked += 1
        return proposal

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Takes the reward of a proposal; rewards may come in any order, late, or never."""
        self._learn(proposal, reward)

    def _adopt(self, genotype: Genotype) -> None:  # noqa: B027 - most controllers have nothing to record
        """Records a genotype of the warm start, the next proposal, as if the controller had chosen it."""

    @abstractmethod
    def _propose(self) -> Genotype:
        """Chooses the next genotype."""

    @abstractmethod
    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        """Learns from the reward of a proposal."""


class ProposedKeys:
    """The keys of the specs that were proposed, so that a controller can avoid to repeat itself.

    A genotype that was looked at before is not decoded again.

    Args:
        space: the space that decodes the genotypes.

    Attributes:
        latest: the genotype that the latest ask has added; None if it has added none.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.latest: Genotype | None = None
        self._keys: set[str] = set()
        self._genotypes: set[Genotype] = set()

    def add(self, genotype: Genotype) -> bool:
        """Adds the key of a genotype; returns whether the key is new."""
        if genotype in self._genotypes:
            return False
        self._genotypes.add(genotype)
        key = self._space.key(self._space.decode(genotype))
        if key in self._keys:
            return False
        self._keys.add(key)
        self.latest = genotype
        return True

    def replace_latest(self, genotype: Genotype) -> None:
        """Adds a recorded genotype in the place of the one that the latest ask has added."""
        if self.latest is not None:
            self._genotypes.discard(self.latest)
            self._keys.discard(self._space.key(self._space.decode(self.latest)))
        self.latest = None
        self.add(genotype)


def single(reward: Reward) -> float | None:
    """Returns the reward of a search with one objective; None for what is not a number or too large.

    Raises:
        ValueError: if there are several objectives.
    """
    if reward is not None and not isinstance(reward, (int, float)):
        if len(reward) != 1:
            raise ValueError(f"this controller takes one objective, not {len(reward)}; try optuna with nsga2")
        reward = float(reward[0])
    return None if reward is None or not abs(reward) < LARGEST else reward


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs a block with one torch thread: small operations are slower on several threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
