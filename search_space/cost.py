"""Cost: parameters, multiply-adds and activation memory of a network, from arithmetic alone.

Conventions, those of the published tables: parameters are convolution weights, batch norm scales and
offsets, and head biases; MACs are the multiply-adds of convolutions (and of the classifier's linear
layer), with an upsampled connection's last 1x1 convolution counted at the resolution of its target.
The backbone computes that convolution before upsampling; `executed_macs` counts what it really does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from search_space.scale import (
    MASK_BOX_SIDE,
    MASK_SIDE,
    MOBILE_EXPANSION,
    Scale,
    level_size,
    mask_heads,
    squeeze_excite_filters,
    stem_width,
)
from search_space.spec import SpineNetSpec, StemBlock
from search_space.wiring import live_blocks, wire

Head = Literal["none", "retinanet", "mask-rcnn", "classifier"]
ANCHORS_PER_PLACE = 9
"""Three octave scales times three aspect ratios (RetinaNet as used by SpineNet)."""
VALUE_BYTES = 4
INDEX_BYTES = 8
PROPOSALS, MASKS = 1000, 100
"""Regions that Mask R-CNN's box head and mask head see in one image, as the published figures count them."""


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
        head: "none" (backbone and endpoints), "retinanet", "mask-rcnn" or "classifier".
        classes: outputs of the head.

    Raises:
        CostError: if size, head or classes is out of range.
        ScaleError: if the scale leaves a block without filters.

    Example:
        >>> from search_space import SCALES, published_spec
        >>> spec_cost(published_spec("spinenet-49"), SCALES["49"], 640, "retinanet", 91).params
        28543383
    """
    size = check_size(size)
    if head not in get_args(Head):
        raise CostError(f"head must be {', '.join(get_args(Head)[:-1])} or classifier, not {head!r}")
    if type(classes) is not int or not 1 <= classes <= 1_000_000:
        raise CostError(f"classes must be a whole number in 1..1000000, not {classes!r}")
    wiring = wire(spec)
    blocks = live_blocks(spec, wiring)
    # A feature that is only added to others, and an endpoint, leave no activated value behind: nothing
    # that comes after needs it. (ReLU needs it itself.)
    convolved = {parent for _, block, _ in blocks for parent in block.parents}
    parts = [PartCost("stem conv", *_stem_conv(scale, size, spec.stem[0]))]
    stem = spec.stem[: wiring.live_stem]
    channels, level = stem_width(scale, stem[0].kind), _stem_conv_level(stem[0])
    for i, stem_block in enumerate(stem):
        kept = i in convolved or i + 1 < len(stem)
        group = _block_group(scale, size, stem_block.level, stem_block.kind, channels, level, kept)
        parts.append(PartCost(f"stem {i}", *group))
        channels, level = scale.channels(stem_block.level, stem_block.kind), stem_block.level
    features = spec.features
    for index, block, _ in blocks:
        first, second = features[block.parents[0]], features[block.parents[1]]
        channels = scale.channels(block.level, block.kind)
        kept = index in convolved or block.output
        sums = zip(
            _resample(scale, size, first.level, first.kind, block.level, block.kind),
            _resample(scale, size, second.level, second.kind, block.level, block.kind),
            _fusion(scale, size, block.level, block.kind),
            _block_group(scale, size, block.level, block.kind, channels, block.level, kept),
            strict=True,
        )
        parts.append(PartCost(f"block {index}", *map(sum, sums)))
    outputs = sorted((block.level, block.kind) for block in spec.blocks if block.output)
    parts += [PartCost(f"P{level}", *_endpoint(scale, size, level, kind)) for level, kind in outputs]
    if head != "none":
        mobile = spec.stem[0].kind == "mbconv"
        parts.append(head_cost(head, scale, size, tuple(level for level, _ in outputs), classes, mobile))
    return Cost(
        params=sum([part.params for part in parts]),
        macs=sum([part.macs for part in parts]),
        executed_macs=sum([part.executed_macs for part in parts]),
        activation_bytes=sum([part.activation_bytes for part in parts]),
        parts=tuple(parts),
    )


def head_cost(
    head: Head,
    scale: Scale,
    size: int | tuple[int, int],
    levels: tuple[int, ...],
    classes: int,
    mobile: bool = False,
) -> PartCost:
    """Cost of a head alone, on a pyramid of these levels with the scale's endpoint filters.

    Args:
        head, scale, size, classes: see `spec_cost`; the head is not "none".
        levels: of the pyramid.
        mobile: whether RetinaNet's convolutions are separable.

    Raises:
        CostError: if size is out of range.
    """
    size = check_size(size)
    if head == "retinanet":
        sums = _retinanet(scale, size, levels, classes, mobile)
    elif head == "mask-rcnn":
        sums = _mask_rcnn(scale, size, levels, classes)
    else:
        sums = _classifier(scale, classes)
    return PartCost("head", *sums)


Size = tuple[int, int]
Sums = tuple[int, int, int, int]
"""Parameters, MACs, executed MACs and activation bytes."""

# A search asks for the same blocks again and again, so their sums are remembered.
_remember = lru_cache(maxsize=16384)


class _Tally:
    """Running sums over the layers of one part."""

    def __init__(self, scale: Scale) -> None:
        self.swish = scale.activation == "swish"
        self.params = self.macs = self.executed_macs = self.kept_bytes = 0

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        area: int,
        *,
        groups: int = 1,
        activated: bool = True,
        bias: bool = False,
        norms: int = 1,
        executed_area: int | None = None,
    ) -> None:
        """A convolution with output of `area` pixels, its batch norms and its activation."""
        weights = kernel * kernel * channels_in // groups * channels_out
        self.params += weights + bias * channels_out + 2 * norms * channels_out
        self.macs += weights * area
        self.executed_macs += weights * (area if executed_area is None else executed_area)
        if norms:
            self.keep(channels_out * area)
        if activated:
            self.activation(channels_out * area)

    def activation(self, values: int, output_kept: bool = True) -> None:
        """ReLU needs its output, swish its input; the next convolution needs the output."""
        self.keep(values * (self.swish + output_kept if self.swish else 1))

    def max_pool(self, values: int) -> None:
        """A pool with so many outputs; it needs to know where they came from."""
        self.keep(values)
        self.kept_bytes += INDEX_BYTES * values

    def keep(self, values: int) -> None:
        """Values that the backward pass needs."""
        self.kept_bytes += VALUE_BYTES * values

    def sums(self) -> Sums:
        return self.params, self.macs, self.executed_macs, self.kept_bytes


def _stem_conv_level(first: StemBlock) -> int:
    return 2 if first.level > 1 and first.kind != "mbconv" else 1


@_remember
def _stem_conv(scale: Scale, size: Size, first: StemBlock) -> Sums:
    tally = _Tally(scale)
    tally.keep(3 * size[0] * size[1])
    channels = stem_width(scale, first.kind)
    tally.conv(3, channels, 3 if first.kind == "mbconv" else 7, _area(size, 1))
    if _stem_conv_level(first) == 2:
        tally.max_pool(channels * _area(size, 2))
    return tally.sums()


@_remember
def _resample(scale: Scale, size: Size, level_in: int, kind_in: str, level: int, kind: str) -> Sums:
    """One parent brought to the block's level and input channels (paper section 3.2, figure 5)."""
    tally = _Tally(scale)
    channels, out = scale.channels(level_in, kind_in), scale.channels(level, kind)
    area_in, area = _area(size, level_in), _area(size, level)
    if kind != "mbconv":
        squeezed = scale.squeezed(level_in, kind_in)
        tally.conv(channels, squeezed, 1, area_in)
        channels = squeezed
    for step in range(level_in + 1, level + 1):
        if kind == "mbconv":
            tally.conv(channels, channels, 3, _area(size, step), groups=channels)
        elif step == level_in + 1:
            tally.conv(channels, channels, 3, _area(size, step))
        else:
            tally.max_pool(channels * _area(size, step))
    tally.conv(channels, out, 1, area, activated=False, executed_area=min(area_in, area))
    if level_in > level:
        (height_in, width_in), (height, width) = level_size(size, level_in), level_size(size, level)
        if height % height_in or width % width_in:
            # Training upsamples before the convolution in this case.
            tally.keep(channels * (area - tally.swish * area_in))
        else:
            tally.keep(out * (area_in - area))
    return tally.sums()


