"""Predictor search: a Gaussian process learns the rewards, and the most promising candidate is proposed.

After BANANAS (White et al. 2021): candidates come mostly from the best so far, and independent Thompson
sampling picks among them. What was measured of short trainings counts too; see `controllers.posterior`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated

import numpy as np

from controllers.controller import Controller, Proposal, Reward, single
from controllers.evidence import REWARD, Evidence, LearnsFromEvidence, Length, Prior
from controllers.level import PRIOR_SLOPE
from controllers.posterior import LOSSES, Posterior
from search_space import Genotype, Space
from search_space.encoding import Matrix
from search_space.utils.validation import AtLeast, AtMost, checked

MAX_RESAMPLES = 1000
"""Random draws before a limit counts as too narrow."""


class PredictorSearch(Controller, LearnsFromEvidence):
    """Proposes the candidate for which the score drawn from the Gaussian process is highest.

    Of the candidates, a share is random; the others are mutations of the genotypes of which most is expected,
    every third one of a child of two of them.

    Args:
        space, seed: see `Controller`.
        trials: number of proposals that are expected, which decides how many are random at first.
        initial: random proposals before the process is asked; None for a third of the trials, from 5 to 20.
        parents: how many genotypes are mutated.
        candidates: among which one is picked.
        fresh: share of random ones among them.
        losses: metrics that are evidence beside the reward, where the task has them; smaller ones are better.

    Raises:
        ValueError: if a number is out of its range.
    """

    @checked
    def __init__(
        self,
        space: Space,
        seed: int = 0,
        *,
        trials: Annotated[int, AtLeast(1)] = 60,
        initial: Annotated[int, AtLeast(2)] | None = None,
        parents: Annotated[int, AtLeast(1)] = 10,
        candidates: Annotated[int, AtLeast(1)] = 100,
        fresh: Annotated[float, AtLeast(0), AtMost(1)] = 0.2,
        losses: Sequence[str] = LOSSES,
    ) -> None:
        super().__init__(space, seed)
        if initial is None:
            initial = min(20, max(5, trials // 3))
        self.initial, self.parents, self.candidates, self.fresh = initial, parents, candidates, fresh
        self._prior: Prior | None = None
        self._posterior = Posterior(space, losses)
        self._limit: Callable[[Genotype], bool] = lambda _: True
        self._parents: list[Genotype] = []
        self._taken_back = 0

    def take_prior(self, prior: Prior) -> None:
        """Begins with what the prior likes, and learns from the rewards how much it is worth."""
        self._prior, self._posterior = prior, Posterior(self.space, self._posterior.losses, prior)

    def limit(self, passes: Callable[[Genotype], bool]) -> None:
        """Proposes only what passes from now on, as long as something does."""
        self._limit = passes
        self._initial = deque(filter(passes, self._initial))

    def _propose(self) -> Genotype:
        known = self._posterior
        if known.has_news and known.trainings >= max(2, self.initial // 2) and known.fit():
            self._parents = self._choose_parents()
        if self._asked - self._taken_back < self.initial or not self._parents:
            return self._first_new(self._beginning())
        found = self._candidates()
        mean, deviation = self._posterior.predict(found)
        drawn = mean + deviation * self.rng.standard_normal(len(found))
        return self._first_new(self._best_first(found, drawn))

    def _beginning(self) -> Iterator[Genotype]:
        """Random genotypes; with a prior, those come first of which a score drawn from it is high."""
        if self._prior is None:
            return self._best_first([], np.zeros(0))
        found = [self.space.sample(self.rng) for _ in range(self.candidates)]
        drawn = PRIOR_SLOPE * self._prior([self.space.decode(genotype) for genotype in found])
        drawn = drawn + math.sqrt(1 - PRIOR_SLOPE**2) * self.rng.standard_normal(len(found))
        return self._best_first(found, drawn)

    def _best_first(self, candidates: Sequence[Genotype], scores: Matrix) -> Iterator[Genotype]:
        """The candidates, and then random genotypes, which are needed if none of the candidates is new."""
        yield from (candidates[place] for place in np.argsort(-scores, kind="stable").tolist())
        yield from (self.space.sample(self.rng) for _ in range(MAX_RESAMPLES))

    def _choose_parents(self) -> list[Genotype]:
        """The genotypes of the trainings of which most is expected, each once."""
        expected = self._posterior.expect(own=True)
        ranked = sorted(expected, key=lambda number: (-expected[number], number))
        genotypes = dict.fromkeys(self._posterior.genotype(number) for number in ranked)
        return list(genotypes)[: self.parents]

    def _candidates(self) -> list[Genotype]:
        best = self._parents
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

    def recall(self, proposal: Proposal) -> None:
        """Takes a recorded proposal in the place of the latest one; see `Recalls`."""
        self._proposed.replace_latest(proposal.genotype)

    def take_back(self, proposal: Proposal) -> None:
        """Learns nothing from a proposal that is not evaluated; see `TakesBack`."""
        self._taken_back += 1

    def learn_evidence(self, proposal: Proposal, evidence: Evidence) -> None:
        """Learns from what was measured of a proposal; see `LearnsFromEvidence`."""
        self._posterior.add(proposal.number, proposal.genotype, evidence)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        value = single(reward)
        if value is None:
            self._posterior.add_failure(proposal.number, proposal.genotype)
        elif not self._posterior.knows(proposal.number):
            evidence = Evidence(length=Length(proposal.fidelity or 1.0), metrics={REWARD: value})
            self.learn_evidence(proposal, evidence)

    def _first_new(self, genotypes: Iterable[Genotype]) -> Genotype:
        """Returns the first genotype within the limit whose key has not been proposed.

        If there is none, it is the first within the limit, or else the first of all.
        """
        first = allowed = None
        for genotype in genotypes:
            first = genotype if first is None else first
            if not self._limit(genotype):
                continue
            allowed = genotype if allowed is None else allowed
            if self._proposed.add(genotype):
                return genotype
        found = first if allowed is None else allowed
        assert found is not None
        return found
