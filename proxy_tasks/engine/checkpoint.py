"""Training state on the disk: written whole, restored to the last bit."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import nn

from proxy_tasks.distributed import rank_and_size
from proxy_tasks.engine.progress import forget_progress
from proxy_tasks.task import TaskFailureError
from search_space.utils.atomic_file import atomic_write
from search_space.utils.parsing import reading, shown

STATE = "training.pt"
"""Name of the file in a checkpoint folder."""


def forget_state(checkpoint: Path | None) -> None:
    """Removes the state that `fit` would go on from, and the note of its progress, once its result is safe.

    Args:
        checkpoint: the folder that was given to `fit`.
    """
    if checkpoint is not None and rank_and_size()[0] == 0:
        (checkpoint / STATE).unlink(missing_ok=True)
        forget_progress(checkpoint)


def save_checkpoint(
    path: Path, step: int, net: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None
) -> None:
    """Writes the state of a training, whole or not at all.

    Args:
        path: file to write.
        step: number of steps done.
        net, optimizer: what is trained, and how.
        average: the moving average of the network, if there is one.

    Raises:
        TaskFailureError: of the kind "infrastructure", if the file cannot be written.
    """
    state: dict[str, Any] = {"step": step, "net": net.state_dict(), "optimizer": optimizer.state_dict()}
    if average is not None:
        state["average"] = average.state_dict()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        reason = "the disk is full" if full else str(error).splitlines()[0]
        raise TaskFailureError("infrastructure", f"{path}: checkpoint not written: {reason}", step) from None


def restore_checkpoint(
    path: Path | None,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
    device: torch.device,
) -> int:
    """Loads the state that `save_checkpoint` wrote, if there is one; returns the number of steps done.

    Raises:
        TaskFailureError: of the kind "infrastructure", if the file is damaged or of another training.
    """
    if path is None or not path.is_file():
        return 0
    with reading(lambda why: TaskFailureError("infrastructure", f"{path}: no usable checkpoint: {why}")):
        check_archive(path)
        state = torch.load(path, map_location=device, weights_only=True)
        step = state["step"]
        if type(step) is not int or not 0 <= step < 2**63:
            raise ValueError(f"its step is {shown(step)}")
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
    return step


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
