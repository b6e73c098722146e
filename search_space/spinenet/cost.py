"""Cost of a SpineNet spec: parameters, multiply-adds and activation memory, from arithmetic alone."""

from __future__ import annotations

from search_space.cost import (
    Cost,
    PartCost,
    Size,
    Sums,
    Tally,
    add_parts,
    area_at_level,
    check_size,
    remember,
)
from search_space.heads import Head, head_parts
from search_space.scale import Scale, level_size
from search_space.spinenet.spec import SpineNetSpec, StemBlock
from search_space.spinenet.widths import MOBILE_EXPANSION, squeeze_excite_filters, stem_level, stem_width
from search_space.spinenet.wiring import live_blocks, wire


def spinenet_cost(
    spec: SpineNetSpec,
    scale: Scale,
    size: int | tuple[int, int] = 640,
    head: Head | str = "none",
    classes: int = 80,
) -> Cost:
    """Computes the cost for one image; see `search_space.spec_cost` for arguments and errors.

    Dead blocks are not counted.
    """
    size = check_size(size)
    wiring = wire(spec)
    blocks = live_blocks(spec, wiring)
    features = spec.features
    # A feature that is only added to others, and an endpoint, keep no activated value: no later layer needs
    # it. (ReLU needs it itself.) An MBConv block may convolve an upsampled copy of its parent alone.
    convolved = {
        parent
        for _, block, _ in blocks
        for parent in block.parents
        if block.kind != "mbconv" or not _upsamples_first(size, features[parent].level, block.level)
    }
    parts = [PartCost("stem conv", *_stem_conv(scale, size, spec.stem[0]))]
    stem = spec.stem[: wiring.live_stem]
    channels, level = stem_width(scale, stem[0].kind), stem_level(stem[0])
    for i, stem_block in enumerate(stem):
        kept = i in convolved or i + 1 < len(stem)
        group = _block_group(scale, size, stem_block.level, stem_block.kind, channels, level, kept)
        parts.append(PartCost(f"stem {i}", *group))
        channels, level = scale.channels(stem_block.level, stem_block.kind), stem_block.level
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
    levels = tuple(level for level, _ in outputs)
    kept_levels = levels if scale.activation == "relu" else ()
    head_cost = head_parts(head, scale, size, levels, classes, spec.separable_head, kept_levels)
    return add_parts([*parts, *head_cost])


@remember
def _stem_conv(scale: Scale, size: Size, first: StemBlock) -> Sums:
    tally = Tally(scale.activation)
    tally.keep(3 * size[0] * size[1])
    channels = stem_width(scale, first.kind)
    tally.conv(3, channels, 3 if first.kind == "mbconv" else 7, area_at_level(size, 1))
    if stem_level(first) == 2:
        tally.max_pool(channels * area_at_level(size, 2))
    return tally.sums()


@remember
def _resample(scale: Scale, size: Size, level_in: int, kind_in: str, level: int, kind: str) -> Sums:
    """Computes the cost of resampling one parent to a block's level and channels (paper section 3.2)."""
    tally = Tally(scale.activation)
    channels, out = scale.channels(level_in, kind_in), scale.channels(level, kind)
    area_in, area = area_at_level(size, level_in), area_at_level(size, level)
    if kind != "mbconv":
        squeezed = scale.squeezed(level_in, kind_in)
        tally.conv(channels, squeezed, 1, area_in)
        channels = squeezed
    for step in range(level_in + 1, level + 1):
        if kind == "mbconv":
            tally.conv(channels, channels, 3, area_at_level(size, step), groups=channels)
        elif step == level_in + 1:
            tally.conv(channels, channels, 3, area_at_level(size, step))
        else:
            tally.max_pool(channels * area_at_level(size, step))
    tally.conv(channels, out, 1, area, activated=False, executed_area=min(area_in, area))
    if _upsamples_first(size, level_in, level):
        squeezed_area = area_in if tally.swish and kind != "mbconv" else 0
        tally.keep(channels * (area - squeezed_area))
    elif level_in > level:
        tally.keep(out * (area_in - area))
    return tally.sums()


def _upsamples_first(size: Size, level_in: int, level: int) -> bool:
    """Whether training upsamples before the last convolution, as some values are repeated more often."""
    if level_in <= level:
        return False
    (height_in, width_in), (height, width) = level_size(size, level_in), level_size(size, level)
    return height % height_in > 0 or width % width_in > 0


@remember
def _fusion(scale: Scale, size: Size, level: int, kind: str) -> Sums:
    """Computes the cost of the activation of the parents' sum."""
    tally = Tally(scale.activation)
    tally.activation(scale.channels(level, kind) * area_at_level(size, level))
    return tally.sums()


@remember
def _block_group(
    scale: Scale, size: Size, level: int, kind: str, channels: int, level_in: int, output_kept: bool
) -> Sums:
    """Computes the cost of a block repeated in a row, given channels and level of its input."""
    if scale.repeats == 1:
        return _block(scale, size, level, kind, channels, level_in, output_kept)
    tally, out = Tally(), scale.channels(level, kind)
    tally.add(_block(scale, size, level, kind, channels, level_in, True))
    tally.add(_block(scale, size, level, kind, out, level, True), scale.repeats - 2)
    tally.add(_block(scale, size, level, kind, out, level, output_kept))
    return tally.sums()


def _block(
    scale: Scale, size: Size, level: int, kind: str, channels: int, level_in: int, output_kept: bool
) -> Sums:
    """Computes the cost of one block, given channels and level of its input."""
    tally = Tally(scale.activation)
    filters, out = scale.filters(level, kind), scale.channels(level, kind)
    area_in, area = area_at_level(size, level_in), area_at_level(size, level)
    if kind == "mbconv":
        _mbconv(tally, channels, out, area_in, area)
        tally.keep(out * area * output_kept)
        return tally.sums()
    if channels != out or level_in != level:
        tally.conv(channels, out, 1, area, activated=False)
    if kind == "bottleneck":
        tally.conv(channels, filters, 1, area_in)
        tally.conv(filters, filters, 3, area)
        tally.conv(filters, out, 1, area, activated=False)
    else:
        tally.conv(channels, filters, 3, area)
        tally.conv(filters, filters, 3, area, activated=False)
    tally.activation(out * area, output_kept)
    return tally.sums()


def _mbconv(tally: Tally, channels: int, out: int, area_in: int, area: int) -> None:
    expanded, reduced = MOBILE_EXPANSION * channels, squeeze_excite_filters(channels)
    tally.conv(channels, expanded, 1, area_in)
    tally.conv(expanded, expanded, 3, area, groups=expanded)
    tally.conv(expanded, reduced, 1, 1, bias=True, norms=0, activated=False)
    tally.conv(reduced, expanded, 1, 1, bias=True, norms=0, activated=False)
    # Pooled values, those after ReLU, the gate, and the gated values.
    tally.keep(2 * expanded + reduced + expanded * area)
    tally.conv(expanded, out, 1, area, activated=False)


@remember
def _endpoint(scale: Scale, size: Size, level: int, kind: str) -> Sums:
    tally = Tally(scale.activation)
    area = area_at_level(size, level)
    tally.conv(scale.channels(level, kind), scale.endpoints, 1, area, activated=False)
    tally.activation(scale.endpoints * area, output_kept=False)
    return tally.sums()
