"""SpineNet: the network of a spec (paper section 3, figure 5).

The file follows the data: stem, permuted blocks (two resampled parents, fused, then the block),
endpoints. Shapes are [N, C, H, W]; a feature at level k has height ceil(H / 2^k).

Two things differ from the paper, and neither changes a result. The last 1x1 convolution and batch norm of
an upsampled connection run before the upsampling, where they cost 4 to 1024 times less. Upsampling to the
nearest neighbor only repeats values, which changes neither the convolution of a value nor the mean and
variance of all values. And blocks without a path to an output are not built.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import StochasticDepth

from search_space.convention import Convention
from search_space.norm import NormConfig
from search_space.scale import SCALES, Activation, Scale, level_size
from search_space.spinenet.spec import Block, SpineNetSpec, StemBlock
from search_space.spinenet.widths import MOBILE_EXPANSION, squeeze_excite_filters, stem_width
from search_space.spinenet.wiring import live_blocks, wire


class SpineNet(nn.Module):
    """Backbone and endpoints of a spec at a scale.

    Args:
        spec: the architecture.
        scale: widths, depths, activation and stochastic depth.
        convention: padding and pooling, see `Convention`.
        norm: settings of all batch norms (TensorFlow's momentum is one minus ours).

    Attributes:
        out_channels: channels of every output, as torchvision's detectors want to know.
        levels: levels of the outputs, ascending.

    Raises:
        ScaleError: if the scale leaves a block without filters.

    Example:
        >>> import torch
        >>> from search_space import SCALES, published_spec
        >>> from search_space.backbone import SpineNet
        >>> backbone = SpineNet(published_spec("spinenet-49"), SCALES["proxy"]).eval()
        >>> {name: tuple(x.shape) for name, x in backbone(torch.zeros(1, 3, 256, 256)).items()}["P3"]
        (1, 64, 32, 32)
    """

    def __init__(
        self,
        spec: SpineNetSpec,
        scale: Scale = SCALES["49"],
        *,
        convention: Convention = "torch",
        norm: NormConfig = NormConfig(),
    ) -> None:
        super().__init__()
        if convention not in ("torch", "garden", "tpu"):
            raise ValueError(f"convention must be torch, garden or tpu, not {convention!r}")
        layers = Layers(activation_name=scale.activation, convention=convention, norm=norm)
        wiring = wire(spec)
        self.spec, self.scale = spec, scale
        self.out_channels = scale.endpoints
        self.levels = spec.output_levels

        self.stem = Stem(spec.stem[: wiring.live_stem], scale, layers)
        built = live_blocks(spec, wiring)
        self.blocks = nn.ModuleDict()
        self._sources = {index: (block.parents, joins) for index, block, joins in built}
        self._outputs = {index: block.level for index, block, _ in built if block.output}
        for i, (index, block, _) in enumerate(built):
            drop_rate = scale.stochastic_depth * (i + 1) / len(built)
            parents = (spec.features[block.parents[0]], spec.features[block.parents[1]])
            self.blocks[str(index)] = PermutedBlock(block, parents, scale, layers, drop_rate)
        self.endpoints = nn.ModuleDict()
        for block in sorted((b for _, b, _ in built if b.output), key=lambda b: b.level):
            channels = scale.channels(block.level, block.kind)
            self.endpoints[f"P{block.level}"] = ConvNorm(channels, scale.endpoints, 1, layers)
        self._needed = {s for parents, joins in self._sources.values() for s in (*parents, *joins)}
        self._last_use = _last_uses(self._sources)
        self.apply(_initialize)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Maps images [N, 3, H, W] to the pyramid {"P3": [N, out_channels, ceil(H/8), ceil(W/8)], ...}."""
        image_size = (images.shape[-2], images.shape[-1])
        features = {i: x for i, x in enumerate(self.stem(images)) if i in self._needed}
        pyramid: dict[int, Tensor] = {}
        for index, (parents, joins) in self._sources.items():
            block = cast(PermutedBlock, self.blocks[str(index)])
            x = block(
                features[parents[0]],
                features[parents[1]],
                [features[j] for j in joins],
                level_size(image_size, block.level),
            )
            features[index] = x
            if index in self._outputs:
                pyramid[self._outputs[index]] = self.endpoints[f"P{self._outputs[index]}"](x)
            for used_up in self._last_use[index]:
                del features[used_up]
        return OrderedDict((f"P{level}", pyramid[level]) for level in self.levels)


def fuse_conv_bn(module: nn.Module) -> nn.Module:
    """Copies a module for inference and folds every batch norm into its convolution.

    The copy gives the same outputs in less time. It is in evaluation mode and cannot be trained. Any module
    made of `ConvNorm` can be copied, not only the backbone.
    """
    copied = copy.deepcopy(module).eval()
    for layer in copied.modules():
        if isinstance(layer, ConvNorm) and isinstance(layer.norm, nn.modules.batchnorm._BatchNorm):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
            layer.norm = nn.Identity()
    return copied


class Stem(nn.Module):
    """7x7 convolution, max-pool, and the scale-decreased blocks.

    There is no pool if the first block is at level 1. The mobile stem is a 3x3 convolution without a pool.
    """

    def __init__(self, stem: tuple[StemBlock, ...], scale: Scale, layers: Layers) -> None:
        super().__init__()
        mobile = stem[0].kind == "mbconv"
        channels, level = stem_width(scale, stem[0].kind), 1
        pool = None
        if stem[0].level > 1 and not mobile:
            pool, level = _max_pool(3, 2, layers.convention), 2
        self.conv = ConvNorm(3, channels, 3 if mobile else 7, layers, stride=2, pool=pool)
        self.blocks = nn.ModuleList()
        for block in stem:
            stride = 2 ** (block.level - level)
            self.blocks.append(_block_group(block, channels, stride, scale, layers))
            channels, level = scale.channels(block.level, block.kind), block.level

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps images [N, 3, H, W] to the features of the stem blocks, in order."""
        x = self.conv(images)
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features


class PermutedBlock(nn.Module):
    """Resamples two parents, adds them and the directly joined features, and applies the block."""

    def __init__(
        self,
        block: Block,
        parents: tuple[StemBlock | Block, StemBlock | Block],
        scale: Scale,
        layers: Layers,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.level = block.level
        self.resample = nn.ModuleList(Resample(parent, block, scale, layers) for parent in parents)
        self.activation = layers.activation()
        channels = scale.channels(block.level, block.kind)
        self.body = _block_group(block, channels, 1, scale, layers, drop_rate)

    def forward(self, first: Tensor, second: Tensor, joins: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps two parents of any size and the joined features to [N, C, *size]."""
        x: Tensor = self.resample[0](first, size)
        x = x.add_(self.resample[1](second, size))
        for join in joins:
            x = x.add_(join)
        out: Tensor = self.body(self.activation(x))
        return out


class Resample(nn.Module):
    """Brings one parent to the level and the input channels of a block (paper figure 5).

    A 1x1 convolution reduces the channels to alpha times the parent's width. A 3x3 convolution with stride 2
    and max-pools go down, or nearest neighbors go up. A 1x1 convolution without activation gives the block's
    channels. The mobile network omits the first step and goes down by depthwise convolutions. The "tpu"
    convention chooses the max-pool when the width of the parent is known.
    """

    def __init__(self, parent: StemBlock | Block, block: Block, scale: Scale, layers: Layers) -> None:
        super().__init__()
        channels, steps = scale.channels(parent.level, parent.kind), block.level - parent.level
        self.upsamples = steps < 0
        self.pools_by_width = steps > 0 and block.kind != "mbconv" and layers.convention == "tpu"
        down: list[nn.Module] = []
        if block.kind == "mbconv":
            down += [ConvNorm(channels, channels, 3, layers, stride=2, groups=channels) for _ in range(steps)]
        else:
            squeezed = scale.squeezed(parent.level, parent.kind)
            down.append(ConvNorm(channels, squeezed, 1, layers))
            channels = squeezed
            if steps > 0:
                pool = None if self.pools_by_width else _pools(steps - 1, layers.convention)
                down.append(ConvNorm(channels, channels, 3, layers, stride=2, pool=pool))
        self.down = nn.Sequential(*down)
        self.expand = ConvNorm(channels, scale.channels(block.level, block.kind), 1, layers, activation=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps [N, C_parent, h, w] to [N, C_block, *size]."""
        width = x.shape[-1]
        x = self.down(x)
        if self.pools_by_width:
            x = _pool_by_width(x, width, size)
        if not self.upsamples:
            return self.expand(x)  # type: ignore[no-any-return]
        repeats = _repeats(x, size)
        if self.expand.norm.training and (repeats is None or x.numel() == x.shape[1]):
            # If values are repeated unevenly, their mean and variance change, so the convolution comes last.
            # And torch refuses batch statistics of a single value.
            return self.expand(F.interpolate(x, size, mode="nearest"))  # type: ignore[no-any-return]
        x = _norm_as_if_repeated(self.expand.norm, self.expand.conv(x), repeats or 1)
        return F.interpolate(x, size, mode="nearest")


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut, with an activation after the sum."""

    def __init__(self, channels: int, filters: int, stride: int, layers: Layers, drop_rate: float) -> None:
        super().__init__()
        self.shortcut = _shortcut(channels, 4 * filters, stride, layers)
        self.convs = nn.Sequential(
            ConvNorm(channels, filters, 1, layers),
            ConvNorm(filters, filters, 3, layers, stride=stride),
            ConvNorm(filters, 4 * filters, 1, layers, activation=False),
        )
        self.drop = _drop(drop_rate)
        self.activation = layers.activation()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, channels, H, W] to [N, 4 * filters, H / stride, W / stride]."""
        out: Tensor = self.activation(self.drop(self.convs(x)).add_(self.shortcut(x)))
        return out


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, with an activation after the sum."""

    def __init__(self, channels: int, filters: int, stride: int, layers: Layers, drop_rate: float) -> None:
        super().__init__()
        self.shortcut = _shortcut(channels, filters, stride, layers)
        self.convs = nn.Sequential(
            ConvNorm(channels, filters, 3, layers, stride=stride),
            ConvNorm(filters, filters, 3, layers, activation=False),
        )
        self.drop = _drop(drop_rate)
        self.activation = layers.activation()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, channels, H, W] to [N, filters, H / stride, W / stride]."""
        out: Tensor = self.activation(self.drop(self.convs(x)).add_(self.shortcut(x)))
        return out


class MBConvBlock(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection; a shortcut for equal shapes."""

    def __init__(self, channels: int, filters: int, stride: int, layers: Layers, drop_rate: float) -> None:
        super().__init__()
        expanded = MOBILE_EXPANSION * channels
        self.has_shortcut = channels == filters and stride == 1
        self.expand = nn.Sequential(
            ConvNorm(channels, expanded, 1, layers),
            ConvNorm(expanded, expanded, 3, layers, stride=stride, groups=expanded),
        )
        reduced = squeeze_excite_filters(channels)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(expanded, reduced, 1),
            nn.SiLU(inplace=True) if layers.convention == "tpu" else nn.ReLU(inplace=True),
            nn.Conv2d(reduced, expanded, 1),
            nn.Hardsigmoid() if layers.convention == "garden" else nn.Sigmoid(),
        )
        self.project = ConvNorm(expanded, filters, 1, layers, activation=False)
        self.drop = _drop(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, channels, H, W] to [N, filters, H / stride, W / stride]."""
        y = self.expand(x)
        y = self.project(y * self.gate(y))
        return self.drop(y).add_(x) if self.has_shortcut else cast(Tensor, y)


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, activation, and a pool after it if given one."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        layers: Layers,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        same = stride > 1 and layers.convention == "garden"
        conv = SameConv2d if same else nn.Conv2d
        padding = 0 if same else kernel // 2
        self.conv = conv(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(
            channels_out, eps=layers.norm.eps, momentum=layers.norm.momentum
        )
        self.activation = layers.activation() if activation else nn.Identity()
        if pool is not None:
            steps = [self.activation, pool]
            # ReLU and maximum commute, gradients included, and ReLU costs less after the pool.
            self.activation = nn.Sequential(*(reversed(steps) if layers.activation_name == "relu" else steps))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, channels_in, H, W] to [N, channels_out, ceil(H / stride), ceil(W / stride)], or pooled."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Settings that all layers of one network share; see `SpineNet` for their meaning."""

    activation_name: Activation = "relu"
    convention: Convention = "torch"
    norm: NormConfig = NormConfig()

    def activation(self) -> nn.Module:
        """A new activation module."""
        return nn.ReLU(inplace=True) if self.activation_name == "relu" else nn.SiLU()


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C_in, H, W] to [N, C_out, ceil(H / stride), ceil(W / stride)]."""
        return super().forward(_pad_same(x, self.kernel_size[0], self.stride[0], 0.0))


class SameMaxPool2d(nn.Module):
    """Max-pool with TensorFlow's SAME padding."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, H, W] to [N, C, ceil(H / stride), ceil(W / stride)]."""
        return _max_pool_same(x, self.kernel, self.stride)


