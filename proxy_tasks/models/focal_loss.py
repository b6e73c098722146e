"""Focal loss (Lin et al. 2017, equation 5) on sparse targets, forward and backward in one pass.

Nearly all logits are background. Their loss needs no targets, so that no tensor of targets is made, and its
gradient follows from the same sigmoid and logarithm as the loss, so that both are computed together. The few
logits that have an object are corrected afterwards.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd import Function

BLOCK = {"cpu": 2**16}
"""Logits at a time, by device, so that what lies between stays in the processor's cache."""


def focal_loss(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    """Computes the sum of the focal losses of all logits, in float32 or, for logits of float64, in that.

    Args:
        logits: [..., classes].
        labels: [...] the class from 0 that a place has, or -1 for none.
        alpha: weight of a class that is there; the others have 1 - alpha.
        gamma: how much less those count that are nearly right; at least 0.
    """
    found: Tensor = _FocalLoss.apply(logits, labels, alpha, gamma)
    return found


class _FocalLoss(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
        flat = logits.contiguous().view(-1)
        block = BLOCK.get(flat.device.type, max(1, flat.numel()))
        wide = torch.promote_types(flat.dtype, torch.float32)
        # Background that is easy has a gradient which float16 cannot hold before the loss is scaled.
        gradient = torch.empty_like(flat, dtype=wide if flat.dtype == torch.float16 else flat.dtype)
        total = torch.zeros((), device=flat.device, dtype=wide)
        for x, out in zip(torch.split(flat, block), torch.split(gradient, block), strict=True):
            loss, slope = _focal(x.to(wide), gamma)
            total += loss.sum()
            out.copy_(slope)
        total *= 1 - alpha
        gradient *= 1 - alpha
        # Where an object is, its class's logit has another loss. With the sign turned it is the same formula.
        places = labels.clamp(min=0)[..., None]
        there = labels >= 0
        x = logits.gather(-1, places)[..., 0].to(wide)
        (wrong, wrong_slope), (right, right_slope) = _focal(x, gamma), _focal(-x, gamma)
        zero = x.new_zeros(())
        total += torch.where(there, alpha * right - (1 - alpha) * wrong, zero).sum()
        more = torch.where(there, -alpha * right_slope - (1 - alpha) * wrong_slope, zero)
        gradient = gradient.view(logits.shape)
        gradient.scatter_add_(-1, places, more[..., None].to(gradient.dtype))
        ctx.save_for_backward(gradient)
        ctx.dtype = logits.dtype
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad_output.to(gradient.dtype)).to(ctx.dtype), None, None, None


def _focal(x: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The loss p^gamma * -log(1 - p) of background and its derivative, with p = sigmoid(x)."""
    p, log = torch.sigmoid(x), F.softplus(x)
    power = p * p if gamma == 2 else p**gamma
    loss = power * log
    # d/dx = power * (gamma * (1 - p) * log + p)
    slope = (1 - p).mul_(log).mul_(gamma).add_(p).mul_(power)
    return loss, slope
