"""Widths of a ResNet of bottleneck blocks."""

from __future__ import annotations

from search_space.scale import ScaleError

STEM_WIDTH = 64
"""Filters of the first convolution; never scaled."""

EXPANSION = 4
"""Output filters of a bottleneck block, as a multiple of its 3x3 filters."""


def stage_filters(width: float) -> tuple[int, ...]:
    """Returns the 3x3 filters of the four stages, which are at levels 2 to 5, truncated to whole filters.

    Args:
        width: multiplier of ResNet's 64, 128, 256 and 512 filters.

    Raises:
        ScaleError: if the width leaves a block without filters.
    """
    filters = tuple(int(64 * 2**i * width) for i in range(4))
    if filters[0] < 1:
        raise ScaleError(f"width {width} leaves a block without filters")
    return filters
