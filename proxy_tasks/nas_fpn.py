"""NAS-FPN: merging cells, stacked, on a ResNet of any width, under the backbone's interface.

Ghiasi et al., CVPR 2019, with the released code's details: 1x1 convolutions with batch norm bring P3 to P5
to the pyramid's filters, P6 and P7 are max-pooled from P5; cells go down by a max-pool whose kernel is its
stride and up by nearest neighbours; after the merge come ReLU, a 3x3 convolution and batch norm.

At 640 px with 91 classes a RetinaNet on it has 60.07 M parameters and 140.26 G multiply-adds; published are
60.3 M and 140.6 B. What makes the 0.4 % and 0.2 % is not told there.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from proxy_tasks.resnet_fpn import resnet, resnet_features, set_norms
from search_space.merging_cells import INPUTS, MergingCellsSpec

Size = tuple[int, int]


class NASFPN(nn.Module):
    """A ResNet with a pyramid of merging cells, P3 to P7.

    Args:
        spec: cells, backbone and stacks.
        width: multiplier of the ResNet's widths.
        endpoints: filters of the pyramid.
        norm_momentum, norm_eps: of all batch norms.

    Raises:
        ValueError: if the width leaves a block without filters.
    """

    levels = INPUTS

    def __init__(
        self,
        spec: MergingCellsSpec,
        width: float = 1.0,
        endpoints: int = 256,
        norm_momentum: float = 0.01,
        norm_eps: float = 1e-3,
    ) -> None:
        super().__init__()
        self.out_channels = endpoints
        self.stem, self.stages, channels = resnet(width, spec.layers)
        self.lateral = nn.ModuleList(_conv(filters, endpoints, 1) for filters in channels[1:])
        self.stacks = nn.ModuleList(MergingCells(spec, endpoints) for _ in range(spec.stacks))
        set_norms(self, norm_momentum, norm_eps)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """[N, 3, H, W] to {"P3": [N, endpoints, ceil(H/8), ceil(W/8)], ..., "P7": ...}."""
        found = resnet_features(self.stem, self.stages, images)
        features = [layer(x) for layer, x in zip(self.lateral, found, strict=True)]
        while len(features) < len(INPUTS):
            features.append(F.max_pool2d(features[-1], 2, ceil_mode=True))
        for stack in self.stacks:
            features = stack(features)
        return OrderedDict((f"P{level}", x) for level, x in zip(INPUTS, features, strict=True))


class MergingCells(nn.Module):
    """One stack: five features to five features of the same sizes."""

    def __init__(self, spec: MergingCellsSpec, filters: int) -> None:
        super().__init__()
        self.cells, self.joins = spec.cells, spec.joins
        self.activation = nn.ReLU(inplace=True)
        self.convs = nn.ModuleList(_conv(filters, filters, 3) for _ in spec.cells)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Features at levels 3 to 7, before and after."""
        sizes = {level: _size(x) for level, x in zip(INPUTS, inputs, strict=True)}
        features = list(inputs)
        for cell, joins, conv in zip(self.cells, self.joins, self.convs, strict=True):
            first, second = (resample(features[parent], sizes[cell.level]) for parent in cell.parents)
            merged = first + second
            if cell.merge == "attention":
                merged = first + second * torch.sigmoid(first.amax((2, 3), keepdim=True))
            for join in joins:
                merged = merged + features[join]
            features.append(conv(self.activation(merged)))
        outputs = zip(self.cells, features[len(INPUTS) :], strict=True)
        by_level = {cell.level: x for cell, x in outputs}  # The last of a level is the output.
        return [by_level[level] for level in INPUTS]


def resample(x: Tensor, size: Size) -> Tensor:
    """`[N, C, h, w]` to `[N, C, *size]`: max-pool to go down, nearest neighbours to go up."""
    if _size(x) == size:
        return x
    if x.shape[-2] > size[0] or x.shape[-1] > size[1]:
        ratio = _ratio(x.shape[-2], size[0]), _ratio(x.shape[-1], size[1])
        return F.max_pool2d(x, ratio, ratio, ceil_mode=True)
    return F.interpolate(x, size, mode="nearest")


def _ratio(fine: int, coarse: int) -> int:
    """The power of two by which a side was halved, rounding up each time."""
    ratio = 1
    while -(-fine // ratio) > coarse:
        ratio *= 2
    return ratio


def _size(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]


def _conv(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )
