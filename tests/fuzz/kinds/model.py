"""Model files: their header, their description and their tensors; loaded, and shown as a card."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from random import Random

from proxy_tasks.models.model import ModelError
from search_space.spinenet.spec import Block, SpineNetSpec, StemBlock
from tests.fuzz.kind import Kind
from tests.fuzz.mutation import dumps, mutate_bytes, mutate_data

FEW_BLOCKS = SpineNetSpec(
    stem=(StemBlock(level=2), StemBlock(level=2)),
    blocks=tuple(
        Block(level=level, kind=kind, parents=(0, 1), output=True)
        for level, kind in (
            (3, "bottleneck"),
            (4, "residual"),
            (5, "bottleneck"),
            (6, "residual"),
            (7, "bottleneck"),
        )
    ),
)
"""A spec of outputs alone: its network is built in a moment."""


def _prepare(folder: Path) -> list[bytes]:
    import torch

    import proxy_tasks.models.fcos
    import proxy_tasks.models.mask_rcnn  # noqa: F401
    from proxy_tasks.models.model import build_model
    from proxy_tasks.models.model_file import save_model
    from search_space.resnet_fpn.spec import R50FPNSpec
    from tests.proxy_tasks.small_networks import small_model

    torch.set_num_threads(1)
    _skip_first_values()
    training = {
        "config": "seed: 0\n",
        "seed": 0,
        "step": 10,
        "origin": "here",
        "metrics": {"AP": 0.1},
        "versions": {"python": "3.11"},
    }
    found = []
    heads = ("retinanet", "fcos", "mask-rcnn", "classifier")
    for spec, head in ((R50FPNSpec(width=1 / 32), "retinanet"), *((FEW_BLOCKS, head) for head in heads)):
        model = small_model(head, size=64, spec=spec)
        save_model(folder / "m.safetensors", model, build_model(model), training)
        found.append((folder / "m.safetensors").read_bytes())
    return found


def _skip_first_values() -> None:
    """Leaves new layers without random values in this process.

    A file's tensors take their place anyhow, and drawing them takes half of the time of a case.
    """
    from torch import nn

    for name in ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "trunc_normal_"):
        setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def _mutate(rng: Random, files: list[bytes]) -> bytes:
    """Changes the bytes of a file, the entries of its header, or the description in there."""
    content = rng.choice(files)
    how = rng.randrange(10)
    if how == 0:
        return mutate_bytes(rng, content)
    (length,) = struct.unpack("<Q", content[:8])
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    if how == 1:
        text = dumps(mutate_data(rng, header))
    elif how == 2:
        header["__metadata__"] = mutate_data(rng, header["__metadata__"])
        text = dumps(header)
    else:
        info = json.loads(header["__metadata__"]["info"])
        part = rng.choice(("model", "model", "training", "scale", "spec", "head"))
        if part in info:
            info[part] = mutate_data(rng, info[part])
        else:
            info["model"][part] = mutate_data(rng, info["model"][part])
        header["__metadata__"]["info"] = dumps(info)
        text = json.dumps(header)
    data: bytes = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(data)) + data + rest


def _read(case: bytes, folder: Path) -> None:
    from nas.training.model_card import card
    from proxy_tasks.models.model_file import load_model

    path = folder / "m.safetensors"
    path.write_bytes(case)
    model, _, training = load_model(path)
    card(model, training)


KIND = Kind(name="model", prepare=_prepare, mutate=_mutate, read=_read, documented=(ModelError,))
