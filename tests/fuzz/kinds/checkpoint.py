"""Checkpoints of trainings: archives of torch, loaded into a small network."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from random import Random
from typing import Any, Literal

from proxy_tasks.task import TaskFailureError
from tests.fuzz.kind import Kind
from tests.fuzz.mutation import NASTY, mutate_bytes, places_in

OPTIMIZERS: tuple[Literal["sgd"], Literal["adamw"]] = ("sgd", "adamw")


def _made(name: Literal["sgd", "adamw"]) -> Any:
    """A network with the optimizer that trains it."""
    import torch
    from torch import nn

    from proxy_tasks.engine.checkpoint import Trained
    from proxy_tasks.engine.config import TrainConfig
    from proxy_tasks.engine.optimizer import make_optimizer

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    config = TrainConfig(steps=8, batch=1, image_size=32, learning_rate=0.1, optimizer=name)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimizer = make_optimizer(net, config)
    return Trained(net=net, optimizer=optimizer, average=None, scaler=scaler)


def _update(net: Any, optimizer: Any) -> None:
    import torch

    net(torch.zeros(1, 3, 4, 4)).sum().backward()
    optimizer.step()


def _prepare(folder: Path) -> dict[str, tuple[bytes, bytes]]:
    import torch

    from proxy_tasks.engine.checkpoint import Past, save_checkpoint

    torch.set_num_threads(1)
    found: dict[str, tuple[bytes, bytes]] = {}
    for optimizer in OPTIMIZERS:
        made = _made(optimizer)
        _update(made.net, made.optimizer)  # Gives the optimizer something to remember.
        save_checkpoint(folder / "training.pt", made, Past(seed=4, losses=[2.0, 1.5], seconds=3.0))
        content = (folder / "training.pt").read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            found[optimizer] = content, archive.read(name)
    return found


def _mutate(rng: Random, material: dict[str, tuple[bytes, bytes]]) -> tuple[str, bytes]:
    optimizer = rng.choice(OPTIMIZERS)
    return optimizer, _damage(rng, *material[optimizer])


def _damage(rng: Random, content: bytes, pickled: bytes) -> bytes:
    """Damages the archive or the pickle in it, packs it anew, or saves other values in the place of ours."""
    import torch

    how = rng.randrange(4)
    if how == 0:
        return mutate_bytes(rng, content)
    if how == 1:
        return content.replace(pickled, mutate_bytes(rng, pickled)[: len(pickled)].ljust(len(pickled), b"."))
    file = io.BytesIO()
    if how == 2:
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
            compression = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
            for name in old.namelist():
                data = old.read(name) if rng.random() < 0.8 else mutate_bytes(rng, old.read(name))
                new.writestr(name, data, compression)
        return file.getvalue()
    state = torch.load(io.BytesIO(content), weights_only=True)
    if rng.random() < 0.2:
        key = rng.choice(list(state))
        state[key] = rng.choice((*NASTY, torch.zeros(3), {0: 1}, {"state": {}, "param_groups": []}))
    else:
        node, key = rng.choice(list(places_in(state)))
        node[key] = rng.choice((*NASTY, *_tensors()))
    torch.save(state, file)
    return file.getvalue()


def _tensors() -> list[Any]:
    """Tensors that a few bytes make look large, and others that fit nowhere."""
    import torch

    return [
        torch.zeros(3),
        torch.zeros(()),
        torch.zeros(0),
        torch.zeros(1).expand(10**10),
        torch.zeros(1, dtype=torch.float64).expand(4, 3, 10**9),
        torch.zeros(1, dtype=torch.complex64),
        torch.zeros(2, device="meta"),
        torch.full((4, 3, 3, 3), float("nan")),
        torch.eye(3).to_sparse(),
    ]


def _read(case: tuple[Literal["sgd", "adamw"], bytes], folder: Path) -> None:

    from proxy_tasks.engine.checkpoint import restore_checkpoint

    optimizer, content = case
    path = folder / "training.pt"
    path.write_bytes(content)
    made = _made(optimizer)
    restore_checkpoint(path, made, 4)
    _update(made.net, made.optimizer)  # What was restored can be trained on.


KIND = Kind(name="checkpoint", prepare=_prepare, mutate=_mutate, read=_read, documented=(TaskFailureError,))
