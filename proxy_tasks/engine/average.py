"""Exponential moving average of a network's weights and statistics."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_average(net: nn.Module, decay: float) -> AveragedModel:
    """Makes the moving average of a network; its `module` is the network to evaluate.

    Args:
        net: whose weights the average begins with.
        decay: weight of the old average in the end; it is less in the first updates.
    """
    average = AveragedModel(net, multi_avg_fn=moving_average(decay), use_buffers=True)
    # The initial weights are the first that are averaged. Without this the first update would replace them.
    average.n_averaged.fill_(1)
    return average.requires_grad_(False)


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Gives an update for `AveragedModel` whose decay warms up: n / (9 + n) until that reaches `decay`."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            n = float(count)
            average = get_ema_multi_avg_fn(min(decay, n / (9 + n)))  # type: ignore[no-untyped-call]
            average(averaged, current, count)
        else:  # Counters have no average.
            for ours, theirs in zip(averaged, current, strict=True):
                ours.copy_(theirs)

    return update
