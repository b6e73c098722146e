"""Cost of a NAS-FPN on its ResNet: from arithmetic alone."""

from __future__ import annotations

from search_space.cost import Cost, PartCost, Size, Tally, add_parts, area_at_level, check_size
from search_space.heads import Head, head_parts
from search_space.nas_fpn.spec import INPUTS, MergingCellsSpec
from search_space.resnet_fpn.cost import resnet_parts
from search_space.resnet_fpn.widths import EXPANSION, stage_filters
from search_space.scale import Scale, level_size


def nas_fpn_cost(
    spec: MergingCellsSpec,
    scale: Scale,
    size: int | tuple[int, int] = 640,
    head: Head | str = "none",
    classes: int = 80,
) -> Cost:
    """Computes the cost for one image; see `search_space.spec_cost` for arguments and errors."""
    size = check_size(size)
    filters = scale.endpoints
    parts = list(resnet_parts(scale.width, spec.layers, size))
    for level, channels in enumerate(stage_filters(scale.width)[1:], start=3):
        lateral = Tally()
        lateral.conv(EXPANSION * channels, filters, 1, area_at_level(size, level), activated=False)
        parts.append(PartCost(f"P{level}", *lateral.sums()))
    for level in (6, 7):
        pool = Tally()
        pool.keep(filters * area_at_level(size, level - 1))
        pool.keep_indices(filters * area_at_level(size, level))
        parts.append(PartCost(f"P{level}", *pool.sums()))
    kept = {INPUTS.index(5), INPUTS.index(6)}
    for number in range(spec.stacks):
        tally = Tally()
        kept = _add_stack(tally, spec, filters, size, kept)
        parts.append(PartCost(f"stack {number + 1}", *tally.sums()))
    kept_levels = tuple(INPUTS[number] for number in sorted(kept))
    return add_parts([*parts, *head_parts(head, scale, size, INPUTS, classes, kept_levels=kept_levels)])


def _add_stack(tally: Tally, spec: MergingCellsSpec, filters: int, size: Size, kept: set[int]) -> set[int]:
    """Adds the cost of one stack.

    Args:
        tally: takes the cost.
        spec: of the stack.
        filters: of its cells.
        size: of the image in pixels.
        kept: the inputs that the backward pass keeps already; 0 is P3.

    Returns:
        The outputs that the backward pass keeps, numbered in the same way.
    """
    levels = [*INPUTS, *(cell.level for cell in spec.cells)]
    kept = set(kept)

    def keep_feature(feature: int) -> None:
        if feature not in kept:
            kept.add(feature)
            tally.keep(filters * area_at_level(size, levels[feature]))

    for cell in spec.cells:
        target, area = level_size(size, cell.level), area_at_level(size, cell.level)
        for parent in cell.parents:
            source = level_size(size, levels[parent])
            if source > target:
                keep_feature(parent)
                tally.keep_indices(filters * area)
            if cell.merge == "attention":
                if source == target:
                    keep_feature(parent)
                else:
                    tally.keep(filters * area)
        if cell.merge == "attention":
            tally.keep(2 * filters)  # The maxima over height and width, and their sigmoids.
        tally.activation(filters * area)
        tally.conv(filters, filters, 3, area, activated=False)
    last = {level: feature for feature, level in enumerate(levels)}
    return {i for i, level in enumerate(INPUTS) if last[level] in kept}
