"""Policy gradient: a recurrent policy trained on the rewards of what it proposed.

REINFORCE (Zoph and Le 2017) or PPO (Schulman et al. 2017), over whatever scores have arrived: late and
out of order is the rule with many workers, and PPO's ratio accounts for the age of a proposal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from controllers.controller import Controller, Proposal, Reward, one_thread, single
from controllers.policy import Policy
from search_space import Genotype, Space

TRIES = 6
"""Draws before a key that was proposed before is proposed again; each is warmer than the one before."""
WARMER = 1.4


@dataclass(frozen=True)
class _Told:
    genotype: Genotype
    log_probability: float
    reward: float


class PolicyGradient(Controller):
    """Samples proposals from the policy, and trains it on every `batch` scores.

    Args:
        space, seed: see `Controller`.
        method: "ppo" or "reinforce".
        trials: the budget; steps and entropy bonus fall to a tenth over it.
        batch: scores of an update; None for a hundredth of the budget, from 5 to 20.
        step: learning rate of the recurrent part (Adam).
        marginal_step: learning rate of every decision's own preferences, which are learned first.
        entropy: weight of the bonus for undecided policies.
        baseline: decay of the running mean and deviation of the rewards.
        imitation: weight of the likelihood of the best proposals so far (self-imitation, Oh et al. 2018),
            which is what makes a few hundred scores enough in a large space; 0 for the plain gradient.
        elite: how many best proposals are imitated.
        fresh: whether a key that was proposed before is drawn again, which keeps a policy that has made up
            its mind from spending the budget on repetitions.
        epochs: of PPO, over the same scores.
        clip: of PPO's ratio.
        hidden: width of the policy.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        method: Literal["ppo", "reinforce"] = "ppo",
        trials: int = 300,
        batch: int | None = None,
        step: float = 0.02,
        marginal_step: float = 0.2,
        entropy: float = 0.02,
        baseline: float = 0.9,
        imitation: float = 15.0,
        elite: int = 5,
        fresh: bool = True,
        epochs: int = 4,
        clip: float = 0.2,
        hidden: int = 64,
    ) -> None:
        super().__init__(space, seed)
        if method not in ("ppo", "reinforce"):
            raise ValueError(f"method must be ppo or reinforce, not {method!r}")
        if batch is None:
            batch = max(5, min(20, trials // 100))
        if batch < 2 or trials < 1 or epochs < 1:
            raise ValueError("batch must be at least 2, trials and epochs at least 1")
        self.method, self.trials, self.batch = method, trials, batch
        self.entropy, self.baseline, self.clip = entropy, baseline, clip
        self.imitation, self.elite, self.fresh = imitation, elite, fresh
        self.epochs = epochs if method == "ppo" else 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.rng.integers(2**31)))
            self._policy = Policy(space.decisions, hidden)
        self._sampler = self._policy.sampler()
        marginal = self._policy.marginal
        others = [p for p in self._policy.parameters() if p is not marginal]
        self._optimiser = torch.optim.Adam(
            [{"params": others, "peak": step}, {"params": [marginal], "peak": marginal_step}], fused=True
        )
        self._open: dict[int, float] = {}
        self._batch: list[_Told] = []
        self._best: list[_Told] = []
        self._mean = self._square = self._weight = 0.0
        self._worst = math.inf
        self._told = 0
        self._seen: set[str] = set()

    def _propose(self) -> Genotype:
        for draw in range(TRIES if self.fresh else 1):
            genotype, log_probability = self._sampler.draw(self.rng, WARMER**draw)
            key = self.space.key(self.space.decode(genotype))
            if key not in self._seen:
                break
        self._seen.add(key)
        self._open[self._asked] = log_probability
        return genotype

    def _take_over(self, genotype: Genotype) -> None:
        self._seen.add(self.space.key(self.space.decode(genotype)))
        allowed = torch.from_numpy(self._policy.allowed_options(genotype)[None])
        with torch.inference_mode(), one_thread():
            likelihood, _ = self._policy(torch.tensor([genotype]), allowed)
        self._open[self._asked] = float(likelihood[0])

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        log_probability = self._open.pop(proposal.number, None)
        if log_probability is None:
            return
        value = single(reward)
        if value is None:
            # A failure is as bad as the worst that has been seen.
            value = self._worst
            if math.isinf(value):
                return
        self._worst = min(self._worst, value)
        self._told += 1
        self._batch.append(_Told(proposal.genotype, log_probability, value))
        if len(self._batch) >= self.batch:
            known = {t.genotype: t for t in (*self._best, *self._batch)}
            self._best = sorted(known.values(), key=lambda t: -t.reward)[: self.elite]
            with one_thread():
                self._update(self._batch)
            self._batch = []

    def _update(self, told: list[_Told]) -> None:
        advantages = torch.from_numpy(self._advantages(np.array([t.reward for t in told])))
        together = [*told, *(self._best if self.imitation else ())]
        genotypes = torch.tensor([t.genotype for t in together])
        allowed = torch.from_numpy(np.stack([self._policy.allowed_options(t.genotype) for t in together]))
        old = torch.tensor([t.log_probability for t in told])
        left = max(0.1, 1 - self._told / self.trials)
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak"] * left
        for _ in range(self.epochs):
            likelihood, entropy = self._policy(genotypes, allowed)
            current, imitated = likelihood[: len(told)], likelihood[len(told) :]
            if self.method == "ppo":
                ratio = (current - old).clamp(-10, 10).exp()
                clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
                gain = torch.minimum(ratio * advantages, clipped * advantages).mean()
            else:
                gain = (current * advantages).mean()
            if len(imitated):
                gain = gain + self.imitation * imitated.mean() / genotypes.shape[1]
            loss = -(gain + self.entropy * left * entropy[: len(told)].mean())
            self._optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._policy.parameters(), 5.0)
            self._optimiser.step()
        self._sampler = self._policy.sampler()

    def _advantages(self, rewards: NDArray[np.float64]) -> NDArray[np.float32]:
        """Rewards against their running mean, in units of their running deviation."""
        keep = self.baseline
        self._weight = keep * self._weight + 1 - keep
        self._mean = keep * self._mean + (1 - keep) * float(rewards.mean())
        self._square = keep * self._square + (1 - keep) * float((rewards**2).mean())
        mean = self._mean / self._weight
        deviation = math.sqrt(max(self._square / self._weight - mean**2, 0.0))
        return ((rewards - mean) / (deviation + 1e-8)).clip(-3, 3).astype(np.float32)
