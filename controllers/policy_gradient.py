"""Policy gradient: a recurrent policy trained on the rewards of what it proposed.

REINFORCE (Zoph and Le 2017) or PPO (Schulman et al. 2017), over whatever rewards have arrived: late and
out of order is the rule with many workers, and PPO's ratio accounts for the age of a proposal.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from controllers.controller import Controller, Proposal, Reward, one_thread, single
from controllers.outliers import floor
from controllers.policy import Policy
from controllers.policy_update import Batch, UpdateDiagnostics, UpdateSettings, update_policy
from search_space import Genotype, Space
from search_space.utils.validation import Above, AtLeast, Below, checked

MAX_RESAMPLES = 6
"""Draws before a key that was proposed before is proposed again; each is flatter than the one before."""


TEMPERATURE_STEP = 1.4
"""Factor of the temperature from one of these draws to the next."""


MOST_RAISED = 20.0
"""Most by which the learning rates grow for a short search."""


MIN_ANNEALING = 0.1
"""Part of the learning rates and of the entropy bonus that is left at the end of the budget."""


LOWEST = 10.0
"""Rewards are cut off at this number of deviations below the median of a batch: one reward that
diverged would hide the others for hundreds of batches."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Observation:
    genotype: Genotype
    log_prob: float
    reward: float


