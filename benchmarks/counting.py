"""Counting parameters and multiply-adds of any module by running it without data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from proxy_tasks.models.detector import HasOutputs


def count_cost(net: nn.Module, size: int) -> tuple[int, int]:
    """Parameters, and multiply-adds of all convolutions, of a module on the meta device.

    Args:
        net: built under torch.device("meta"); takes [N, 3, H, W]. Of a network with raw outputs those are
            counted, as the selection of boxes needs data.
        size: input side in pixels.
    """
    macs = 0

    def count(module: nn.Module, _inputs: object, out: Tensor) -> None:
        nonlocal macs
        assert isinstance(module, nn.Conv2d)
        macs += module.weight.numel() * out.shape[2] * out.shape[3]

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    run: Callable[[Tensor], object] = net.outputs if isinstance(net, HasOutputs) else net
    training = net.training
    net.eval()
    with torch.no_grad():
        run(torch.empty(1, 3, size, size, device="meta"))
    net.train(training)
    for hook in hooks:
        hook.remove()
    return sum(p.numel() for p in net.parameters()), macs
