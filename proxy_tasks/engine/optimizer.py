"""Optimizer and learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from proxy_tasks.engine.config import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Gives the rate of update `step`, counted from 0."""
    share = (step + 1) / config.steps
    if share < config.warm_up:
        return config.learning_rate * share / config.warm_up
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "cosine":
        share = min(share, 1 - 0.5 / config.steps)  # Even the last update, which may be the only one, counts.
        done = max(0.0, (share - config.warm_up) / (1 - config.warm_up))
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * 0.1 ** sum(share > drop for drop in config.drops)


def make_optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Makes the optimizer of a network; kernels decay, norms and biases, which have one dimension, do not."""
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        # A short memory of squares and a floor under them: steadier over seeds in trainings of few steps.
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), eps=1e-5, fused=True)
    optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=True)
    if config.momentum:
        # Fused SGD would leave it uninitialized where its first step is skipped, as gradients are not finite.
        for p in net.parameters():
            optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return optimizer