class PolicyGradient(Controller):
    """Samples proposals from a policy, and trains it whenever `batch` rewards have come.

    Args:
        space, seed: see `Controller`.
        method: "ppo" or "reinforce".
        trials: the budget, over which the learning rates and the entropy bonus fall to a tenth.
        batch: rewards of an update; None for a hundredth of the budget, from 5 to 20.
        learning_rate: of the recurrent part (Adam).
        marginal_learning_rate: of every decision's own preferences, which are learned first.
        tuned_for: the budget that both rates are meant for. With fewer trials they are larger in proportion,
            up to 20 times. None leaves them as they are.
        entropy_coef: weight of the bonus for undecided policies.
        baseline_decay: decay of the running mean and deviation of the rewards, from 0 to 1.
        imitation_coef: weight of the log-probability of the best proposals so far (self-imitation, Oh et
            al. 2018), which is what makes a few hundred rewards enough in a large space; 0 for the plain
            gradient.
        elite_size: how many best proposals are imitated.
        deduplicate: whether a key that was proposed before is drawn again, which keeps a policy that has
            made up its mind from spending the budget on repetitions. It is drawn from a flatter policy, and
            counts in the updates as if the policy itself had proposed it.
        epochs: PPO's steps over the same rewards; REINFORCE makes one.
        clip: how far PPO's ratio may be from 1.
        hidden: width of the policy.

    Attributes:
        diagnostics: of the last update; None before the first.
        variant: the method, which tells searches apart in reports.
    """

    diagnostics: UpdateDiagnostics | None = None

    @checked
    def __init__(
        self,
        space: Space,
        seed: int = 0,
        *,
        method: Literal["ppo", "reinforce"] = "ppo",
        trials: Annotated[int, AtLeast(1)] = 300,
        batch: Annotated[int, AtLeast(2)] | None = None,
        learning_rate: Annotated[float, Above(0)] = 0.02,
        marginal_learning_rate: Annotated[float, Above(0)] = 0.2,
        tuned_for: Annotated[int, AtLeast(1)] | None = None,
        entropy_coef: Annotated[float, AtLeast(0)] = 0.02,
        baseline_decay: Annotated[float, AtLeast(0), Below(1)] = 0.9,
        imitation_coef: Annotated[float, AtLeast(0)] = 15.0,
        elite_size: Annotated[int, AtLeast(1)] = 5,
        deduplicate: bool = True,
        epochs: Annotated[int, AtLeast(1)] = 4,
        clip: Annotated[float, Above(0)] = 0.2,
        hidden: Annotated[int, AtLeast(1)] = 64,
    ) -> None:
        super().__init__(space, seed)
        if batch is None:
            batch = max(5, min(20, trials // 100))
        raised = 1.0 if tuned_for is None else min(MOST_RAISED, max(1.0, tuned_for / trials))
        self.trials, self.batch, self.variant = trials, batch, method
        self.elite_size, self.deduplicate = elite_size, deduplicate
        self.settings = UpdateSettings(
            method=method,
            epochs=epochs if method == "ppo" else 1,
            clip=clip,
            entropy_coef=entropy_coef,
            imitation_coef=imitation_coef,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.rng.integers(2**31)))
            self._policy = Policy(space.decisions, hidden)
        self._sampler = self._policy.sampler()
        marginal = self._policy.marginal
        others = [p for p in self._policy.parameters() if p is not marginal]
        self._optimizer = torch.optim.Adam(
            [
                {"params": others, "peak": raised * learning_rate},
                {"params": [marginal], "peak": raised * marginal_learning_rate},
            ],
            fused=True,
        )
        self._baseline = MovingBaseline(baseline_decay)
        self._log_probs: dict[int, float] = {}
        self._batch: list[_Observation] = []
        self._elite: list[_Observation] = []
        self._worst = math.inf
        self._observed = 0

    def _propose(self) -> Genotype:
        for draw in range(MAX_RESAMPLES if self.deduplicate else 1):
            genotype, log_prob = self._sampler.draw(self.rng, TEMPERATURE_STEP**draw)
            if self._proposed.add(genotype):
                break
        self._log_probs[self._asked] = log_prob
        return genotype

    def _adopt(self, genotype: Genotype) -> None:
        self._proposed.add(genotype)
        self._log_probs[self._asked] = self._log_prob(genotype)

    def _log_prob(self, genotype: Genotype) -> float:
        """The log-probability of a genotype that the policy has not drawn."""
        allowed = torch.from_numpy(self._policy.allowed_options(genotype)[None])
        with torch.inference_mode(), one_thread():
            log_probs, _ = self._policy(torch.tensor([genotype]), allowed)
        return float(log_probs[0])

    def recall(self, proposal: Proposal) -> None:
        """Takes a recorded proposal in the place of the latest one; see `Recalls`."""
        self._proposed.replace_latest(proposal.genotype)
        self._log_probs[proposal.number] = self._log_prob(proposal.genotype)

    def take_back(self, proposal: Proposal) -> None:
        """Learns to avoid a proposal that is not evaluated; the budget is for others; see `TakesBack`."""
        self._observe(proposal, None)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        self._observed += proposal.number in self._log_probs
        self._observe(proposal, reward)

    def _observe(self, proposal: Proposal, reward: Reward) -> None:
        log_prob = self._log_probs.pop(proposal.number, None)
        if log_prob is None:
            return
        value = single(reward)
        if value is None:
            # A failure is as bad as the worst reward so far.
            value = self._worst
            if math.isinf(value):
                return
        self._worst = min(self._worst, value)
        self._batch.append(_Observation(proposal.genotype, log_prob, value))
        if len(self._batch) >= self.batch:
            known = {o.genotype: o for o in (*self._elite, *self._batch)}
            self._elite = sorted(known.values(), key=lambda o: -o.reward)[: self.elite_size]
            with one_thread():
                self._update()
            self._batch = []

    def _update(self) -> None:
        annealing = max(MIN_ANNEALING, 1 - self._observed / self.trials)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * annealing
        batch = self._collate()
        self.diagnostics = update_policy(self._policy, self._optimizer, batch, self.settings, annealing)
        self._sampler = self._policy.sampler()
        log.debug("update after %d rewards: %s", self._observed, self.diagnostics)

    def _collate(self) -> Batch:
        rewards = np.array([o.reward for o in self._batch])
        advantages = self._baseline.advantages(np.fmax(rewards, floor(rewards, LOWEST)))
        elite = self._elite if self.settings.imitation_coef else []
        genotypes = [o.genotype for o in (*self._batch, *elite)]
        return Batch(
            genotypes=torch.tensor(genotypes),
            allowed=torch.from_numpy(np.stack([self._policy.allowed_options(g) for g in genotypes])),
            log_probs=torch.tensor([o.log_prob for o in self._batch]),
            advantages=torch.from_numpy(advantages),
        )


class MovingBaseline:
    """Running mean and deviation of the rewards, corrected for their start at 0 as in Adam.

    Args:
        decay: share of the past that remains at every batch, from 0 to below 1.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._weight = self._mean = self._square = 0.0

    def advantages(self, rewards: NDArray[np.float64]) -> NDArray[np.float32]:
        """Adds a batch of rewards [N]; returns them against the mean, in units of the deviation, cut at 3."""
        keep = self.decay
        self._weight = keep * self._weight + 1 - keep
        self._mean = keep * self._mean + (1 - keep) * float(rewards.mean())
        self._square = keep * self._square + (1 - keep) * float((rewards**2).mean())
        mean = self._mean / self._weight
        deviation = math.sqrt(max(self._square / self._weight - mean**2, 0.0))
        return ((rewards - mean) / (deviation + 1e-8)).clip(-3, 3).astype(np.float32)
