"""What torch counts of a network that really runs: the judge of every cost that arithmetic gives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn


def counted_macs(net: nn.Module, run: Callable[[], object]) -> int:
    """Multiply-adds of all convolutions that really run."""
    total = 0

    def count(module: nn.Conv2d, _: object, out: Tensor) -> None:
        nonlocal total
        total += module.weight.numel() * out.shape[2] * out.shape[3]

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    run()
    for hook in hooks:
        hook.remove()
    return total


def without_norms(net: nn.Module) -> nn.Module:
    """Lets norms give back what they get.

    They change no shape and are not counted, and on the meta device they take most of the time.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = _unchanged  # type: ignore[method-assign, assignment]
    return net


def _unchanged(x: Tensor) -> Tensor:
    return x


def counted_params(net: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in net.parameters())


def kept_for_backward(net: nn.Module, run: Callable[[], OrderedDict[str, Tensor]]) -> int:
    """Bytes of the feature maps that autograd holds on to, each storage counted once."""
    own = {t.untyped_storage().data_ptr() for t in (*net.parameters(), *net.buffers())}
    kept: dict[int, int] = {}
    holders = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.dim() == 4:
            kept[storage.data_ptr()] = storage.nbytes()
            holders.append(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        pyramid = run()
    assert pyramid
    return sum(kept.values())
