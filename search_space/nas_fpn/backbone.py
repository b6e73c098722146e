"""NAS-FPN: stacked merging cells on a ResNet of any width.

The details follow the released code of Ghiasi et al., CVPR 2019: 1x1 convolutions with batch norm give P3 to
P5 the pyramid's filters, and max-pools make P6 and P7 of P5. A cell resamples its parents by a max-pool,
whose kernel is its stride, or by nearest neighbors. After the merge come ReLU, a 3x3 convolution and batch
norm.

At 640 px with 91 classes a RetinaNet on it has 60.07 M parameters and 140.26 G multiply-adds; published are
60.3 M and 140.6 B. The paper does not explain the difference of 0.4 % and 0.2 %.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from search_space.nas_fpn.spec import INPUTS, MergingCellsSpec
from search_space.norm import NormConfig
from search_space.resnet_fpn.backbone import build_resnet, resnet_features, set_norms
from search_space.scale import SCALES, Scale

Size = tuple[int, int]


class NASFPN(nn.Module):
    """A ResNet with a pyramid of merging cells, P3 to P7.

    Args:
        spec: cells, backbone and stacks.
        scale: its width multiplies the ResNet's widths, its endpoints are the filters of the pyramid.
        norm: settings of all batch norms.

    Attributes:
        out_channels: channels of every output.
        levels: levels of the outputs, ascending.

    Raises:
        ScaleError: if the width leaves a block without filters.
    """

    levels = INPUTS

    def __init__(
        self,
        spec: MergingCellsSpec,
        scale: Scale = SCALES["49"],
        *,
        norm: NormConfig = NormConfig(),
    ) -> None:
        super().__init__()
        endpoints = self.out_channels = scale.endpoints
        self.stem, self.stages, channels = build_resnet(scale.width, spec.layers)
        self.lateral = nn.ModuleList(_conv(filters, endpoints, 1) for filters in channels[1:])
        self.stacks = nn.ModuleList(MergingCells(spec, endpoints) for _ in range(spec.stacks))
        set_norms(self, norm)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Maps images [N, 3, H, W] to {"P3": [N, out_channels, ceil(H/8), ceil(W/8)], ..., "P7": ...}."""
        stages = resnet_features(self.stem, self.stages, images)
        features = [layer(x) for layer, x in zip(self.lateral, stages, strict=True)]
        while len(features) < len(INPUTS):
            features.append(F.max_pool2d(features[-1], 2, ceil_mode=True))
        for stack in self.stacks:
            features = stack(features)
        return OrderedDict((f"P{level}", x) for level, x in zip(INPUTS, features, strict=True))


class MergingCells(nn.Module):
    """One stack of cells maps five features to five features of the same sizes."""

    def __init__(self, spec: MergingCellsSpec, filters: int) -> None:
        super().__init__()
        self.cells, self.joins = spec.cells, spec.joins
        self.activation = nn.ReLU(inplace=True)
        self.convs = nn.ModuleList(_conv(filters, filters, 3) for _ in spec.cells)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Maps features at levels 3 to 7 to features at levels 3 to 7."""
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
        by_level = {cell.level: x for cell, x in outputs}  # The last cell of a level is its output.
        return [by_level[level] for level in INPUTS]


def resample(x: Tensor, size: Size) -> Tensor:
    """Resamples [N, C, h, w] to [N, C, *size], by a max-pool to go down and nearest neighbors to go up."""
    if _size(x) == size:
        return x
    if x.shape[-2] > size[0] or x.shape[-1] > size[1]:
        ratio = _ratio(x.shape[-2], size[0]), _ratio(x.shape[-1], size[1])
        return F.max_pool2d(x, ratio, ratio, ceil_mode=True)
    return F.interpolate(x, size, mode="nearest")


def _ratio(fine: int, coarse: int) -> int:
    """Returns the power of two by which the fine side gives the coarse one, rounding up at every halving."""
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
