"""Predictor search: a Gaussian process learns the rewards, and the most promising candidate is proposed.

After BANANAS (White et al. 2021): candidates come mostly from the best so far, and independent Thompson
sampling picks among them. A genotype is encoded by the labels of its answers, and by what the graph of its
spec tells, where the spec has graph features.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np

from controllers.controller import Controller, Proposal, Reward, single
from search_space import Genotype, Space
from search_space.encoding import Encoding, Matrix
from search_space.utils.gaussian_process import GaussianProcess, fit_gaussian_process

MOST_POINTS = 400
"""Rewards that are learned from: half of them the best, the others the latest. A fit takes cubic time."""

LOWEST = 2.0
"""Rewards are cut off so many deviations below the median: how poor the poor ones are explains nothing."""


class PredictorSearch(Controller):
    """Proposes the candidate for which the score drawn from the Gaussian process is highest.

    Of the candidates, a share is random; the others are mutations of the best genotypes so far, every third
    one of a child of two of them.

    Args:
        space, seed: see `Controller`.
        initial: random proposals before the process is asked.
        parents: how many of the best genotypes so far are mutated.
        candidates: among which one is picked.
        fresh: share of random ones among them.
        every: rewards between two fits; a twentieth of all rewards once that is more.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        *,
        initial: int = 20,
        parents: int = 10,
        candidates: int = 100,
        fresh: float = 0.2,
        every: int = 5,
    ) -> None:
        super().__init__(space, seed)
        if initial < 2 or min(parents, candidates, every) < 1:
            raise ValueError("initial must be at least 2; parents, candidates and every at least 1")
        if not 0 <= fresh <= 1:
            raise ValueError(f"fresh must be in 0..1, not {fresh}")
        self.initial, self.parents, self.candidates = initial, parents, candidates
        self.fresh, self.every = fresh, every
        self._encoding = Encoding(space)
        self._process: GaussianProcess | None = None
        self._observed: list[tuple[Genotype, float]] = []
        self._worst = math.inf
        self._fitted = 0

    def _propose(self) -> Genotype:
        due = self._fitted + max(self.every, self._fitted // 20)
        if len(self._observed) >= max(due, self.initial // 2, 2):
            self._process, self._fitted = self._fit(), len(self._observed)
        if self._asked < self.initial or self._process is None:
            return self._first_new([self.space.sample(self.rng) for _ in range(20)])
        found = self._candidates()
        mean, deviation = self._process.predict(self._encoding.encode(found))
        drawn = mean + deviation * self.rng.standard_normal(len(found))
        return self._first_new([found[i] for i in np.argsort(-drawn, kind="stable").tolist()])

    def _candidates(self) -> list[Genotype]:
        best = [genotype for genotype, _ in _best(self._observed, self.parents)]
        fresh = round(self.fresh * self.candidates)
        found = [self.space.sample(self.rng) for _ in range(fresh)]
        for i in range(self.candidates - fresh):
            genotype = best[i % len(best)]
            edits = 1 + i // len(best) % 3  # Every parent has children of each kind.
            if edits == 3 and len(best) > 1:
                genotype = self.space.crossover(genotype, best[self.rng.integers(len(best))], self.rng)
            for _ in range(edits):
                genotype = self.space.mutate(genotype, self.rng)
            found.append(genotype)
        return found

    def _adopt(self, genotype: Genotype) -> None:
        self._proposed.add(genotype)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        value = single(reward)
        if value is None or not math.isfinite(value):
            # A failure is as bad as the worst reward so far.
            if not self._observed:
                return
            value = self._worst
        self._worst = min(self._worst, value)
        self._observed.append((proposal.genotype, value))

    def _fit(self) -> GaussianProcess:
        known = self._observed
        if len(known) > MOST_POINTS:
            half = MOST_POINTS // 2
            known = _best(known[:-half], half) + known[-half:]
        values = cut_off(np.array([value for _, value in known]))
        return fit_gaussian_process(self._encoding.encode([genotype for genotype, _ in known]), values)

    def _first_new(self, genotypes: Sequence[Genotype]) -> Genotype:
        """Returns the first genotype whose key has not been proposed, or else the first of all."""
        return next((genotype for genotype in genotypes if self._proposed.add(genotype)), genotypes[0])


def _best(observed: Sequence[tuple[Genotype, float]], count: int) -> list[tuple[Genotype, float]]:
    """Gives so many of the highest rewards, the earlier one first where they are equal."""
    return heapq.nlargest(count, observed, key=lambda pair: pair[1])


def cut_off(values: Matrix) -> Matrix:
    """Raises rewards [N] that lie far below the others, so that they do not decide what the rest looks like.

    The deviation is that of the upper half, which a few poor rewards do not move.
    """
    middle = float(np.median(values))
    above = values[values >= middle] - middle
    return values.clip(middle - LOWEST * math.sqrt(float(np.square(above).mean())), None)
