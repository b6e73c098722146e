"""Ready-made spaces: the five searches of the paper (table 1) and Google's three released spaces.

Google's spaces (google/vertex-ai-nas) draw intermediates' parents from four features instead of five
and differ in the allocation, so that SpineNet-49 is in none of them.
"""

from __future__ import annotations

from types import MappingProxyType

from search_space.names import look_up
from search_space.scale_permuted import ScalePermutedSpace, SpaceError
from search_space.spec import StemBlock


def published_space(name: str) -> ScalePermutedSpace:
    """A ready-made space, such as published_space("spinenet-49").

    Raises:
        SpaceError: if there is none of that name.
    """
    return look_up(name, SPACES, "space", SpaceError)


def _stem(*levels: int, kind: str = "bottleneck") -> tuple[StemBlock, ...]:
    return tuple(StemBlock(level, kind) for level in levels)


_R0_BASES = (2, 3, 3, 3, 4, 4, 4, 4, 4, 5)
_BOTH_KINDS = ("bottleneck", "residual")

SPACES = MappingProxyType(
    {
        "r35-sp18": ScalePermutedSpace(_stem(2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 5), (2,)),
        "r23-sp30": ScalePermutedSpace(_stem(2, 2, 3, 3, 4, 4, 5), (2, 3, 4, 4, 4)),
        "r14-sp39": ScalePermutedSpace(_stem(2, 3, 4, 5), (2, 2, 3, 3, 4, 4, 4, 4)),
        "r0-sp53": ScalePermutedSpace(_stem(2, 2), _R0_BASES),
        "spinenet-49": ScalePermutedSpace(
            _stem(2, 2), _R0_BASES, level_shifts=(-1, 0, 1, 2), kinds=_BOTH_KINDS
        ),
        "google-spinenet": ScalePermutedSpace(
            _stem(2, 2),
            (2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5),
            parent_window=4,
            level_shifts=(-1, 0, 1, 2),
            kinds=("residual", "bottleneck"),
        ),
        "google-spinenet-v2": ScalePermutedSpace(
            _stem(2, 2), _R0_BASES, parent_window=4, level_shifts=(-1, 0, 1)
        ),
        "google-spinenet-mbconv": ScalePermutedSpace(
            _stem(1, 2, kind="mbconv"),
            (2, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5),
            parent_window=4,
            level_shifts=(-1, 0, 1, 2),
            kinds=("mbconv",),
        ),
    }
)
"""All ready-made spaces by name."""
