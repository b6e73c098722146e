"""Training: one flat loop over steps, whatever the network.

Everything random in a step follows from (seed, step), so that a checkpoint holds weights and optimizer
state only, and a resumed training is the same to the last bit on a CPU. Over several processes each takes
its share of every batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proxy_tasks.data.pixel_cache import PixelCache
from proxy_tasks.data.transforms import Batch, training_batch
from proxy_tasks.distributed import all_reduce_sum, rank_and_size, wrap_ddp
from proxy_tasks.engine.average import make_average
from proxy_tasks.engine.checkpoint import restore_checkpoint, save_checkpoint
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.optimizer import learning_rate, make_optimizer
from proxy_tasks.engine.progress import ProgressRecorder
from proxy_tasks.task import TaskFailureError


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a network is trained on, and how.

    Args:
        images: the training images.
        config: how the network is trained.
        seed: decides about batches and augmentation.
        device: where the network is.
        checkpoint: file that holds the state of a training, to go on from if it is there; None keeps none.
    """

    images: PixelCache
    config: TrainConfig
    seed: int
    device: torch.device
    checkpoint: Path | None = None


AfterStep = Callable[[int, nn.Module, float], None]
"""Is called after every step with the number of steps done, the network to evaluate, and the loss."""


def train(net: nn.Module, training: Training, after_step: AfterStep | None = None) -> nn.Module:
    """Trains a network and returns the network to evaluate: the averaged one if the configuration says so.

    Args:
        net: on the device; in training mode it gives losses, see `proxy_tasks.models.detector`.
        training: what it is trained on, and how.
        after_step: see `AfterStep`; what it raises ends the training.

    Raises:
        TaskFailureError: if the loss is not finite, memory runs out, or the checkpoint cannot be written.
    """
    config, checkpoint = training.config, training.checkpoint
    rank, processes = rank_and_size()
    if config.batch % processes:
        raise ValueError(f"batch {config.batch} cannot be shared by {processes} processes")
    parallel = net if processes == 1 else wrap_ddp(net, training.device)
    optimizer = make_optimizer(net, config)
    average = make_average(net, config.ema) if config.ema else None
    done = restore_checkpoint(checkpoint, net, optimizer, average, training.device)
    if done > config.steps:
        raise ValueError(f"{checkpoint} holds {done} steps; train.steps is only {config.steps}")
    result: nn.Module = net if average is None else average.module
    net.train()
    progress = ProgressRecorder(config, done, None if checkpoint is None or rank else checkpoint.parent)
    for step in range(done, config.steps):
        if not net.training:  # An evaluation was in between; to walk over all modules takes a while.
            net.train()
        torch.manual_seed(((training.seed * 1_000_003 + step) * 1009 + rank) % 2**63)
        rate = learning_rate(config, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        try:
            loss = update(parallel, optimizer, training, step)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise TaskFailureError("out of memory", f"out of memory: {error}", step) from None
        except RuntimeError as error:
            if "DefaultCPUAllocator" in str(error):
                raise TaskFailureError("out of memory", f"out of memory: {error}", step) from None
            raise
        if not math.isfinite(loss):
            raise TaskFailureError("diverged", f"the loss is {loss}", step)
        if average is not None:
            average.update_parameters(net)
        progress.after_step(step + 1, loss, rate)
        if after_step is not None:
            after_step(step + 1, result, loss)
        last = step + 1 == config.steps
        if checkpoint is not None and rank == 0 and ((step + 1) % config.checkpoint_every == 0 or last):
            save_checkpoint(checkpoint, step + 1, net, optimizer, average)
    return result


def update(net: nn.Module, optimizer: torch.optim.Optimizer, training: Training, step: int) -> float:
    """Does one update and returns the loss of the whole batch; where that is not finite, weights stay.

    Args:
        net: in training mode.
        optimizer: of the network.
        training: what the network is trained on, and how.
        step: number of the update, from 0.
    """
    config = training.config
    rank, processes = rank_and_size()
    share = slice(rank * config.batch // processes, (rank + 1) * config.batch // processes)
    images = images_of_step(len(training.images), config.batch, training.seed, step)[share]
    noise = np.random.default_rng((training.seed, step, 1)).random((config.batch, 4))[share]
    loss = batch_loss(net, training, images, noise)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(net.parameters(), config.clip)
    value = float(all_reduce_sum(loss.detach())) / processes
    if math.isfinite(value) and bool(torch.isfinite(norm)):
        optimizer.step()
        return value
    return math.nan


def batch_loss(net: nn.Module, training: Training, images: list[int], noise: NDArray[np.float64]) -> Tensor:
    """Computes the sum of a network's losses on a batch.

    Args:
        net: in training mode.
        training: what the network is trained on, and how.
        images: numbers of the images, N.
        noise: [N, 4] in [0, 1), which decides how the images are augmented.
    """
    config, device = training.config, training.device
    batch = training_batch(training.images, images, config.image_size, config.augmentation, noise, device)
    with autocast(config, device):
        losses: Mapping[str, Tensor] = net(batch.images, make_targets(batch))
    return torch.stack(list(losses.values())).sum()


def make_targets(batch: Batch) -> list[dict[str, Tensor]]:
    """Gives the objects of each image as networks take them, see `proxy_tasks.models.detector.Target`."""
    targets = [
        {"boxes": boxes, "labels": labels} for boxes, labels in zip(batch.boxes, batch.labels, strict=True)
    ]
    for target, masks in zip(targets, batch.masks, strict=False):  # Data without masks has an empty list.
        target["masks"] = masks
    return targets


def images_of_step(count: int, batch: int, seed: int, step: int) -> list[int]:
    """Chooses the images of a step: every image once in each pass, batches running on over the end of a pass.

    Args:
        count: number of training images.
        batch: images a step.
        seed: of the order.
        step: number of the step, from 0.
    """
    chosen: list[int] = []
    position = step * batch
    while len(chosen) < batch:
        order = np.random.default_rng((seed, position // count)).permutation(count)
        start = position % count
        part = order[start : start + batch - len(chosen)].tolist()
        chosen += part
        position += len(part)
    return chosen


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Gives the context that runs a forward pass in the configured precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
