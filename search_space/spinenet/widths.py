"""Widths of SpineNet's stem and of the mobile network's blocks."""

from __future__ import annotations

from search_space.scale import Scale

STEM_WIDTH = 64
"""Filters of the stem's first convolution; never scaled."""


MOBILE_STEM_WIDTH = 8


MOBILE_EXPANSION = 6


MOBILE_SE_RATIO = 0.2


def stem_width(scale: Scale, kind: str) -> int:
    """Returns the filters of the first convolution: 64, or a scaled number in the mobile network."""
    return max(1, int(MOBILE_STEM_WIDTH * scale.width)) if kind == "mbconv" else STEM_WIDTH


def squeeze_excite_filters(channels: int) -> int:
    """Returns the filters of an MBConv block's squeeze-and-excitation, given the block's input channels."""
    return max(1, int(channels * MOBILE_SE_RATIO))