@_remember
def _fusion(scale: Scale, size: Size, level: int, kind: str) -> Sums:
    """The sum of the parents, activated."""
    tally = _Tally(scale)
    tally.activation(scale.channels(level, kind) * _area(size, level))
    return tally.sums()


@_remember
def _block_group(
    scale: Scale, size: Size, level: int, kind: str, channels: int, level_in: int, output_kept: bool
) -> Sums:
    """A block repeated in a row, entered with so many channels at a level."""
    tally = _Tally(scale)
    filters, out = scale.filters(level, kind), scale.channels(level, kind)
    area_in, area = _area(size, level_in), _area(size, level)
    for repeat in range(scale.repeats):
        kept = output_kept or repeat + 1 < scale.repeats
        if kind == "mbconv":
            _mbconv(tally, channels, out, area_in, area)
            tally.keep(out * area * kept)
        else:
            if channels != out or area_in != area:
                tally.conv(channels, out, 1, area, activated=False)
            if kind == "bottleneck":
                tally.conv(channels, filters, 1, area_in)
                tally.conv(filters, filters, 3, area)
                tally.conv(filters, out, 1, area, activated=False)
            else:
                tally.conv(channels, filters, 3, area)
                tally.conv(filters, filters, 3, area, activated=False)
            tally.activation(out * area, kept)
        channels, area_in = out, area
    return tally.sums()


