"""The activation memory of whole detectors, with torch as the judge."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from proxy_tasks.models import Model, build_model
from proxy_tasks.models.mask_rcnn import MaskRCNN
from proxy_tasks.models.model import numbered_categories
from search_space import HEADS, MergingCellsSpec, R50FPNSpec, Scale, Spec, published_spec, spec_cost
from search_space.heads import MASK_BOX_SIDE, MASK_SIDE, MASKS, PROPOSALS, mask_heads
from search_space.nas_fpn.spec import NAS_FPN, MergingCell
from tests.search_space.counting import kept_for_backward

SCALE = Scale(width=0.125, endpoints=6, head_filters=5, head_convs=2)
NAS_FPN_OF_TWO = replace(NAS_FPN, layers=(1, 1, 1, 1), stacks=2)
SPECS: dict[str, Spec] = {
    "spinenet": published_spec("spinenet-49"),
    "mobile": published_spec("mobile-spinenet-49"),
    "nas-fpn": NAS_FPN_OF_TWO,
    # P3 goes into a max-pool of the last stack, which keeps it.
    "nas-fpn that keeps P3": MergingCellsSpec(
        tuple(
            MergingCell(level, "sum", (parent, other))
            for level, parent, other in ((3, 0, 1), (4, 5, 2), (5, 5, 3), (6, 4, 2), (7, 0, 4))
        ),
        layers=(1, 1, 1, 1),
        stacks=1,
    ),
    "r50-fpn": R50FPNSpec(0.0625),
}


def network(spec: Spec, scale: Scale, head: str) -> nn.Module:
    categories = numbered_categories(3)
    model = Model(spec=spec, scale=scale, head=HEADS[head](), categories=categories, image_size=128)
    return build_model(model).train()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("activation", ["relu", "swish"])
@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_a_head_keeps_the_pyramid_that_its_convolutions_read(name: str, activation: str, head: str) -> None:
    spec = SPECS[name]
    scale = replace(SCALE, activation=activation, width=1.0 if name == "mobile" else SCALE.width)  # type: ignore[arg-type]
    net, images = network(spec, scale, head), torch.randn(2, 3, 96, 128)
    kept = kept_for_backward(net, partial(net.outputs, images))  # type: ignore[operator, misc, arg-type]
    assert kept == 2 * spec_cost(spec, scale, (96, 128), head, 3).activation_bytes


def test_towers_without_convolutions_keep_the_pyramid_too() -> None:
    spec, scale = SPECS["r50-fpn"], replace(SCALE, head_convs=0)
    net, images = network(spec, scale, "retinanet"), torch.randn(2, 3, 96, 128)
    kept = kept_for_backward(net, partial(net.outputs, images))  # type: ignore[operator, misc, arg-type]
    assert kept == 2 * spec_cost(spec, scale, (96, 128), "retinanet", 3).activation_bytes


@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_mask_rcnn_keeps_the_pyramid_and_the_regions_cut_out_of_it(activation: str) -> None:
    """Its heads have ReLU at any scale. Torch runs them on as many regions as the figures count."""
    scale = replace(SCALE, activation=activation)  # type: ignore[arg-type]
    spec = SPECS["spinenet"]
    net = network(spec, scale, "mask-rcnn")
    assert isinstance(net, MaskRCNN)

    def run() -> list[Tensor]:
        pyramid = net.backbone(torch.randn(1, 3, 256, 256))
        regions, masks = (
            torch.randn(count, scale.endpoints, side, side, requires_grad=True)
            for count, side in ((PROPOSALS, MASK_BOX_SIDE), (MASKS, MASK_SIDE))
        )
        scores, offsets = net.proposals.head(list(pyramid.values()))
        boxes = net.heads.box_predictor(net.heads.box_head(regions))
        return [*scores, *offsets, *boxes, net.heads.mask_predictor(net.heads.mask_head(masks))]

    hidden = 2 * 4 * PROPOSALS * mask_heads(scale)[2]  # Input of the norm and output of ReLU have two axes.
    kept = kept_for_backward(net, run)  # type: ignore[arg-type]
    assert kept + hidden == spec_cost(spec, scale, 256, "mask-rcnn", 3).activation_bytes
