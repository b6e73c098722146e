"""One update of a policy by REINFORCE (Williams 1992) or PPO (Schulman et al. 2017), as a function.

The names are those of the papers: the surrogate is what is maximized, the ratio is the probability of a
proposal under the present policy over that under the policy that proposed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from controllers.policy import Policy
from search_space.utils.validation import Above, AtLeast, validate

MAX_GRADIENT_NORM = 5.0
MAX_LOG_RATIO = 10.0


@dataclass(frozen=True, kw_only=True)
class UpdateSettings:
    """How a policy is updated.

    Args:
        method: the surrogate: "ppo" clips the ratio, "reinforce" weighs log-probabilities.
        epochs: steps of the optimizer over the same batch.
        clip: how far PPO's ratio may be from 1 before it earns no more.
        entropy_coef: weight of the mean entropy of the policy's decisions, a bonus.
        imitation_coef: weight of the mean log-probability of one decision of the elite; 0 for no imitation.
    """

    method: Literal["ppo", "reinforce"]
    epochs: Annotated[int, AtLeast(1)]
    clip: Annotated[float, Above(0)]
    entropy_coef: Annotated[float, AtLeast(0)]
    imitation_coef: Annotated[float, AtLeast(0)]

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What an update learns from: N proposals with their advantages, and E elite proposals to imitate.

    Args:
        genotypes: [N + E, D], the proposals before the elite.
        allowed: [N + E, D, width], see `Policy.allowed_options`.
        log_probs: [N], of each proposal under the policy that proposed it, at temperature 1.
        advantages: [N].
    """

    genotypes: Tensor
    allowed: Tensor
    log_probs: Tensor
    advantages: Tensor


@dataclass(frozen=True, kw_only=True)
class UpdateDiagnostics:
    """What the last step of an update saw, before it changed the policy.

    Args:
        loss: what was minimized.
        surrogate: what REINFORCE or PPO maximizes, without the entropy bonus and imitation.
        entropy: mean entropy of the policy's decisions on the way to the proposals, in nats.
        approx_kl: estimate of the divergence of the present policy from those that proposed, in nats
            (Schulman 2020: mean of ratio - 1 - log ratio, never below 0). It also grows with the age of the
            proposals.
        clip_fraction: share of the proposals whose ratio is clipped, from 0 to 1; 0 for REINFORCE.
        gradient_norm: norm of the gradient before it was clipped.
    """

    loss: float
    surrogate: float
    entropy: float
    approx_kl: float
    clip_fraction: float
    gradient_norm: float


def update_policy(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: UpdateSettings,
    annealing: float = 1.0,
) -> UpdateDiagnostics:
    """Trains the policy on a batch; nothing but the policy and the optimizer changes.

    Args:
        policy: the policy, whose parameters are changed.
        optimizer: the optimizer of its parameters, with its learning rates set.
        batch: what is learned from.
        settings: how.
        annealing: factor of the entropy bonus, which falls over a search.
    """
    count, depth = len(batch.advantages), batch.genotypes.shape[1]
    for _ in range(settings.epochs):
        log_probs, entropies = policy(batch.genotypes, batch.allowed)
        log_ratio = (log_probs[:count] - batch.log_probs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        if settings.method == "ppo":
            surrogate = clipped_surrogate(log_ratio.exp(), batch.advantages, settings.clip)
        else:
            surrogate = (log_probs[:count] * batch.advantages).mean()
        gain = surrogate
        if len(log_probs) > count:
            gain = gain + settings.imitation_coef * log_probs[count:].mean() / depth
        entropy = entropies[:count].mean()
        loss = -(gain + settings.entropy_coef * annealing * entropy)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
    with torch.no_grad():
        ratio = log_ratio.exp()
        clipped = (ratio - 1).abs() > settings.clip
        return UpdateDiagnostics(
            loss=float(loss),
            surrogate=float(surrogate),
            entropy=float(entropy),
            approx_kl=float((ratio - 1 - log_ratio).mean()),
            clip_fraction=float(clipped.float().mean()) if settings.method == "ppo" else 0.0,
            gradient_norm=float(norm),
        )


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's surrogate: the mean of the smaller of ratio * advantage with and without clipping the ratio.

    Args:
        ratio, advantages: [N].
        clip: how far the ratio may be from 1.
    """
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
