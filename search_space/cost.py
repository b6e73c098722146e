"""Cost: parameters, multiply-adds and activation memory of a network, from arithmetic alone.

Conventions, those of the published tables: parameters are convolution weights, batch norm scales and
offsets, and head biases; MACs are the multiply-adds of convolutions (and of the classifier's linear
layer), with an upsampled connection's last 1x1 convolution counted at the resolution of its target.
The backbone computes that convolution before upsampling; `executed_macs` counts what it really does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from search_space.scale import (
    MOBILE_EXPANSION,
    Scale,
    level_size,
    squeeze_excite_filters,
    stem_width,
)
from search_space.spec import Block, SpineNetSpec, StemBlock
from search_space.wiring import live_blocks, wire

Head = Literal["none", "retinanet", "classifier"]
ANCHORS_PER_PLACE = 9
"""Three octave scales times three aspect ratios (RetinaNet as used by SpineNet)."""
VALUE_BYTES = 4
INDEX_BYTES = 8


class CostError(ValueError):
    """A network whose cost cannot be told: says which argument is wrong."""


@dataclass(frozen=True, slots=True)
class PartCost:
    """Cost of one part of a network.

    Args:
        name: such as "block 5", "P3" or "head".
        params: trainable parameters.
        macs: multiply-adds for one image, published convention.
        executed_macs: multiply-adds that the backbone really does for one image.
        activation_bytes: memory of the values that one float32 training step keeps for its backward
            pass, for one image.
    """

    name: str
    params: int
    macs: int
    executed_macs: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a whole network: the sums over its parts, and the parts in the order of the data."""

    params: int
    macs: int
    executed_macs: int
    activation_bytes: int
    parts: tuple[PartCost, ...]


def spec_cost(
    spec: SpineNetSpec,
    scale: Scale,
    size: int | tuple[int, int] = 640,
    head: Head = "none",
    classes: int = 80,
) -> Cost:
    """Cost of a spec at a scale.

    Args:
        spec: the architecture; dead blocks are not counted.
        scale: widths and depths.
        size: input height and width in pixels, or one number for both.
        head: "none" (backbone and endpoints), "retinanet" or "classifier".
        classes: outputs of the head.

    Raises:
        CostError: if size, head or classes is out of range.
        ScaleError: if the scale leaves a block without filters.

    Example:
        >>> from search_space import SCALES, published_spec
        >>> spec_cost(published_spec("spinenet-49"), SCALES["49"], 640, "retinanet", 91).params
        28543383
    """
    size = _check_size(size)
    if head not in ("none", "retinanet", "classifier"):
        raise CostError(f"head must be none, retinanet or classifier, not {head!r}")
    if type(classes) is not int or not 1 <= classes <= 1_000_000:
        raise CostError(f"classes must be a whole number in 1..1000000, not {classes!r}")
    wiring = wire(spec)
    areas = {level: _area(level_size(size, level)) for level in range(8)}
    parts = _stem_parts(spec.stem[: wiring.live_stem], scale, areas)
    features = spec.features
    for index, block, _ in live_blocks(spec, wiring):
        tally = _Tally(scale)
        for parent in block.parents:
            _resample(tally, features[parent], block, areas)
        _block_group(tally, block, scale.channels(block.level, block.kind), block.level, areas)
        parts.append(tally.part(f"block {index}"))
    outputs = [block for block in spec.blocks if block.output]
    for block in sorted(outputs, key=lambda block: block.level):
        tally = _Tally(scale)
        tally.conv(scale.channels(block.level, block.kind), scale.endpoints, 1, areas[block.level])
        parts.append(tally.part(f"P{block.level}"))
    mobile = spec.stem[0].kind == "mbconv"
    if head == "retinanet":
        parts.append(_retinanet(scale, [areas[block.level] for block in outputs], classes, mobile))
    elif head == "classifier":
        parts.append(_classifier(scale, classes))
    return Cost(
        params=sum(part.params for part in parts),
        macs=sum(part.macs for part in parts),
        executed_macs=sum(part.executed_macs for part in parts),
        activation_bytes=sum(part.activation_bytes for part in parts),
        parts=tuple(parts),
    )


