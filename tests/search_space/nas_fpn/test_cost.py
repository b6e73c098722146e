"""The arithmetic of NAS-FPN, with torch as the judge."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from search_space import SCALES, MergingCellSpace, MergingCellsSpec, NormConfig, Scale, ScaleError, spec_cost
from search_space.nas_fpn.spec import NAS_FPN
from tests.search_space.counting import counted_macs, counted_params, kept_for_backward

SMALL = Scale(width=0.125, endpoints=8)
SIZES = [(128, 128), (96, 224), (33, 129), (100, 75)]


def small_specs(count: int) -> list[MergingCellsSpec]:
    space, rng = MergingCellSpace(layers=(1, 2, 1, 1), stacks=2), np.random.default_rng(0)
    published = replace(NAS_FPN, layers=space.layers, stacks=space.stacks)
    return [published, *(space.decode(space.sample(rng)) for _ in range(count))]


def test_the_published_network_has_the_published_cost() -> None:
    """With a RetinaNet of 91 classes at 640 px; `search_space.nas_fpn.backbone` names the difference."""
    cost = spec_cost(NAS_FPN, SCALES["49"], 640, "retinanet", 91)
    assert cost.params == pytest.approx(60.3e6, rel=0.005)
    assert cost.macs == pytest.approx(140.6e9, rel=0.005)
    # Every cell of every stack has a 3x3 convolution with batch norm, at the size of its level.
    alone, fewer = (spec_cost(replace(NAS_FPN, stacks=n), SCALES["49"], 640) for n in (7, 6))
    places = sum((640 // 2**cell.level) ** 2 for cell in NAS_FPN.cells)
    assert alone.params - fewer.params == 7 * (9 * 256 * 256 + 2 * 256)
    assert alone.macs - fewer.macs == 9 * 256 * 256 * places


@pytest.mark.parametrize("size", SIZES)
def test_cost_is_what_torch_counts(size: tuple[int, int]) -> None:
    for spec in small_specs(6):
        with torch.device("meta"):
            net = spec.build(SMALL, norm=NormConfig()).eval()
            images = torch.empty(1, 3, *size)
        cost = spec_cost(spec, SMALL, size)
        assert counted_params(net) == cost.params
        assert counted_macs(net, partial(net, images)) == cost.macs == cost.executed_macs


@pytest.mark.parametrize("size", SIZES)
def test_activation_memory_is_what_autograd_keeps(size: tuple[int, int]) -> None:
    for spec in small_specs(6):
        net = spec.build(SMALL, norm=NormConfig()).train()
        kept = kept_for_backward(net, partial(net, torch.randn(2, 3, *size)))
        assert kept == 2 * spec_cost(spec, SMALL, size).activation_bytes, spec


def test_parts_add_up_and_follow_the_data() -> None:
    cost = spec_cost(NAS_FPN, SCALES["49"], 640, "retinanet")
    names = [part.name for part in cost.parts]
    stages, pyramid = [f"stage {i}" for i in range(1, 5)], ["P3", "P4", "P5", "P6", "P7"]
    assert names == ["stem conv", *stages, *pyramid, *(f"stack {i}" for i in range(1, 8)), "head"]
    for field in ("params", "macs", "executed_macs", "activation_bytes"):
        assert sum(getattr(part, field) for part in cost.parts) == getattr(cost, field)


def test_a_width_without_filters_is_refused() -> None:
    with pytest.raises(ScaleError, match="without filters"):
        spec_cost(NAS_FPN, Scale(width=0.01))
    with pytest.raises(ScaleError, match="without filters"):
        NAS_FPN.build(Scale(width=0.01), norm=NormConfig())
