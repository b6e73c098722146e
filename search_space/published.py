"""Published specs and ready-made spaces of all families, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, overload

from search_space.nas_fpn.space import MergingCellSpace
from search_space.nas_fpn.spec import NAS_FPN, MergingCellsSpec
from search_space.resnet_fpn.spec import R50FPNSpec
from search_space.space import Space
from search_space.spec import PublishedSpec, Spec
from search_space.spec_file import SpecError
from search_space.spinenet.published import SPINENET_SPACES, SPINENET_SPECS
from search_space.spinenet.space import ScalePermutedSpace, SpaceError
from search_space.spinenet.spec import SpineNetSpec
from search_space.utils.lookup import lookup

PUBLISHED_SPECS: Mapping[str, PublishedSpec[Spec]] = MappingProxyType(
    {
        **SPINENET_SPECS,
        "nas-fpn": PublishedSpec(spec=NAS_FPN, source="Ghiasi et al., CVPR 2019, released code"),
        "r50-fpn": PublishedSpec(spec=R50FPNSpec(), source="ResNet-50 with FPN, as in Du et al., CVPR 2020"),
    }
)
"""All published specs by name. SpineNet-49S, 96, 143 and 190 are scales of "spinenet-49"."""


SPACES: Mapping[str, Space] = MappingProxyType({**SPINENET_SPACES, "nas-fpn": MergingCellSpace()})
"""All ready-made spaces by name."""


@overload
def published_spec(name: Literal["spinenet-49", "r0-sp53", "mobile-spinenet-49"]) -> SpineNetSpec: ...


@overload
def published_spec(name: Literal["nas-fpn"]) -> MergingCellsSpec: ...


@overload
def published_spec(name: Literal["r50-fpn"]) -> R50FPNSpec: ...


@overload
def published_spec(name: str) -> Spec: ...


def published_spec(name: str) -> Spec:
    """Returns a published spec, such as published_spec("spinenet-49").

    Raises:
        SpecError: if there is none of that name.
    """
    return lookup(name, PUBLISHED_SPECS, "spec", SpecError).spec


SpineNetSpaceName = Literal[
    "r35-sp18",
    "r23-sp30",
    "r14-sp39",
    "r0-sp53",
    "spinenet-49",
    "google-spinenet",
    "google-spinenet-v2",
    "google-spinenet-mbconv",
]


@overload
def published_space(name: SpineNetSpaceName) -> ScalePermutedSpace: ...


@overload
def published_space(name: Literal["nas-fpn"]) -> MergingCellSpace: ...


@overload
def published_space(name: str) -> Space: ...


def published_space(name: str) -> Space:
    """Returns a ready-made space, such as published_space("spinenet-49").

    Raises:
        SpaceError: if there is none of that name.
    """
    return lookup(name, SPACES, "space", SpaceError)
