"""Towers of 3x3 convolutions that the levels of a pyramid share, with batch norms for every level.

RetinaNet and FCOS predict with them.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from proxy_tasks.models.detector import Backbone
from search_space import NormConfig, Scale

PRIOR = 0.01
"""Class probability that an untrained network predicts."""


class Tower(nn.Module):
    """Shared convolutions, batch norms by level, and a predictor.

    Args:
        backbone: whose pyramid is looked at.
        outputs: numbers that are predicted at every place.
        scale: gives the width and depth of the tower, and its activation.
        norm: settings of the batch norms.
        separable: whether convolutions are depthwise and 1x1 ones, as in the mobile network.
    """

    def __init__(
        self, backbone: Backbone, outputs: int, *, scale: Scale, norm: NormConfig, separable: bool
    ) -> None:
        super().__init__()
        filters, depth = scale.head_filters, scale.head_convs
        widths = [backbone.out_channels, *([filters] * depth)]
        make_conv = _separable if separable else _conv3x3
        self.convs = nn.ModuleList(make_conv(widths[i], filters) for i in range(depth))
        self.norms = nn.ModuleDict(
            {
                f"P{level}": nn.ModuleList(
                    nn.BatchNorm2d(filters, eps=norm.eps, momentum=norm.momentum) for _ in range(depth)
                )
                for level in backbone.levels
            }
        )
        self.predict: nn.Module = make_conv(widths[-1], outputs)
        self.activation = nn.SiLU() if scale.activation == "swish" else nn.ReLU(inplace=True)

    def forward(self, pyramid: OrderedDict[str, Tensor]) -> list[Tensor]:
        """Maps the pyramid to predictions [N, outputs, H, W] of each level."""
        maps = []
        for name, x in pyramid.items():
            for conv, norm in zip(self.convs, self.norms[name], strict=True):  # type: ignore[call-overload]
                x = self.activation(norm(conv(x)))
            maps.append(self.predict(x))
        return maps

    def predict_prior(self) -> None:
        """Sets the predictor so that an untrained network gives every class the probability `PRIOR`."""
        last = [module for module in self.predict.modules() if isinstance(module, nn.Conv2d)][-1]
        nn.init.normal_(last.weight, std=1e-5)
        nn.init.constant_(last.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]


def flatten_maps(maps: list[Tensor], values: int) -> Tensor:
    """Joins the maps [N, places * values, H, W] of all levels to [N, A, values]."""
    return torch.cat([m.permute(0, 2, 3, 1).reshape(m.shape[0], -1, values) for m in maps], 1)


def level_sizes(pyramid: OrderedDict[str, Tensor]) -> dict[int, tuple[int, int]]:
    """Height and width of the feature of each level."""
    return {int(name[1:]): (x.shape[-2], x.shape[-1]) for name, x in pyramid.items()}


def _conv3x3(channels: int, out: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _separable(channels: int, out: int) -> nn.Sequential:
    """A depthwise 3x3 and a 1x1 convolution, with the variance that keeps the signal's."""
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, out, 1)
    nn.init.kaiming_normal_(depthwise.weight, nonlinearity="linear")
    nn.init.normal_(pointwise.weight, std=0.03)
    nn.init.zeros_(pointwise.bias)  # type: ignore[arg-type]
    return nn.Sequential(depthwise, pointwise)