def _max_pool_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    return F.max_pool2d(_pad_same(x, kernel, stride, -math.inf), kernel, stride)


def _pad_same(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """Pads for an output of ceil(size / stride); an odd pixel is added at the bottom and right."""
    pads: list[int] = []
    for side in (x.shape[-1], x.shape[-2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def _max_pool(kernel: int, stride: int, convention: Convention) -> nn.Module:
    if convention == "torch":
        return nn.MaxPool2d(kernel, stride, padding=kernel // 2)
    return SameMaxPool2d(kernel, stride)


def _pools(halvings: int, convention: Convention) -> nn.Module | None:
    """Returns max-pools that halve a feature a given number of times, or None for zero times."""
    if halvings < 1:
        return None
    return nn.Sequential(*(_max_pool(3, 2, convention) for _ in range(halvings)))


def _pool_by_width(x: Tensor, width: int, size: tuple[int, int]) -> Tensor:
    """Brings the output of a convolution with stride 2 to the target's size by the rule of tensorflow/tpu.

    See `Convention` for the rule. Like the code there, it looks at widths and not at heights.

    Args:
        x: output of the convolution, [N, C, h, w].
        width: of the parent in pixels, before the convolution.
        size: height and width of the target in pixels.
    """
    ratio, rest = divmod(width, size[1])
    if ratio > 2:
        x = _max_pool_same(x, 3 if width <= 4 * size[1] else 5, 2 if rest else ratio // 2)
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="nearest")


def _block_group(
    block: Block | StemBlock,
    channels: int,
    stride: int,
    scale: Scale,
    layers: Layers,
    drop_rate: float = 0.0,
) -> nn.Sequential:
    """Builds a block repeated in a row; the first one has the stride and the change of channels."""
    build = {"bottleneck": BottleneckBlock, "residual": ResidualBlock, "mbconv": MBConvBlock}[block.kind]
    filters, out = scale.filters(block.level, block.kind), scale.channels(block.level, block.kind)
    return nn.Sequential(
        build(channels, filters, stride, layers, drop_rate),
        *(build(out, filters, 1, layers, drop_rate) for _ in range(scale.repeats - 1)),
    )


def _shortcut(channels: int, out: int, stride: int, layers: Layers) -> nn.Module:
    if channels == out and stride == 1:
        return nn.Identity()
    return ConvNorm(channels, out, 1, layers, stride=stride, activation=False)


def _drop(rate: float) -> nn.Module:
    return StochasticDepth(rate, "row") if rate else nn.Identity()


def _repeats(x: Tensor, size: tuple[int, int]) -> int | None:
    """Returns how often upsampling to `size` repeats every value, or None if this differs between values."""
    height, width = x.shape[-2:]
    if size[0] % height or size[1] % width:
        return None
    return (size[0] // height) * (size[1] // width)


def _norm_as_if_repeated(norm: nn.Module, x: Tensor, repeats: int) -> Tensor:
    """Applies batch norm to x, with the effects that it has on x with every value repeated.

    Mean and biased variance of repeated values are those of the values. Only the running variance differs,
    as it follows the unbiased variance, which is n / (n - 1) times larger for n values.
    """
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or not norm.training:
        return cast(Tensor, norm(x))
    if norm.running_var is None or norm.momentum is None or repeats == 1:
        return cast(Tensor, norm(x))
    n = x.numel() // x.shape[1] * _sync_world_size(norm)
    unbias_ratio = (n - 1) * repeats / (n * repeats - 1)
    # Autograd keeps the buffer that the layer updates, so the layer gets a temporary one.
    running_var, norm.running_var = norm.running_var, torch.zeros_like(norm.running_var)
    try:
        out: Tensor = norm(x)
        running_var.mul_(1 - norm.momentum).add_(norm.running_var, alpha=unbias_ratio)
    finally:
        norm.running_var = running_var
    return out


def _sync_world_size(norm: nn.Module) -> int:
    # torch's synchronized norm, or another one that knows its group of processes.
    if hasattr(norm, "process_group") and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(norm.process_group)  # type: ignore[arg-type]
    return 1


def _last_uses(sources: dict[int, tuple[tuple[int, int], tuple[int, ...]]]) -> dict[int, list[int]]:
    """For every block, the features that no later block uses."""
    last = {s: index for index, (parents, joins) in sources.items() for s in (index, *parents, *joins)}
    return {index: [s for s, user in last.items() if user == index] for index in sources}


def _initialize(module: nn.Module) -> None:
    """Initializes weights as the released code does: a truncated normal with variance 1 / fan-in."""
    if isinstance(module, nn.Conv2d):
        fan_in = module.weight[0].numel()
        # 0.8796 is the standard deviation of a standard normal cut off at two.
        std = math.sqrt(1 / fan_in) / 0.87962566103423978
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
