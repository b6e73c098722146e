"""Training: one flat loop over steps, whatever the network and its loss.

Everything random in a step follows from (seed, step), so that a checkpoint holds weights and optimiser
state only, and a resumed training is the same to the last bit on a CPU. Over several processes each takes
its share of every batch.
"""

from __future__ import annotations

import copy
import errno
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proxy_tasks.batches import Augmentation
from proxy_tasks.distributed import rank_and_size, summed, synchronised
from proxy_tasks.task import TaskFailureError
from search_space.whole_file import whole_file

LOG = logging.getLogger(__name__)
LOG_SECONDS = 10.0
"""How often a training tells where it is."""


@dataclass(frozen=True)
class Plan:
    """How a detector is trained.

    Args:
        steps: number of updates.
        batch: images an update, over all processes.
        canvas: side of the square input in pixels.
        learning_rate: peak.
        warm_up: share of the steps over which the rate rises linearly.
        schedule: "cosine" to zero, or "step" with a factor of 0.1 at each of `drops`.
        drops: shares of the steps.
        optimiser: "sgd" with momentum, as in the paper, or "adamw", which learns sooner in short trainings.
        momentum: of SGD.
        weight_decay: of the optimiser; norms and biases do not decay.
        clip: largest global norm of the gradient.
        ema: decay of the averaged weights that are evaluated; 0 evaluates the weights themselves.
        augmentation: how images vary.
        precision: "fp32", or "bf16" for autocast.
        checkpoint_every: steps between checkpoints.
    """

    steps: int
    batch: int
    canvas: int
    learning_rate: float
    warm_up: float = 0.05
    schedule: Literal["cosine", "step"] = "cosine"
    drops: Sequence[float] = ()
    optimiser: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 4e-5
    clip: float = 10.0
    ema: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("canvas", 32), ("checkpoint_every", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"plan.{name} must be a whole number of at least {least}, not {value!r}")
        for name, low, high in (
            ("learning_rate", 0, math.inf),
            ("warm_up", 0, 1),
            ("momentum", 0, 1),
            ("weight_decay", 0, math.inf),
            ("clip", 0, math.inf),
            ("ema", 0, 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ValueError(f"plan.{name} must be a number in {low}..{high}, not {value!r}")
        if self.warm_up == 1 or self.clip == 0:
            raise ValueError("plan.warm_up must be below 1, and plan.clip above 0")
        if not all(isinstance(drop, (int, float)) and 0 < drop < 1 for drop in self.drops):
            raise ValueError(f"plan.drops must be shares of the steps, in 0..1, not {list(self.drops)}")
        for name, known in (
            ("schedule", ("cosine", "step")),
            ("optimiser", ("sgd", "adamw")),
            ("precision", ("fp32", "bf16")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"plan.{name} must be {' or '.join(known)}, not {getattr(self, name)!r}")


def learning_rate(plan: Plan, step: int) -> float:
    """The rate of update `step`, counted from 0."""
    share = (step + 1) / plan.steps
    if share < plan.warm_up:
        return plan.learning_rate * share / plan.warm_up
    if plan.schedule == "cosine":
        share = min(share, 1 - 0.5 / plan.steps)  # Even the last update, which may be the only one, counts.
        done = max(0.0, (share - plan.warm_up) / (1 - plan.warm_up))
        return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return plan.learning_rate * 0.1 ** sum(share > drop for drop in plan.drops)


def images_of_step(count: int, batch: int, seed: int, step: int) -> list[int]:
    """Images of a step: every image once in each pass, batches running on over the end of a pass."""
    chosen: list[int] = []
    position = step * batch
    while len(chosen) < batch:
        order = np.random.default_rng((seed, position // count)).permutation(count)
        start = position % count
        part = order[start : start + batch - len(chosen)].tolist()
        chosen += part
        position += len(part)
    return chosen


LossOf = Callable[[nn.Module, list[int], NDArray[np.float64]], Tensor]
"""The loss of (network, numbers of images, [N, 4] chances in [0, 1) for their augmentation)."""


OnStep = Callable[[int, float, float], None]
"""Told (steps done, loss, learning rate) after every step."""


def train(
    net: nn.Module,
    images: int,
    loss_of: LossOf,
    plan: Plan,
    seed: int,
    device: torch.device,
    after_step: Callable[[int, nn.Module, float], None] | None = None,
    checkpoint: Path | None = None,
) -> nn.Module:
    """Trains a network and returns the network to evaluate: the averaged one if the plan wants it.

    Args:
        net: on the device.
        images: number of training images.
        loss_of: what is minimised; over several processes its mean is the loss of the whole batch.
        plan: how.
        seed: of batches and augmentation.
        device: where.
        after_step: told (steps done, network to evaluate, loss).
        checkpoint: file to keep the state in, and to go on from if it is there.

    Raises:
        TaskFailureError: if the loss is not finite, memory runs out, or the checkpoint cannot be written.
    """
    rank, processes = rank_and_size()
    if plan.batch % processes:
        raise ValueError(f"batch {plan.batch} cannot be shared by {processes} processes")
    parallel = net if processes == 1 else synchronised(net, device)
    optimiser = _optimiser(net, plan)
    average = copy.deepcopy(net).requires_grad_(False) if plan.ema else net
    done = _restore(checkpoint, net, optimiser, average, device)
    if done > plan.steps:
        raise ValueError(f"{checkpoint} holds {done} steps; the plan has only {plan.steps}")
    net.train()
    log = _ProgressLog(plan, done)
    for step in range(done, plan.steps):
        if not net.training:  # An evaluation was in between; to walk over all modules takes a while.
            net.train()
        torch.manual_seed(((seed * 1_000_003 + step) * 1009 + rank) % 2**63)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(plan, step)
        try:
            loss = _step(parallel, optimiser, images, loss_of, plan, seed, step)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise TaskFailureError("out of memory", f"out of memory: {error}", step) from None
        except RuntimeError as error:
            if "DefaultCPUAllocator" in str(error):
                raise TaskFailureError("out of memory", f"out of memory: {error}", step) from None
            raise
        if not math.isfinite(loss):
            raise TaskFailureError("diverged", f"the loss is {loss}", step)
        if plan.ema:
            _average(average, net, plan.ema, step)
        log.after_step(step + 1, loss)
        if after_step is not None:
            after_step(step + 1, average, loss)
        last = step + 1 == plan.steps
        if checkpoint is not None and rank == 0 and ((step + 1) % plan.checkpoint_every == 0 or last):
            _save(checkpoint, step + 1, net, optimiser, average)
    return average


def mixed(plan: Plan, device: torch.device) -> torch.autocast:
    """The plan's precision, for the forward pass."""
    return torch.autocast(device.type, torch.bfloat16, enabled=plan.precision == "bf16")


class _ProgressLog:
    """Tells now and then where a training is."""

    def __init__(self, plan: Plan, done: int) -> None:
        self.plan, self.first, self.started = plan, done, time.monotonic()
        self.due = self.started + LOG_SECONDS

    def after_step(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if now < self.due and step < self.plan.steps:
            return
        self.due = now + LOG_SECONDS
        rate = (step - self.first) / max(now - self.started, 1e-9)
        left = (self.plan.steps - step) / rate
        LOG.info(
            "step %d/%d, loss %.4f, %.1f images/s, %.0f s left",
            step,
            self.plan.steps,
            loss,
            rate * self.plan.batch,
            left,
        )


def _step(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: int,
    loss_of: LossOf,
    plan: Plan,
    seed: int,
    step: int,
) -> float:
    """One update; returns the loss of the whole batch."""
    rank, processes = rank_and_size()
    share = slice(rank * plan.batch // processes, (rank + 1) * plan.batch // processes)
    chosen = images_of_step(images, plan.batch, seed, step)[share]
    draws = np.random.default_rng((seed, step, 1)).random((plan.batch, 4))[share]
    loss = loss_of(net, chosen, draws)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
    value = float(summed(loss.detach())) / processes
    if math.isfinite(value) and bool(torch.isfinite(norm)):
        optimiser.step()
        return value
    return math.nan


def _optimiser(net: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """Kernels decay; norms and biases, which have one dimension, do not."""
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": kernels, "weight_decay": plan.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if plan.optimiser == "adamw":
        # A short memory of squares and a floor under them: steadier over seeds in trainings of few steps.
        return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.99), eps=1e-5, fused=True)
    return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum, fused=True)


@torch.no_grad()
def _average(average: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and statistics, quicker at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    ours: list[Tensor] = []
    theirs: list[Tensor] = []
    for a, b in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if a.is_floating_point():
            ours.append(a)
            theirs.append(b)
        else:
            a.copy_(b)
    torch._foreach_lerp_(ours, theirs, 1 - decay)


def _save(
    path: Path, step: int, net: nn.Module, optimiser: torch.optim.Optimizer, average: nn.Module
) -> None:
    state = {
        "step": step,
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average.state_dict(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        reason = "the disk is full" if full else str(error).splitlines()[0]
        raise TaskFailureError("infrastructure", f"{path}: checkpoint not written: {reason}", step) from None


def _restore(
    path: Path | None,
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module,
    device: torch.device,
) -> int:
    """Loads the state if there is one; returns the steps done."""
    if path is None or not path.is_file():
        return 0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, KeyError, ValueError, EOFError, OSError, UnpicklingError) as error:
        reason = str(error).splitlines()[0][:200]
        raise TaskFailureError("infrastructure", f"{path}: no usable checkpoint: {reason}") from None
    return int(state["step"])
