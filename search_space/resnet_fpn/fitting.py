"""The R50-FPN that costs as much as another network: a fair baseline at any size."""

from __future__ import annotations

from collections.abc import Callable

from search_space.resnet_fpn.spec import R50FPNSpec

FINEST = 512
"""Filters of the widest stage at width 1; a finer step of the width changes no filter."""

NARROWEST, WIDEST = FINEST // 64, 1000 * FINEST
"""The limits of `R50FPNSpec.width`, in steps of 1 / `FINEST`."""


def fit_r50_fpn(macs: Callable[[R50FPNSpec], float], target: float) -> R50FPNSpec:
    """Returns the R50-FPN whose multiply-adds are nearest to a number.

    Only the width of the ResNet is fitted, from 1/64 on; pyramid and head have the filters of the scale.

    Args:
        macs: computes the multiply-adds of an R50-FPN, head and pyramid included; they rise with the width.
        target: the number of multiply-adds.
    """
    low, high = NARROWEST, 2 * NARROWEST
    while high < WIDEST and macs(_at(high)) < target:
        low, high = high, min(2 * high, WIDEST)
    while high - low > 1:
        middle = (low + high) // 2
        if macs(_at(middle)) < target:
            low = middle
        else:
            high = middle
    return min(_at(low), _at(high), key=lambda spec: abs(macs(spec) - target))


def _at(step: int) -> R50FPNSpec:
    return R50FPNSpec(step / FINEST)
