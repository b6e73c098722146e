"""What a training's network costs, and whether it can be compared with SpineNet-49 at the same scale."""

from __future__ import annotations

from dataclasses import replace

from nas.utils.terminal import amount
from proxy_tasks.models.model import Model, model_cost
from search_space import R50FPNSpec, published_spec
from search_space.resnet_fpn.fitting import fit_r50_fpn

ALIKE = 1.5
"""Up to this factor two networks count as equally large."""


def describe_size(model: Model, source: str) -> list[str]:
    """Lines about the size of a network: its own, and how far it is from SpineNet-49's.

    Args:
        model: what is trained.
        source: what the user calls the spec.

    Raises:
        ValueError: if the scale leaves a block without filters.
    """
    params, macs = model_cost(model)
    size = model.image_size
    lines = [
        f"network: {params / 1e6:.3g} M parameters, {amount(macs)} multiply-adds for an image of {size} px"
    ]
    _, reference = model_cost(replace(model, spec=published_spec("spinenet-49")))
    if reference / ALIKE <= macs <= ALIKE * reference:
        return lines
    ratio = f"{macs / reference:.3g} times" if macs > reference else f"1/{reference / macs:.3g} of"
    line = f"note: these are {ratio} the multiply-adds of spinenet-49 at this scale ({amount(reference)})"
    if isinstance(model.spec, R50FPNSpec):
        fitted = fit_r50_fpn(lambda spec: float(model_cost(replace(model, spec=spec))[1]), reference)
        line += (
            f": the width of the scale does not apply to {source}, whose own width is {model.spec.width:g}. "
            f"At width {fitted.width:g} it is as large; nas versus compares networks of equal size"
        )
    lines.append(line)
    return lines
