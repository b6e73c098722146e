"""Cost of an R50-FPN, and of the ResNet below it: from arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence

from search_space.cost import Cost, PartCost, Size, Tally, add_parts, area_at_level, check_size, remember
from search_space.heads import Head, head_parts
from search_space.resnet_fpn.spec import LEVELS, R50, R50FPNSpec
from search_space.resnet_fpn.widths import EXPANSION, STEM_WIDTH, stage_filters
from search_space.scale import Scale


def r50_fpn_cost(
    spec: R50FPNSpec,
    scale: Scale,
    size: int | tuple[int, int] = 640,
    head: Head | str = "none",
    classes: int = 80,
) -> Cost:
    """Computes the cost for one image; see `search_space.spec_cost` for arguments and errors."""
    size = check_size(size)
    parts = [*resnet_parts(spec.width, R50, size), *_pyramid_parts(spec.width, scale.endpoints, size)]
    # P6 is a convolution of P5 itself, P7 one of P6 after ReLU.
    return add_parts([*parts, *head_parts(head, scale, size, LEVELS, classes, kept_levels=(5,))])


@remember
def resnet_parts(width: float, layers: Sequence[int], size: Size) -> tuple[PartCost, ...]:
    """Computes the cost of the first convolution and of the four stages.

    Args:
        width: multiplier of the widths.
        layers: a tuple with the number of blocks of each stage.
        size: height and width of the input in pixels.

    Raises:
        ScaleError: if the width leaves a block without filters.
    """
    stem = Tally()
    stem.keep(3 * size[0] * size[1])
    stem.conv(3, STEM_WIDTH, 7, area_at_level(size, 1))
    stem.max_pool(STEM_WIDTH * area_at_level(size, 2))
    parts = [PartCost("stem conv", *stem.sums())]
    channels, area_in = STEM_WIDTH, area_at_level(size, 2)
    for level, (count, filters) in enumerate(zip(layers, stage_filters(width), strict=True), start=2):
        stage, area, out = Tally(), area_at_level(size, level), EXPANSION * filters
        stage.conv(channels, out, 1, area, activated=False)  # The shortcut of the first block.
        for _ in range(count):
            stage.conv(channels, filters, 1, area_in)
            stage.conv(filters, filters, 3, area)
            stage.conv(filters, out, 1, area, activated=False)
            stage.activation(out * area)
            channels, area_in = out, area
        parts.append(PartCost(f"stage {level - 1}", *stage.sums()))
    return tuple(parts)


@remember
def _pyramid_parts(width: float, endpoints: int, size: Size) -> tuple[PartCost, ...]:
    """Computes the cost of lateral and output convolutions at P3 to P5, and of the strided ones to P6, P7."""
    parts = []
    for level, filters in enumerate(stage_filters(width)[1:], start=3):
        tally, area = Tally(), area_at_level(size, level)
        tally.conv(EXPANSION * filters, endpoints, 1, area, activated=False)
        tally.keep(endpoints * area)
        tally.conv(endpoints, endpoints, 3, area, activated=False)
        parts.append(PartCost(f"P{level}", *tally.sums()))
    for level in (6, 7):
        tally = Tally()
        tally.keep(endpoints * area_at_level(size, level - 1))
        area = area_at_level(size, level)
        tally.conv(endpoints, endpoints, 3, area, bias=True, norms=0, activated=False)
        parts.append(PartCost(f"P{level}", *tally.sums()))
    return tuple(parts)
