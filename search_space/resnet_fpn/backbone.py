"""R50-FPN at any width: the baseline that the paper compares with.

ResNet-50 with a feature pyramid to P3..P5, and P6, P7 by strided convolutions from P5, which gives the
published 34.0 M parameters. torchvision has the parts; ResNet's widths are scaled as SpineNet's are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from search_space.norm import NormConfig
from search_space.resnet_fpn.spec import LEVELS, R50, R50FPNSpec
from search_space.resnet_fpn.widths import EXPANSION, STEM_WIDTH, stage_filters
from search_space.scale import SCALES, Scale


class R50FPN(nn.Module):
    """ResNet-50 with FPN, P3 to P7.

    Args:
        spec: the width of the ResNet.
        scale: its endpoints are the filters of every output.
        norm: settings of all batch norms.

    Attributes:
        out_channels: channels of every output.
        levels: levels of the outputs, ascending.
    """

    levels = LEVELS

    def __init__(
        self, spec: R50FPNSpec, scale: Scale = SCALES["49"], *, norm: NormConfig = NormConfig()
    ) -> None:
        super().__init__()
        endpoints = self.out_channels = scale.endpoints
        self.stem, self.stages, filters = build_resnet(spec.width, R50)
        self.pyramid = FeaturePyramidNetwork(
            filters[1:],
            endpoints,
            extra_blocks=LastLevelP6P7(endpoints, endpoints),
            norm_layer=nn.BatchNorm2d,
        )
        set_norms(self, norm)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Maps images [N, 3, H, W] to {"P3": [N, out_channels, ceil(H/8), ceil(W/8)], ..., "P7": ...}."""
        levels = zip((3, 4, 5), resnet_features(self.stem, self.stages, images), strict=True)
        features = OrderedDict((f"P{level}", x) for level, x in levels)
        outputs: dict[str, Tensor] = self.pyramid(features)
        return OrderedDict(
            (f"P{level}", out) for level, out in zip(self.levels, outputs.values(), strict=True)
        )


def build_resnet(width: float, layers: Sequence[int]) -> tuple[nn.Sequential, nn.ModuleList, list[int]]:
    """Builds a ResNet of bottlenecks without its classifier: stem, four stages, and the stages' filters.

    Args:
        width: multiplier of the widths; truncated to whole filters.
        layers: blocks of the stages, which are at levels 2 to 5.

    Raises:
        ScaleError: if the width leaves a block without filters.
    """
    planes = stage_filters(width)
    whole = ResNet(Bottleneck, list(layers), num_classes=1)
    stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool)
    channels, stages = STEM_WIDTH, []
    for i, (count, filters) in enumerate(zip(layers, planes, strict=True)):
        stages.append(nn.Sequential(*_stage(channels, filters, count, 1 if i == 0 else 2)))
        channels = EXPANSION * filters
    return stem, nn.ModuleList(stages), [EXPANSION * filters for filters in planes]


def resnet_features(stem: nn.Module, stages: nn.ModuleList, images: Tensor) -> list[Tensor]:
    """Maps images [N, 3, H, W] to the features at levels 3 to 5."""
    x = stem(images)
    features = []
    for stage in stages:
        x = stage(x)
        features.append(x)
    return features[1:]


def set_norms(module: nn.Module, norm: NormConfig) -> None:
    """Gives all batch norms these settings."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum, layer.eps = norm.momentum, norm.eps


def _stage(channels: int, planes: int, count: int, stride: int) -> Iterator[Bottleneck]:
    shortcut = nn.Sequential(
        nn.Conv2d(channels, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
    )
    yield Bottleneck(channels, planes, stride, shortcut)
    for _ in range(count - 1):
        yield Bottleneck(4 * planes, planes)
