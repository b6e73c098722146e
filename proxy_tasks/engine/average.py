"""Averaged weights: the network that is evaluated, while the other one goes on learning.

The average is taken over a share of the steps so far, so that it means the same at any length: weights of
step t count as t^k, with k + 1 = 1 / share (Karras et al. 2024, section 3.1). A training at a constant rate
has a score worth comparing at every step that way, and need not know where it ends.

Batch norms of averaged weights need statistics of their own: those that the training keeps belong to other
weights. They are measured on training batches before each evaluation (Izmailov et al. 2018, section 3.2).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Sample = TypeVar("Sample")

BATCHES = 16
"""Training batches on which statistics are measured; fewer if a training has had fewer steps."""


class WeightAverage:
    """The average of a network's weights over its training.

    Args:
        net: whose weights are averaged.
        share: of the steps so far that the average reaches back, above 0 and at most 1.

    Attributes:
        module: the network with the averaged weights.
    """

    def __init__(self, net: nn.Module, share: float) -> None:
        self.share = share
        self.module = copy.deepcopy(net).requires_grad_(False)
        self._averaged, self._current = list(self.module.parameters()), list(net.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the network's weights after a step.

        Args:
            step: number of steps done, from 1; the first weights that are taken in replace the initial ones.
        """
        weight = 1 - (1 - 1 / step) ** (1 / self.share)
        averaged: list[Tensor] = list(self._averaged)
        torch._foreach_lerp_(averaged, list(self._current), weight)


@torch.no_grad()
def measure_statistics(
    net: nn.Module, forward: Callable[[Sample], object], batches: Iterable[Sample]
) -> None:
    """Measures the statistics of a network's batch norms anew: their plain means over batches.

    Args:
        net: is in training mode afterwards.
        forward: passes a batch through the network.
        batches: at least one.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
    net.train()
    for number, batch in enumerate(batches, 1):
        # Without a momentum, each norm would read on the host how many batches it has seen.
        for norm in norms:
            norm.momentum = 1 / number
        forward(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