def _mbconv(tally: _Tally, channels: int, out: int, area_in: int, area: int) -> None:
    expanded, reduced = MOBILE_EXPANSION * channels, squeeze_excite_filters(channels)
    tally.conv(channels, expanded, 1, area_in)
    tally.conv(expanded, expanded, 3, area, groups=expanded)
    tally.conv(expanded, reduced, 1, 1, bias=True, norms=0, activated=False)
    tally.conv(reduced, expanded, 1, 1, bias=True, norms=0, activated=False)
    # Pooled values, those after ReLU, the gate, and the gated values.
    tally.keep(2 * expanded + reduced + expanded * area)
    tally.conv(expanded, out, 1, area, activated=False)


@_remember
def _endpoint(scale: Scale, size: Size, level: int, kind: str) -> Sums:
    tally = _Tally(scale)
    area = _area(size, level)
    tally.conv(scale.channels(level, kind), scale.endpoints, 1, area, activated=False)
    tally.activation(scale.endpoints * area, output_kept=False)
    return tally.sums()


@_remember
def _retinanet(scale: Scale, size: Size, levels: tuple[int, ...], classes: int, mobile: bool) -> Sums:
    """Two towers shared over the levels, with a batch norm of its own for every level and layer."""
    tally = _Tally(scale)
    area = sum(_area(size, level) for level in levels)
    for predictions in (classes * ANCHORS_PER_PLACE, 4 * ANCHORS_PER_PLACE):
        channels = scale.endpoints
        for _ in range(scale.head_convs):
            _head_conv(tally, channels, scale.head_filters, area, mobile, norms=len(levels))
            channels = scale.head_filters
        _head_conv(tally, channels, predictions, area, mobile, norms=0)
    return tally.sums()


def _head_conv(tally: _Tally, channels: int, out: int, area: int, mobile: bool, norms: int) -> None:
    if mobile:
        tally.conv(channels, channels, 3, area, groups=channels, norms=0, activated=False)
        tally.keep(channels * area)
    tally.conv(channels, out, 1 if mobile else 3, area, bias=True, norms=norms, activated=norms > 0)


@_remember
def _mask_rcnn(scale: Scale, size: Size, levels: tuple[int, ...], classes: int) -> Sums:
    """Region proposals, box head and mask head; of the published outputs one is background."""
    tally = _Tally(scale)
    filters, convs, hidden = mask_heads(scale)
    area = sum(_area(size, level) for level in levels)
    tally.conv(scale.endpoints, filters, 3, area, bias=True, norms=len(levels))
    tally.conv(filters, 3 * (1 + 4), 1, area, bias=True, norms=0, activated=False)
    for regions, side in ((PROPOSALS, MASK_BOX_SIDE), (MASKS, MASK_SIDE)):
        channels = scale.endpoints
        for _ in range(convs):
            tally.conv(channels, filters, 3, regions * side * side, bias=True)
            channels = filters
        if side == MASK_BOX_SIDE:
            tally.conv(filters, hidden, side, regions, bias=True)
            tally.conv(hidden, 5 * (classes + 1), 1, regions, bias=True, norms=0, activated=False)
        else:
            # A transposed 2x2 convolution with stride 2: every output pixel is reached by one of the four.
            places = 4 * regions * side * side
            tally.params += 3 * filters * filters
            tally.conv(filters, filters, 1, places, bias=True)
            tally.conv(filters, classes + 1, 1, places, bias=True, norms=0, activated=False)
    return tally.sums()


@_remember
def _classifier(scale: Scale, classes: int) -> Sums:
    tally = _Tally(scale)
    tally.conv(scale.endpoints, classes, 1, 1, bias=True, norms=0, activated=False)
    tally.keep(scale.endpoints)
    return tally.sums()


def check_size(size: object) -> Size:
    """Height and width in pixels of a size given as two numbers or one; raises CostError if out of range."""
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2 or not all(type(side) is int and 1 <= side <= 65536 for side in pair):
        raise CostError(f"size must be pixels in 1..65536, one number or two, not {size!r}")
    return pair


def _area(size: Size, level: int) -> int:
    height, width = level_size(size, level)
    return height * width
