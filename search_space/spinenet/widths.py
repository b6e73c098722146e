"""Widths and levels of SpineNet's stem, and widths of the mobile network's blocks."""

from __future__ import annotations

from search_space.scale import Scale
from search_space.spinenet.spec import StemBlock

STEM_WIDTH = 64
"""Filters of the stem's first convolution; never scaled."""


MOBILE_STEM_WIDTH = 8


MOBILE_EXPANSION = 6


MOBILE_SE_RATIO = 0.2


def stem_width(scale: Scale, kind: str) -> int:
    """Returns the filters of the first convolution: 64, or a scaled number in the mobile network."""
    return max(1, int(MOBILE_STEM_WIDTH * scale.width)) if kind == "mbconv" else STEM_WIDTH


def stem_level(first: StemBlock) -> int:
    """Returns the level at which the stem's first block gets its input, after convolution and pool."""
    return 2 if first.level > 1 and first.kind != "mbconv" else 1


def squeeze_excite_filters(channels: int) -> int:
    """Returns the filters of an MBConv block's squeeze-and-excitation, given the block's input channels."""
    return max(1, int(channels * MOBILE_SE_RATIO))
