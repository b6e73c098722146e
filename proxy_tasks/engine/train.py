"""Training: one flat loop over steps, whatever the network.

Everything random in a step follows from (seed, step), so that a checkpoint holds weights, optimizer state and
losses only, and a resumed training is the same to the last bit on a CPU. Over several processes each takes
its share of every batch. The host hands work to the device and waits for it only now and then, see
`proxy_tasks.engine.loss_log`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from proxy_tasks.data.batches import Batch, Batches
from proxy_tasks.distributed import all_reduce_sum, rank_and_size, wrap_ddp
from proxy_tasks.engine.average import BATCHES, WeightAverage, measure_statistics
from proxy_tasks.engine.batch_stream import BatchStream
from proxy_tasks.engine.checkpoint import Past, Trained, restore_checkpoint, save_checkpoint
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.loss_log import LossLog
from proxy_tasks.engine.memory import memory_faults
from proxy_tasks.engine.optimizer import learning_rate, make_optimizer
from proxy_tasks.engine.precision import Precision, resolve_precision
from proxy_tasks.engine.progress import ProgressRecorder
from proxy_tasks.task import TaskFailureError
from search_space.utils.parsing import shown

SECONDS = "training_seconds"
"""Metric of a training's time."""

LEAST_SCALE = 2.0**-10
"""Scale of fp16 losses below which a training has diverged; it begins at 2 ** 16 and mostly stays above 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What a network is trained on, and how.

    Args:
        batches: of the training images.
        config: how the network is trained.
        steps: number of updates; those of the configuration, unless its schedule has no end.
        seed: decides about batches and augmentation.
        checkpoint: file that holds the state of a training, to go on from if it is there; None keeps none.
    """

    batches: Batches
    config: TrainConfig
    steps: int
    seed: int
    checkpoint: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is trained."""
        return self.batches.device


class TrainingObserver(Protocol):
    """Follows a training. What it raises ends the training."""

    def on_losses(self, step: int, losses: Sequence[float]) -> None:
        """Receives the number of steps done, and the losses of the last ones, now and then."""

    def wants(self, step: int) -> bool:
        """Says whether `on_network` is to be called after this number of steps."""

    def on_network(self, step: int, net: nn.Module, losses: Mapping[str, float]) -> None:
        """Receives the number of steps done, the network to evaluate, and `LossLog.means`."""


def train(
    net: nn.Module, training: Training, observer: TrainingObserver | None = None
) -> tuple[nn.Module, dict[str, float]]:
    """Trains a network; returns the network to evaluate, its mean losses and "training_seconds".

    The network to evaluate is the averaged one if the configuration says so. Means are those of
    `LossLog.means`; seconds are those of all sessions, without steps that were lost to a kill.

    Args:
        net: on the device; in training mode it gives losses, see `proxy_tasks.models.detector`.
        training: what it is trained on, and how.
        observer: follows the training.

    Raises:
        TaskFailureError: if the loss is not finite, memory runs out, or the checkpoint cannot be written.
        ValueError: if the processes cannot share a batch, or the checkpoint has more steps than wanted.
    """
    started = time.perf_counter()
    config, checkpoint, device = training.config, training.checkpoint, training.device
    rank, processes = rank_and_size()
    if config.batch % processes:
        raise ValueError(f"batch {config.batch} cannot be shared by {processes} processes")
    precision = resolve_precision(config.precision, device)
    with memory_faults():
        parallel = net if processes == 1 else wrap_ddp(net, device)
        average = WeightAverage(net, config.average) if config.average else None
        optimizer = make_optimizer(net, config)
    trained = Trained(
        net=net,
        optimizer=optimizer,
        average=None if average is None else average.module,
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),
    )

    def to_evaluate(step: int) -> nn.Module:
        """Gives the network that is evaluated after `step` steps; its statistics are of the first batches."""
        if average is None:
            return net
        own = BatchStream(training.batches, config, training.seed).steps(0, min(BATCHES, step))
        torch.manual_seed(training.seed)
        with memory_faults():
            measure_statistics(average.module, partial(batch_loss, average.module, precision), own)
        return average.module

    past = restore_checkpoint(checkpoint, trained, training.seed)
    done = len(past.losses)

    def seconds() -> float:
        return past.seconds + time.perf_counter() - started

    if done > training.steps:
        raise ValueError(f"{checkpoint} holds {done} steps; train.steps is only {training.steps}")
    log = LossLog(past.losses, training.steps, device)
    net.train()
    progress = ProgressRecorder(
        steps=training.steps,
        batch=config.batch,
        done=done,
        before=past.seconds,
        folder=None if checkpoint is None or rank else checkpoint.parent,
    )
    if 0 < done < training.steps and observer is not None and observer.wants(done):
        # Whether the report that followed the checkpoint has arrived cannot be known.
        observer.on_network(done, to_evaluate(done), log.means())
    stream = BatchStream(training.batches, config, training.seed).steps(done, training.steps)
    with closing(stream) as batches:
        for step in range(done, training.steps):
            if not net.training:  # An evaluation was in between; to walk over all modules takes a while.
                net.train()
            torch.manual_seed(((training.seed * 1_000_003 + step) * 1009 + rank) % 2**63)
            rate = learning_rate(config, step)
            for group in trained.optimizer.param_groups:
                group["lr"] = rate
            with memory_faults(step):
                log.write(update(parallel, trained, config, precision, next(batches)))
            if average is not None:
                average.update(step + 1)
            last = step + 1 == training.steps
            wanted = observer is not None and observer.wants(step + 1)
            saves = (step + 1) % config.checkpoint_every == 0 or last or wanted
            saves = saves and checkpoint is not None
            if last or saves or wanted or log.due:
                new = log.update()
                check_scale(trained.scaler, step + 1)
                if observer is not None:
                    observer.on_losses(step + 1, new)
            progress.after_step(step + 1, log.read[-1] if log.read else None, rate)
            if checkpoint is not None and saves and rank == 0:
                save_checkpoint(
                    checkpoint, trained, Past(seed=training.seed, losses=log.read, seconds=seconds())
                )
                progress.after_save(step + 1)
            if observer is not None and wanted:
                # It may pause the training, which then goes on from this very step.
                observer.on_network(step + 1, to_evaluate(step + 1), log.means())
    return to_evaluate(training.steps), {**log.means(), SECONDS: seconds()}


def update(
    net: nn.Module, trained: Trained, config: TrainConfig, precision: Precision, batch: Batch
) -> Tensor:
    """Does one update and returns the loss of the whole batch; where that is not finite, weights stay.

    Args:
        net: in training mode; the network itself, or wrapped for several processes.
        trained: the network with its optimizer.
        config: how the network is trained.
        precision: of the forward pass.
        batch: this process's share.
    """
    optimizer, scaler = trained.optimizer, trained.scaler
    loss = batch_loss(net, precision, batch)
    optimizer.zero_grad()
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(trained.net.parameters(), config.clip)
    value = all_reduce_sum(loss.detach()) / rank_and_size()[1]
    if (
        not scaler.is_enabled()
    ):  # In fp16 a gradient that is too large is no fault: the scaler leaves out the step.
        value = torch.where(norm.isfinite(), value, torch.nan)
        # The optimizer looks at this flag on the device, as it does for a scaler.
        optimizer.found_inf = (~value.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.grad_scale = None  # type: ignore[attr-defined]
    scaler.step(optimizer)
    scaler.update()
    return value


def check_scale(scaler: torch.amp.GradScaler, step: int) -> None:
    """Checks that fp16 gradients are finite now and then. The scaler halves its scale each time they are not.

    Args:
        scaler: of the losses; in other precisions there is nothing to check.
        step: number of steps done, for the message.

    Raises:
        TaskFailureError: of the kind "diverged", if hardly any step of the last ones changed a weight.
    """
    if scaler.is_enabled() and scaler.get_scale() < LEAST_SCALE:
        raise TaskFailureError(
            "diverged", "in fp16 the gradients are not finite, however small the loss", step
        )


def batch_loss(net: nn.Module, precision: Precision, batch: Batch) -> Tensor:
    """Computes the sum of a network's losses on a batch.

    Args:
        net: in training mode.
        precision: of the forward pass.
        batch: on the network's device.

    Raises:
        ValueError: if the batch is one image so small that a batch norm has one value to normalize.
        TaskFailureError: if the network gives something else than its losses.
    """
    try:
        with autocast(precision, batch.images.device):
            losses: object = net(batch.images, batch.targets)
    except ValueError as error:
        if len(batch.images) > 1 or not str(error).startswith("Expected more than 1 value per channel"):
            raise
        height, width = batch.images.shape[-2:]
        raise ValueError(
            f"train.batch: one image of {width} x {height} pixels leaves a batch norm of the coarsest level "
            "one value, which it cannot normalize; use a batch of at least 2, or a train.image_size above 128"
        ) from None
    if not isinstance(losses, Mapping) or not losses or not all(map(_is_loss, losses.values())):
        inner = net.module if isinstance(net, nn.parallel.DistributedDataParallel) else net
        raise TaskFailureError(
            "error",
            f"in training, {type(inner).__name__}.forward must give the losses by name, each a tensor of one "
            f"value, not {_describe(losses)}",
        )
    return torch.stack([value.reshape(()) for value in losses.values()]).sum()


def _is_loss(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1


def _describe(losses: object) -> str:
    """Says what stands in the place of losses: of many, the first that is none."""
    if not isinstance(losses, Mapping):
        return f"a {type(losses).__name__}"
    wrong = [(name, value) for name, value in losses.items() if not _is_loss(value)]
    if not wrong:
        return f"an empty {type(losses).__name__}"
    name, value = wrong[0]
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return f"{{{shown(name)}: a {type(value).__name__}{shape}}}"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Gives the context that runs a forward pass in a precision."""
    kind = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=precision != "fp32")