class _Tally:
    """Running sums for one part."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        # What an activation keeps: ReLU its output, which the next convolution needs anyway; swish its
        # input too.
        self.kept_by_activation = 2 if scale.activation == "swish" else 1
        self.params = self.macs = self.executed_macs = self.kept_bytes = 0

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        area: int,
        *,
        groups: int = 1,
        activation: bool = True,
        bias: bool = False,
        norms: int = 1,
        executed_area: int | None = None,
    ) -> None:
        """A convolution with output of `area` pixels, its batch norms and its activation."""
        executed_area = area if executed_area is None else executed_area
        weights = kernel * kernel * channels_in // groups * channels_out
        self.params += weights + bias * channels_out + 2 * norms * channels_out
        self.macs += weights * area
        self.executed_macs += weights * executed_area
        self.keep(channels_out * executed_area, times=(norms > 0) + activation * self.kept_by_activation)

    def keep(self, values: int, times: int = 1) -> None:
        """Values that the backward pass needs."""
        self.kept_bytes += VALUE_BYTES * values * times

    def part(self, name: str) -> PartCost:
        return PartCost(name, self.params, self.macs, self.executed_macs, self.kept_bytes)


def _stem_parts(stem: tuple[StemBlock, ...], scale: Scale, areas: dict[int, int]) -> list[PartCost]:
    tally = _Tally(scale)
    tally.keep(3 * areas[0])
    mobile = stem[0].kind == "mbconv" if stem else False
    channels = stem_width(scale, stem[0].kind)
    tally.conv(3, channels, 3 if mobile else 7, areas[1])
    level = 1
    if not mobile and stem and stem[0].level > 1:
        level = 2
        tally.keep(channels * areas[2])
        tally.kept_bytes += INDEX_BYTES * channels * areas[2]
    parts = [tally.part("stem conv")]
    for i, block in enumerate(stem):
        tally = _Tally(scale)
        _block_group(tally, block, channels, level, areas)
        parts.append(tally.part(f"stem {i}"))
        channels, level = scale.channels(block.level, block.kind), block.level
    return parts


def _resample(tally: _Tally, parent: Block | StemBlock, block: Block, areas: dict[int, int]) -> None:
    """One parent brought to the block's level and input channels (paper section 3.2, figure 5)."""
    channels = tally.scale.channels(parent.level, parent.kind)
    mobile = block.kind == "mbconv"
    if not mobile:
        squeezed = tally.scale.squeezed(parent.level, parent.kind)
        tally.conv(channels, squeezed, 1, areas[parent.level])
        channels = squeezed
    if parent.level < block.level:
        steps = range(parent.level + 1, block.level + 1)
        for level in steps if mobile else steps[:1]:
            tally.conv(channels, channels, 3, areas[level], groups=channels if mobile else 1)
        for level in () if mobile else steps[1:]:
            tally.keep(channels * areas[level])
            tally.kept_bytes += INDEX_BYTES * channels * areas[level]
    tally.conv(
        channels,
        tally.scale.channels(block.level, block.kind),
        1,
        areas[block.level],
        activation=False,
        executed_area=min(areas[parent.level], areas[block.level]),
    )


def _block_group(
    tally: _Tally, block: Block | StemBlock, channels: int, level: int, areas: dict[int, int]
) -> None:
    """A block repeated in a row, entered with so many channels at a level."""
    scale = tally.scale
    filters, out = scale.filters(block.level, block.kind), scale.channels(block.level, block.kind)
    area = areas[block.level]
    if isinstance(block, Block):
        tally.keep(channels * areas[level], tally.kept_by_activation)
    for _ in range(scale.repeats):
        if block.kind == "mbconv":
            _mbconv(tally, channels, out, areas[level], area)
        else:
            if channels != out or level != block.level:
                tally.conv(channels, out, 1, area, activation=False)
            if block.kind == "bottleneck":
                tally.conv(channels, filters, 1, areas[level])
                tally.conv(filters, filters, 3, area)
                tally.conv(filters, out, 1, area, activation=False)
            else:
                tally.conv(channels, filters, 3, area)
                tally.conv(filters, filters, 3, area, activation=False)
            tally.keep(out * area, tally.kept_by_activation)
        channels, level = out, block.level


def _mbconv(tally: _Tally, channels: int, out: int, area_in: int, area: int) -> None:
    expanded = MOBILE_EXPANSION * channels
    reduced = squeeze_excite_filters(channels)
    tally.conv(channels, expanded, 1, area_in)
    tally.conv(expanded, expanded, 3, area, groups=expanded)
    tally.conv(expanded, reduced, 1, 1, bias=True, norms=0)
    tally.conv(reduced, expanded, 1, 1, bias=True, norms=0, activation=False)
    tally.conv(expanded, out, 1, area, activation=False)


def _retinanet(scale: Scale, areas: list[int], classes: int, mobile: bool) -> PartCost:
    """Two towers shared over the levels, with a batch norm of its own for every level and layer."""
    tally = _Tally(scale)
    total = sum(areas)
    for predictions in (classes * ANCHORS_PER_PLACE, 4 * ANCHORS_PER_PLACE):
        channels = scale.endpoints
        for _ in range(scale.head_convs):
            _head_conv(tally, channels, scale.head_filters, total, mobile, norms=len(areas))
            channels = scale.head_filters
        _head_conv(tally, channels, predictions, total, mobile, norms=0)
    return tally.part("head")


def _head_conv(tally: _Tally, channels: int, out: int, area: int, mobile: bool, norms: int) -> None:
    if mobile:
        tally.conv(channels, channels, 3, area, groups=channels, norms=0, activation=False)
    tally.conv(channels, out, 1 if mobile else 3, area, bias=True, norms=norms, activation=norms > 0)


def _classifier(scale: Scale, classes: int) -> PartCost:
    tally = _Tally(scale)
    tally.conv(scale.endpoints, classes, 1, 1, bias=True, norms=0, activation=False)
    tally.keep(scale.endpoints)
    return tally.part("head")


def _check_size(size: object) -> tuple[int, int]:
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2 or not all(type(side) is int and 1 <= side <= 65536 for side in pair):
        raise CostError(f"size must be pixels in 1..65536, one number or two, not {size!r}")
    return pair


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
