"""Backbones that tasks can train: each kind of spec with its network, its name and its data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from proxy_tasks.nas_fpn import NASFPN
from proxy_tasks.resnet_fpn import R50FPN, R50FPNSpec
from search_space import Scale, SpineNetSpec
from search_space.backbone import Convention, SpineNet
from search_space.merging_cells import FORMAT, MergingCellsSpec

AnySpec = SpineNetSpec | MergingCellsSpec | R50FPNSpec


def build_backbone(
    spec: AnySpec, scale: Scale, norm_momentum: float, norm_eps: float, convention: Convention = "torch"
) -> nn.Module:
    """Backbone and pyramid: images [N, 3, H, W] to an ordered dict of P3, ...

    Args:
        spec, scale: the architecture and its widths.
        norm_momentum, norm_eps: of all batch norms.
        convention: padding and pooling of a SpineNet.

    Raises:
        ValueError: if the scale leaves a block without filters.
    """
    norms = (norm_momentum, norm_eps)
    if isinstance(spec, R50FPNSpec):
        return R50FPN(spec.width, scale.endpoints, *norms)
    if isinstance(spec, MergingCellsSpec):
        return NASFPN(spec, scale.width, scale.endpoints, *norms)
    return SpineNet(spec, scale, convention=convention, norm_momentum=norm_momentum, norm_eps=norm_eps)


def backbone_name(spec: AnySpec) -> str:
    """In words, for titles."""
    if isinstance(spec, R50FPNSpec):
        return "R50-FPN"
    return "NAS-FPN" if isinstance(spec, MergingCellsSpec) else "SpineNet"


def spec_data(spec: AnySpec) -> dict[str, Any]:
    """As JSON data; `spec_from_data` reads it."""
    if isinstance(spec, R50FPNSpec):
        return {"r50_fpn": spec.width}
    found: dict[str, Any] = json.loads(spec.to_json())
    return found


def spec_from_data(data: Mapping[str, Any]) -> AnySpec:
    """The spec of JSON data.

    Raises:
        SpecError: if it is none.
    """
    if "r50_fpn" in data:
        return R50FPNSpec(data["r50_fpn"])
    if data.get("format") == FORMAT:
        return MergingCellsSpec.from_data(data)
    return SpineNetSpec.from_json(json.dumps(data))
