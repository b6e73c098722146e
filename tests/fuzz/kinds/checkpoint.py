"""Checkpoints of trainings: archives of torch, loaded into a small network."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from random import Random
from typing import Any

from proxy_tasks.task import TaskFailureError
from tests.fuzz.kind import Kind
from tests.fuzz.mutation import NASTY, mutate_bytes


def _net() -> tuple[Any, Any]:
    import torch
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return net, torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)


def _prepare(folder: Path) -> tuple[bytes, bytes]:
    import torch

    from proxy_tasks.engine.checkpoint import save_checkpoint

    torch.set_num_threads(1)
    net, optimizer = _net()
    save_checkpoint(folder / "training.pt", 7, net, optimizer, None)
    content = (folder / "training.pt").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return content, archive.read(name)


def _mutate(rng: Random, material: tuple[bytes, bytes]) -> bytes:
    """Damages the archive or the pickle in it, packs it anew, or saves other values in the place of ours."""
    import torch

    content, pickled = material
    how = rng.randrange(4)
    if how == 0:
        return mutate_bytes(rng, content)
    if how == 1:
        return content.replace(pickled, mutate_bytes(rng, pickled)[: len(pickled)].ljust(len(pickled), b"."))
    file = io.BytesIO()
    if how == 2:
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
            for name in old.namelist():
                data = old.read(name) if rng.random() < 0.8 else mutate_bytes(rng, old.read(name))
                new.writestr(
                    name, data, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
                )
        return file.getvalue()
    state = torch.load(io.BytesIO(content), weights_only=True)
    key = rng.choice(list(state))
    state[key] = rng.choice((*NASTY, torch.zeros(3), {0: 1}, {"state": {}, "param_groups": []}))
    torch.save(state, file)
    return file.getvalue()


def _read(case: bytes, folder: Path) -> None:
    import torch

    from proxy_tasks.engine.checkpoint import restore_checkpoint

    path = folder / "training.pt"
    path.write_bytes(case)
    net, optimizer = _net()
    restore_checkpoint(path, net, optimizer, None, torch.device("cpu"))


KIND = Kind(name="checkpoint", prepare=_prepare, mutate=_mutate, read=_read, documented=(TaskFailureError,))
