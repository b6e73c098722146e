"""Training state on the disk: written whole, restored to the last bit."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import nn

from proxy_tasks.distributed import from_first
from proxy_tasks.engine.memory import memory_faults
from proxy_tasks.engine.optimizer_state import restore_optimizer
from proxy_tasks.engine.state_file import STATE
from proxy_tasks.task import TaskFailureError
from search_space.utils.atomic_file import atomic_write, remove_unfinished
from search_space.utils.parsing import reading, shown

ENDINGS = (".pt", ".json", ".safetensors")
"""Of the files that a training writes whole or not at all: its state, its progress and its models."""


DAMAGED = "training.pt.damaged"
"""Name of a file of that folder from which no training could go on."""


OF_THE_DEVICE: tuple[type[Exception], ...] = tuple(
    getattr(torch, name) for name in ("OutOfMemoryError", "AcceleratorError") if hasattr(torch, name)
)
"""What torch raises where a device has too little memory or does not work."""


class DamagedCheckpointError(TaskFailureError):
    """A checkpoint that is damaged or of another training; of the kind "infrastructure"."""


def set_state_aside(checkpoint: Path) -> Path:
    """Gives a state that cannot be used another name, so that the next training begins anew; returns it.

    Args:
        checkpoint: the folder that was given to `fit`.

    Raises:
        TaskFailureError: of the kind "infrastructure", if the file cannot be renamed.
    """
    path, aside = checkpoint / STATE, checkpoint / DAMAGED
    try:
        path.replace(aside)
    except OSError as error:
        raise TaskFailureError("infrastructure", f"{path} cannot be set aside: {error.strerror}") from None
    return aside


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What changes in a training, and is kept in its checkpoints.

    Args:
        net, optimizer: what is trained, and by what.
        average: the network with averaged weights, if there is one.
        scaler: of losses in fp16; it does nothing in other precisions.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None
    scaler: torch.amp.GradScaler

    def state(self) -> dict[str, Any]:
        """Gives everything that a training goes on from, but for its losses."""
        parts: dict[str, Any] = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        parts["scaler"] = self.scaler.state_dict()
        return parts if self.average is None else {**parts, "average": self.average.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state.

        Raises:
            Exception: whatever is raised about a state that does not fit.
        """
        self.net.load_state_dict(state["net"])
        restore_optimizer(self.optimizer, state["optimizer"])
        if self.scaler.is_enabled() and state["scaler"]:  # It is empty after steps in another precision.
            self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


@dataclass(frozen=True, kw_only=True)
class Past:
    """What earlier sessions of a training have done.

    Args:
        seed: of the training.
        losses: of the steps.
        seconds: how long they took.
    """

    seed: int
    losses: Sequence[float] = ()
    seconds: float = 0.0


def save_checkpoint(path: Path, trained: Trained, past: Past) -> None:
    """Writes the state of a training, whole or not at all, and waits until the disk has it.

    Args:
        path: file to write.
        trained: what is trained.
        past: all steps done.

    Raises:
        TaskFailureError: of the kind "infrastructure", if the file cannot be written.
    """
    losses = torch.tensor(past.losses, dtype=torch.float64)
    state = {**trained.state(), "losses": losses, "seconds": past.seconds, "seed": past.seed}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial, partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        reason = "the disk is full" if full else str(error).splitlines()[0]
        raise TaskFailureError(
            "infrastructure", f"{path}: checkpoint not written: {reason}", len(past.losses)
        ) from None


def restore_checkpoint(path: Path | None, trained: Trained, seed: int) -> Past:
    """Loads the state that `save_checkpoint` wrote, if there is one; returns what has been done.

    Of several processes the first one reads the file and sends what it holds to the others: a disk may show
    them another file, or none, and they would go on from another step.

    Args:
        path: of the file; None for none.
        trained: what goes on.
        seed: of the training.

    Raises:
        DamagedCheckpointError: if the file is damaged or of another training.
        TaskFailureError: of the kind "infrastructure", if the disk cannot be read; of the kind
            "out of memory", if memory runs out.
        RuntimeError: if the device does not work; the file may be sound.
    """
    if path is None:
        return Past(seed=seed)
    found = from_first(partial(_read_state, path, seed))
    if found is None:
        return Past(seed=seed)
    with _blaming(path):
        trained.restore(found.state)
    return found.past


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """What a file holds: the state to go on from, and what earlier sessions have done."""

    state: Mapping[str, Any]
    past: Past


def _read_state(path: Path, seed: int) -> _Found | None:
    """Reads a file; None if there is none. What it raises is said in `restore_checkpoint`."""
    remove_unfinished(path.parent, ENDINGS)
    if not path.is_file():
        return None
    with _blaming(path):
        check_archive(path)
        # On the CPU, where what is wrong is wrong with the file.
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError:  # torch advises to read it all the same, which would run what it holds.
            raise ValueError("it holds something other than tensors and numbers") from None
        if state["seed"] != seed:
            raise ValueError(f"it is of a training with the seed {shown(state['seed'])}, not {seed}")
        losses = [float(loss) for loss in state["losses"].tolist()]
        if not all(map(math.isfinite, losses)):
            raise ValueError("it has losses that are not finite")
        seconds = float(state["seconds"])
        if not 0 <= seconds < math.inf:
            raise ValueError("it has seconds that are no time")
        return _Found(state=state, past=Past(seed=seed, losses=losses, seconds=seconds))


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turns what is raised about the content of a file into the errors of `restore_checkpoint`."""
    try:
        with (
            reading(
                lambda why: DamagedCheckpointError("infrastructure", f"{path}: no usable checkpoint: {why}"),
                keep=(OSError, TaskFailureError, *OF_THE_DEVICE),
            ),
            memory_faults(),
        ):
            yield
    except OSError as error:
        told = f"{path}: checkpoint not read: {error.strerror or error}"
        raise TaskFailureError("infrastructure", told) from None


def check_archive(path: Path) -> None:
    """Checks that a file is an archive as `torch.save` writes it: nothing in it is compressed.

    A few kilobytes of a compressed archive can stand for any number of gigabytes.

    Raises:
        ValueError: if it is not, or its parts are larger than the file.
        Exception: whatever the parser of archives raises.
    """
    with ZipFile(path) as archive:
        parts = archive.infolist()
    if any(part.compress_type != ZIP_STORED for part in parts):
        raise ValueError("its parts are compressed")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise ValueError("its parts are larger than the file")
