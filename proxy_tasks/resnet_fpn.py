"""R50-FPN at any width: the baseline that the paper compares with, under the backbone's interface.

ResNet-50 with a feature pyramid to P3..P5, and P6, P7 by strided convolutions from P5, which gives the
published 34.0 M parameters. torchvision has the parts; ResNet's widths are scaled as SpineNet's are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

LAYERS = (3, 4, 6, 3)
"""Blocks of ResNet-50 at levels 2 to 5."""


@dataclass(frozen=True)
class R50FPNSpec:
    """The baseline where a task takes a spec.

    Args:
        width: multiplier of ResNet's widths, so that 1 is ResNet-50.
    """

    width: float = 1.0


class R50FPN(nn.Module):
    """ResNet-50 with FPN, P3 to P7.

    Args:
        width: multiplier of ResNet's widths, so that 1 is ResNet-50; truncated to whole filters.
        endpoints: filters of every output.
        norm_momentum, norm_eps: of all batch norms.
    """

    levels = (3, 4, 5, 6, 7)

    def __init__(
        self, width: float = 1.0, endpoints: int = 256, norm_momentum: float = 0.01, norm_eps: float = 1e-3
    ) -> None:
        super().__init__()
        self.out_channels = endpoints
        self.stem, self.stages, filters = resnet(width, LAYERS)
        self.pyramid = FeaturePyramidNetwork(
            filters[1:],
            endpoints,
            extra_blocks=LastLevelP6P7(endpoints, endpoints),
            norm_layer=nn.BatchNorm2d,
        )
        set_norms(self, norm_momentum, norm_eps)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """[N, 3, H, W] to {"P3": [N, endpoints, ceil(H/8), ceil(W/8)], ..., "P7": ...}."""
        levels = zip((3, 4, 5), resnet_features(self.stem, self.stages, images), strict=True)
        features = OrderedDict((f"P{level}", x) for level, x in levels)
        outputs: dict[str, Tensor] = self.pyramid(features)
        return OrderedDict(
            (f"P{level}", out) for level, out in zip(self.levels, outputs.values(), strict=True)
        )


def resnet(width: float, layers: Sequence[int]) -> tuple[nn.Sequential, nn.ModuleList, list[int]]:
    """A ResNet of bottlenecks without its classifier: stem, four stages, and the stages' filters.

    Args:
        width: multiplier of the widths; truncated to whole filters.
        layers: blocks of the stages, which are at levels 2 to 5.

    Raises:
        ValueError: if the width leaves a block without filters.
    """
    planes = [int(64 * 2**i * width) for i in range(4)]
    if planes[0] < 1:
        raise ValueError(f"width {width} leaves a block without filters")
    whole = ResNet(Bottleneck, list(layers), num_classes=1)
    stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool)
    channels, stages = 64, []
    for i, (count, filters) in enumerate(zip(layers, planes, strict=True)):
        stages.append(nn.Sequential(*_stage(channels, filters, count, 1 if i == 0 else 2)))
        channels = 4 * filters
    return stem, nn.ModuleList(stages), [4 * filters for filters in planes]


def resnet_features(stem: nn.Module, stages: nn.ModuleList, images: Tensor) -> list[Tensor]:
    """[N, 3, H, W] to the features at levels 3 to 5."""
    x = stem(images)
    features = []
    for stage in stages:
        x = stage(x)
        features.append(x)
    return features[1:]


def set_norms(module: nn.Module, momentum: float, eps: float) -> None:
    """Gives all batch norms these numbers."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum, layer.eps = momentum, eps


def _stage(channels: int, planes: int, count: int, stride: int) -> Iterator[Bottleneck]:
    shortcut = nn.Sequential(
        nn.Conv2d(channels, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
    )
    yield Bottleneck(channels, planes, stride, shortcut)
    for _ in range(count - 1):
        yield Bottleneck(4 * planes, planes)
