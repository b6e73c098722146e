"""Predictor search: an ensemble learns the rewards, and the candidate with the best forecast is proposed.

After BANANAS (White et al. 2021): candidates are mutations of the best so far, and independent Thompson
sampling picks among them. Genotypes are encoded by the labels of their answers. The training of the ensemble
continues from where it was instead of starting anew, which keeps an ask in milliseconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from controllers.controller import Controller, Proposal, Reward, one_thread, single
from search_space import Genotype, Space
from search_space.decisions import Decisions


class PredictorSearch(Controller):
    """Proposes the mutation of a good genotype for which the score drawn from the ensemble is highest.

    Args:
        space, seed: see `Controller`.
        initial: random proposals before the ensemble is asked.
        parents: how many of the best genotypes so far are mutated.
        candidates: mutations among which one is picked.
        every: rewards between two trainings of the ensemble; a fortieth of all rewards once that is more.
        steps: updates of a training.
        members: networks of the ensemble.
        hidden: width of their two hidden layers.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        *,
        initial: int = 20,
        parents: int = 10,
        candidates: int = 100,
        every: int = 6,
        steps: int = 55,
        members: int = 5,
        hidden: int = 48,
    ) -> None:
        super().__init__(space, seed)
        if min(initial, members) < 2 or min(parents, candidates, every, steps, hidden) < 1:
            raise ValueError("initial and members must be at least 2, the other numbers at least 1")
        self.initial, self.parents, self.candidates = initial, parents, candidates
        self.every, self.steps = every, steps
        self._encoding = Encoding(space.decisions)
        generator = torch.Generator().manual_seed(int(self.rng.integers(2**31)))
        self._ensemble = Ensemble(self._encoding.width, members, hidden, generator)
        self._optimizer = torch.optim.AdamW(
            self._ensemble.parameters(), lr=0.01, weight_decay=0.01, fused=True
        )
        self._observed: list[tuple[Genotype, float]] = []
        self._fitted = 0

    def _propose(self) -> Genotype:
        if self._asked < self.initial or not self._fitted:
            return self._first_new([self.space.sample(self.rng) for _ in range(20)])
        best = sorted(self._observed, key=lambda observed: -observed[1])[: self.parents]
        found = []
        for i in range(self.candidates):
            genotype = best[i % len(best)][0]
            for _ in range(1 + i % 3):
                genotype = self.space.mutate(genotype, self.rng)
            found.append(genotype)
        with torch.inference_mode(), one_thread():
            scores = self._ensemble(self._encoding.encode(found)).double().numpy()
        drawn = scores.mean(0) + scores.std(0) * self.rng.standard_normal(len(found))
        return self._first_new([found[i] for i in np.argsort(-drawn, kind="stable").tolist()])

    def _adopt(self, genotype: Genotype) -> None:
        self._proposed.add(genotype)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        value = single(reward)
        if value is None:
            # A failure is as bad as the worst reward so far.
            if not self._observed:
                return
            value = min(observed[1] for observed in self._observed)
        self._observed.append((proposal.genotype, value))
        due = self._fitted + max(self.every, self._fitted // 40)
        if len(self._observed) >= max(due, self.initial // 2):
            with one_thread():
                self._fit()
            self._fitted = len(self._observed)

    def _fit(self) -> None:
        """Trains every member on batches of its own, on rewards of mean 0 and deviation 1."""
        values = np.array([value for _, value in self._observed])
        spread = float(values.std()) or 1.0
        # How far a poor reward lies below the rest should not take up the networks' capacity.
        targets = torch.from_numpy(((values - values.mean()) / spread).clip(-2, None).astype(np.float32))
        inputs = self._encoding.encode([genotype for genotype, _ in self._observed])
        members, count = self._ensemble.members, len(values)
        for _ in range(self.steps):
            chosen = torch.from_numpy(self.rng.integers(count, size=(members, min(count, 64))))
            loss = (self._ensemble(inputs[chosen]) - targets[chosen]).square().mean(1).sum()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def _first_new(self, genotypes: Sequence[Genotype]) -> Genotype:
        """Returns the first genotype whose key has not been proposed, or else the first of all."""
        return next((genotype for genotype in genotypes if self._proposed.add(genotype)), genotypes[0])


class Encoding:
    """Encodes a genotype as a number for every label of every decision: 1 for the answer's label, else 0.

    Args:
        decisions: the decisions of the space.

    Attributes:
        width: how many numbers encode a genotype.
    """

    def __init__(self, decisions: Decisions) -> None:
        self.width = 0
        # One row for each decision, one column for each option: the position of its label.
        self._positions = np.zeros((len(decisions), max(len(d.labels) for d in decisions)), np.int64)
        for row, decision in zip(self._positions, decisions, strict=True):
            names = {name: i for i, name in enumerate(dict.fromkeys(decision.labels))}
            row[: len(decision.labels)] = [self.width + names[label] for label in decision.labels]
            self.width += len(names)

    def encode(self, genotypes: Sequence[Genotype]) -> Tensor:
        """Encodes N genotypes as [N, width]."""
        positions = self._positions[np.arange(len(self._positions)), np.array(genotypes)]
        encoded = np.zeros((len(genotypes), self.width), np.float32)
        encoded[np.arange(len(genotypes))[:, None], positions] = 1
        return torch.from_numpy(encoded)


class Ensemble(nn.Module):
    """Networks of two hidden layers, computed side by side.

    Args:
        width: width of the encoding.
        members: how many networks.
        hidden: width of their hidden layers.
        generator: draws the first weights.
    """

    def __init__(self, width: int, members: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.members = members
        sizes = [width, hidden, hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in itertools.pairwise(sizes):
            drawn = torch.randn(members, before, after, generator=generator)
            self.weights.append(nn.Parameter(drawn / math.sqrt(before if before != width else 16)))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, after)))

    def forward(self, x: Tensor) -> Tensor:
        """Gives scores [members, N] for inputs [N, width], or [members, N, width] for their own inputs."""
        x = x.expand(self.members, -1, -1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if i < len(self.weights) - 1:
                x = torch.relu(x)
        return x[..., 0]
