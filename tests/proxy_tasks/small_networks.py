"""Small models and networks for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from proxy_tasks.models.model import Model, build_model, find_network, numbered_categories
from proxy_tasks.models.retinanet import RetinaNet
from search_space import Block, NormConfig, Scale, SpineNetSpec, StemBlock
from search_space.heads import as_head

TINY = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=2)

SMALL = SpineNetSpec(
    stem=(StemBlock(2), StemBlock(2)),
    blocks=(
        Block(4, "residual", (0, 1)),
        Block(3, "bottleneck", (1, 2), output=True),
        Block(5, "bottleneck", (2, 3), output=True),
        Block(4, "bottleneck", (3, 4), output=True),
        Block(6, "residual", (4, 5), output=True),
        Block(7, "bottleneck", (5, 6), output=True),
    ),
)
"""Six blocks instead of SpineNet-49's fifteen, which goes up and down, with both kinds and all outputs."""


def small_model(head: Any = "retinanet", classes: int = 3, size: int = 128, **changes: Any) -> Model:
    """A model of a small spec; `head` is settings or a name."""
    settings: dict[str, Any] = {"spec": SMALL, "scale": TINY, "image_size": size} | changes
    return Model(head=as_head(head), categories=numbered_categories(classes), **settings)


def small_network(head: Any = "retinanet", classes: int = 3, **changes: Any) -> nn.Module:
    """The untrained network of such a model."""
    return build_model(small_model(head, classes, **changes))


def sure_retinanet(size: int = 128, **changes: Any) -> tuple[Model, RetinaNet]:
    """One with weights and statistics of a network that has seen something and is sure of some objects."""
    torch.manual_seed(0)
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
    model = small_model("retinanet", 3, size, **{"scale": scale, **changes})
    net = build_model(model)
    assert isinstance(net, RetinaNet)
    with torch.no_grad():
        for _ in range(3):
            net.outputs(torch.randn(4, 3, 128, 128))
        net.class_tower.predict.weight.normal_(std=0.3)  # type: ignore[operator]
        net.class_tower.predict.bias.fill_(-1.0)  # type: ignore[operator]
    return model, net.eval()


def head_on(backbone: Any, head: Any, classes: int, scale: Scale) -> nn.Module:
    """The network of a head on a backbone that is there already."""
    settings = as_head(head)
    network: Any = find_network(settings)
    made: nn.Module = network(
        backbone=backbone, classes=classes, head=settings, scale=scale, norm=NormConfig(), separable=False
    )
    return made
