"""Scale: how a spec becomes a network of a certain width and depth (paper section 3.4, appendix A)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from search_space.names import look_up

STEM_WIDTH = 64
"""Filters of the stem's first convolution; never scaled."""
BASE_WIDTHS = MappingProxyType({1: 32, 2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256})
"""Filters of the 3x3 convolutions by level, before the width multiplier."""
MOBILE_STEM_WIDTH = 8
MOBILE_WIDTHS = MappingProxyType({1: 16, 2: 24, 3: 40, 4: 80, 5: 112, 6: 112, 7: 112})
"""Output filters of MBConv blocks by level, before the width multiplier (paper appendix A)."""
MOBILE_EXPANSION = 6
MOBILE_SE_RATIO = 0.2

MASK_BOX_SIDE, MASK_SIDE = 7, 14
"""Sides of the regions that Mask R-CNN's box head and mask head see."""

Activation = Literal["relu", "swish"]


class ScaleError(ValueError):
    """A scale that cannot be, or that leaves a block without filters."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The numbers that turn a spec into a network.

    Args:
        width: multiplier of all block widths, above 0; widths are truncated to whole filters.
        alpha: width of a resampled connection relative to its parent's 3x3 width, above 0.
        endpoints: filters of every output P3..P7.
        repeats: how often each block stands in a row, stem blocks included.
        activation: "relu" or "swish".
        stochastic_depth: drop rate of the last block, in [0, 1); block i of n has rate * i / n.
        head_filters: filters of the RetinaNet head that goes with the scale.
        head_convs: convolutions in each of its two towers.

    Raises:
        ScaleError: if a number is out of range.
    """

    width: float = 1.0
    alpha: float = 0.5
    endpoints: int = 256
    repeats: int = 1
    activation: Activation = "relu"
    stochastic_depth: float = 0.0
    head_filters: int = 256
    head_convs: int = 4

    def __post_init__(self) -> None:
        for name in ("width", "alpha"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value <= 1000:
                raise ScaleError(f"{name} must be a number above 0 and up to 1000, not {value!r}")
        for name, least in (("endpoints", 1), ("repeats", 1), ("head_filters", 1), ("head_convs", 0)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= 100_000:
                raise ScaleError(f"{name} must be a whole number in {least}..100000, not {value!r}")
        if self.activation not in ("relu", "swish"):
            raise ScaleError(f"activation must be relu or swish, not {self.activation!r}")
        if not _is_number(self.stochastic_depth) or not 0 <= self.stochastic_depth < 1:
            raise ScaleError(f"stochastic_depth must be in [0, 1), not {self.stochastic_depth!r}")

    def filters(self, level: int, kind: str) -> int:
        """3x3 filters of a bottleneck or residual block, or output filters of an MBConv block."""
        base = (MOBILE_WIDTHS if kind == "mbconv" else BASE_WIDTHS)[level]
        filters = int(base * self.width)
        if filters < 1:
            raise ScaleError(f"width {self.width} leaves a block at level {level} without filters")
        return filters

    def channels(self, level: int, kind: str) -> int:
        """Channels that a block takes in and gives out."""
        filters = self.filters(level, kind)
        return 4 * filters if kind == "bottleneck" else filters

    def squeezed(self, level: int, kind: str) -> int:
        """Channels of a connection from such a parent while it is resampled."""
        squeezed = int(self.filters(level, kind) * self.alpha)
        if squeezed < 1:
            raise ScaleError(
                f"alpha {self.alpha} at width {self.width} leaves a connection from level {level} "
                "without filters"
            )
        return squeezed


def stem_width(scale: Scale, kind: str) -> int:
    """Filters of the stem's first convolution: 64 at every scale, but scaled in the mobile network."""
    return max(1, int(MOBILE_STEM_WIDTH * scale.width)) if kind == "mbconv" else STEM_WIDTH


def mask_heads(scale: Scale) -> tuple[int, int, int]:
    """Filters and convolutions of Mask R-CNN's heads, and width of the box head's hidden layer.

    They follow the RetinaNet head's, and give the released ones at every published scale: 128, 4, 512 for
    49S; 256, 4, 1024 for 49, 96 and 143; 384, 7, 1024 for 190.
    """
    filters = min(scale.head_filters, 384)
    return filters, scale.head_convs, min(1024, 4 * filters)


def squeeze_excite_filters(channels: int) -> int:
    """Filters of an MBConv block's squeeze-and-excitation, from the channels that enter the block."""
    return max(1, int(channels * MOBILE_SE_RATIO))


def parse_scale(text: str) -> Scale:
    """A scale from a name such as "49S", or from a name or nothing and changes: "49,width=0.5,repeats=2".

    Raises:
        ScaleError: if a name or a key is unknown, or a value is no number.
    """
    head, *changes = text.split(",")
    if "=" in head:
        head, changes = "49", [head, *changes]
    scale = look_up(head, SCALES, "scale", ScaleError)
    for change in changes:
        key, _, value = change.partition("=")
        if key not in Scale.__dataclass_fields__:
            raise ScaleError(
                f"unknown key {key!r} in a scale; known are {', '.join(Scale.__dataclass_fields__)}"
            )
        scale = replace(scale, **{key: _parse(key, value)})  # type: ignore[arg-type]
    return scale


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """Height and width in pixels of a feature at a level, for an input of the given size."""
    stride = 1 << level
    return -(-size[0] // stride), -(-size[1] // stride)


def _parse(key: str, value: str) -> str | int | float:
    kind = Scale.__dataclass_fields__[key].type
    try:
        return int(value) if kind == "int" else float(value) if kind == "float" else value
    except ValueError:
        raise ScaleError(f"{key} must be a number, not {value!r}") from None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


SCALES = MappingProxyType(
    {
        "49S": Scale(0.65, 0.5, 128, head_filters=128),
        "49": Scale(),
        "96": Scale(repeats=2),
        "143": Scale(alpha=1.0, repeats=3),
        "143L": Scale(1.3, 1.0, repeats=3),
        "190": Scale(1.3, 1.0, 512, repeats=4, head_filters=512, head_convs=7),
        "proxy": Scale(0.25, 0.25, 64, head_filters=64),
        "mobile-49": Scale(endpoints=48, head_filters=48, activation="swish"),
        "mobile-49S": Scale(0.65, endpoints=40, head_filters=40, activation="swish"),
        "mobile-49XS": Scale(0.6, endpoints=24, head_filters=24, activation="swish"),
    }
)
"""Published scales, and "proxy": the quarter-width network that the search trains (section 5.1)."""
