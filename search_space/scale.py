"""Scale: how a spec becomes a network of a certain width and depth (paper section 3.4, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Literal

from search_space.utils.lookup import lookup
from search_space.utils.validation import Above, AtLeast, AtMost, Below, validate

BASE_WIDTHS = MappingProxyType({1: 32, 2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256})
"""Filters of the 3x3 convolutions by level, before the width multiplier."""


MOBILE_WIDTHS = MappingProxyType({1: 16, 2: 24, 3: 40, 4: 80, 5: 112, 6: 112, 7: 112})
"""Output filters of MBConv blocks by level, before the width multiplier (paper appendix A)."""


Activation = Literal["relu", "swish"]


class ScaleError(ValueError):
    """A scale is impossible, or it leaves a block without filters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """The numbers that turn a spec into a network.

    Args:
        width: multiplier of all block widths, above 0; widths are truncated to whole filters.
        alpha: width of a resampled connection relative to its parent's 3x3 width, above 0.
        endpoints: filters of every output P3..P7.
        repeats: how many times each block is repeated in a row, stem blocks included.
        activation: "relu" or "swish".
        stochastic_depth: drop rate of the last block, in [0, 1); block i of n has rate * i / n.
        head_filters: filters of the head that goes with the scale.
        head_convs: convolutions in each tower of that head.

    Raises:
        ScaleError: if a number is out of range.
    """

    width: Annotated[float, Above(0), AtMost(1000)] = 1.0
    alpha: Annotated[float, Above(0), AtMost(1000)] = 0.5
    endpoints: Annotated[int, AtLeast(1), AtMost(100_000)] = 256
    repeats: Annotated[int, AtLeast(1), AtMost(100_000)] = 1
    activation: Activation = "relu"
    stochastic_depth: Annotated[float, AtLeast(0), Below(1)] = 0.0
    head_filters: Annotated[int, AtLeast(1), AtMost(100_000)] = 256
    head_convs: Annotated[int, AtLeast(0), AtMost(100_000)] = 4

    def __post_init__(self) -> None:
        validate(self, ScaleError)

    def filters(self, level: int, kind: str) -> int:
        """Returns the 3x3 filters of a bottleneck or residual block, or an MBConv block's output filters.

        Raises:
            ScaleError: if the width leaves the block without filters.
        """
        base = (MOBILE_WIDTHS if kind == "mbconv" else BASE_WIDTHS)[level]
        filters = int(base * self.width)
        if filters < 1:
            raise ScaleError(f"width {self.width} leaves a block at level {level} without filters")
        return filters

    def channels(self, level: int, kind: str) -> int:
        """Returns the number of channels that a block takes in and gives out."""
        filters = self.filters(level, kind)
        return 4 * filters if kind == "bottleneck" else filters

    def squeezed(self, level: int, kind: str) -> int:
        """Returns the number of channels of a connection from such a parent while it is resampled.

        Raises:
            ScaleError: if alpha leaves the connection without filters.
        """
        squeezed = int(self.filters(level, kind) * self.alpha)
        if squeezed < 1:
            raise ScaleError(
                f"alpha {self.alpha} at width {self.width} leaves a connection from level {level} "
                "without filters"
            )
        return squeezed


def parse_scale(text: str) -> Scale:
    """Reads a scale: a name such as "49S", a name with changes ("96,width=0.5"), or changes of "49" alone.

    Raises:
        ScaleError: if a name or a key is unknown, or a value is out of range.
    """
    head, *changes = text.split(",")
    if "=" in head:
        head, changes = "49", [head, *changes]
    scale = lookup(head, SCALES, "scale", ScaleError)
    for change in changes:
        key, _, value = change.partition("=")
        if key not in Scale.__dataclass_fields__:
            raise ScaleError(
                f"unknown key {key!r} in a scale; known are {', '.join(Scale.__dataclass_fields__)}"
            )
        scale = replace(scale, **{key: _parse(value)})  # type: ignore[arg-type]
    return scale


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """Returns height and width in pixels of a feature at a level, for an input of the given size."""
    stride = 1 << level
    return -(-size[0] // stride), -(-size[1] // stride)


def _parse(value: str) -> str | int | float:
    """Returns a whole number, a number, or the text itself; `Scale` checks which it must be."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


SCALES = MappingProxyType(
    {
        "49S": Scale(width=0.65, alpha=0.5, endpoints=128, head_filters=128),
        "49": Scale(),
        "96": Scale(repeats=2),
        "143": Scale(alpha=1.0, repeats=3),
        "143L": Scale(width=1.3, alpha=1.0, repeats=3),
        "190": Scale(width=1.3, alpha=1.0, endpoints=512, repeats=4, head_filters=512, head_convs=7),
        "proxy": Scale(width=0.25, alpha=0.25, endpoints=64, head_filters=64),
        "mobile-49": Scale(endpoints=48, head_filters=48, activation="swish"),
        "mobile-49S": Scale(width=0.65, endpoints=40, head_filters=40, activation="swish"),
        "mobile-49XS": Scale(width=0.6, endpoints=24, head_filters=24, activation="swish"),
    }
)
"""Published scales, and "proxy": the quarter-width network that the search trains (section 5.1)."""
