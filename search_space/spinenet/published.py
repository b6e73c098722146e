"""The published SpineNets and the spaces in which they were searched.

Sources: SpineNet-49 and its mobile port are the specs of the authors' released code; R0-SP53 was read
off the paper's figure 4 by a third party and gives 0.4 % fewer multiply-adds than published, so an edge
may be wrong.
"""

from __future__ import annotations

from types import MappingProxyType

from search_space.spec import PublishedSpec
from search_space.spinenet.space import ScalePermutedSpace
from search_space.spinenet.spec import Block, Kind, SpineNetSpec, StemBlock

_b, _r, _m = "bottleneck", "residual", "mbconv"


_SPINENET_49 = SpineNetSpec(
    stem=(StemBlock(2), StemBlock(2)),
    blocks=(
        Block(2, _b, (0, 1)),
        Block(4, _r, (0, 1)),
        Block(3, _b, (2, 3)),
        Block(4, _b, (2, 4)),
        Block(6, _r, (3, 5)),
        Block(4, _b, (3, 5)),
        Block(5, _r, (6, 7)),
        Block(7, _r, (6, 8)),
        Block(5, _b, (8, 9)),
        Block(5, _b, (8, 10)),
        Block(4, _b, (5, 10), output=True),
        Block(3, _b, (4, 10), output=True),
        Block(5, _b, (7, 12), output=True),
        Block(7, _b, (5, 14), output=True),
        Block(6, _b, (12, 14), output=True),
    ),
)


_R0_SP53 = SpineNetSpec(
    stem=(StemBlock(2), StemBlock(2)),
    blocks=(
        Block(2, _b, (0, 1)),
        Block(3, _b, (0, 1)),
        Block(3, _b, (2, 3)),
        Block(4, _b, (2, 4)),
        Block(4, _b, (3, 5)),
        Block(3, _b, (5, 6)),
        Block(5, _b, (4, 7)),
        Block(4, _b, (4, 8)),
        Block(4, _b, (8, 9)),
        Block(4, _b, (8, 10)),
        Block(3, _b, (4, 10), output=True),
        Block(4, _b, (6, 7), output=True),
        Block(5, _b, (8, 13), output=True),
        Block(7, _b, (6, 9), output=True),
        Block(6, _b, (7, 9), output=True),
    ),
)


_MOBILE_SPINENET_49 = SpineNetSpec(
    stem=(StemBlock(1, _m), StemBlock(2, _m)),
    blocks=(
        Block(2, _m, (0, 1)),
        Block(2, _m, (1, 2)),
        Block(4, _m, (1, 2)),
        Block(3, _m, (3, 4)),
        Block(4, _m, (3, 5)),
        Block(6, _m, (4, 6)),
        Block(4, _m, (4, 6)),
        Block(5, _m, (7, 8)),
        Block(7, _m, (7, 9)),
        Block(5, _m, (9, 10)),
        Block(5, _m, (9, 11)),
        Block(4, _m, (6, 11), output=True),
        Block(3, _m, (5, 11), output=True),
        Block(5, _m, (8, 13), output=True),
        Block(7, _m, (6, 15), output=True),
        Block(6, _m, (13, 15), output=True),
    ),
)


SPINENET_SPECS = MappingProxyType(
    {
        "spinenet-49": PublishedSpec(spec=_SPINENET_49, source="Du et al., CVPR 2020, released code"),
        "r0-sp53": PublishedSpec(
            spec=_R0_SP53,
            source="Du et al., CVPR 2020, figure 4, as read by a third party",
        ),
        "mobile-spinenet-49": PublishedSpec(
            spec=_MOBILE_SPINENET_49, source="Du et al., CVPR 2020, appendix A, released code"
        ),
    }
)
"""The published SpineNets by name. SpineNet-49S, 96, 143 and 190 are scales of "spinenet-49"."""


def _stem(*levels: int, kind: str = "bottleneck") -> tuple[StemBlock, ...]:
    return tuple(StemBlock(level, kind) for level in levels)


_R0_BASES = (2, 3, 3, 3, 4, 4, 4, 4, 4, 5)


_BOTH_KINDS: tuple[Kind, ...] = ("bottleneck", "residual")


SPINENET_SPACES = MappingProxyType(
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
"""The ready-made spaces of SpineNets by name."""
