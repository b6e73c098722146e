"""The seam for families of architectures: what every spec offers, whatever network it describes.

A family is a class of specs, such as `SpineNetSpec`. Every other part of the program uses the members of
`Spec` alone, so a new family needs no change anywhere else: see `search_space.families.register_family`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar, runtime_checkable

from search_space.convention import Convention
from search_space.cost import Cost
from search_space.heads import Head
from search_space.norm import NormConfig
from search_space.scale import Scale
from search_space.utils.signatures import accepts
from search_space.utils.validation import is_number

if TYPE_CHECKING:
    from torch import nn


class DrawingError(ValueError):
    """A drawing cannot be made; the message says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A spec in words, for the command line.

    Args:
        table: rows of text, of one length; the first row is the heading.
        notes: lines below the table.
        summary: size and outputs in one phrase, such as "15 blocks, outputs P3, P4, P5, P6, P7".
        warnings: what a reader should know, such as blocks that are never built; one line each.
        facts: the summary and the warnings as data for JSON.
    """

    table: tuple[tuple[str, ...], ...]
    summary: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)


class Spec(Protocol):
    """One architecture as data. Specs are immutable, hashable and picklable.

    Attributes:
        format: the "format" of the family's spec files; no other family has the same.
        title: the family's name in titles, such as "SpineNet".
    """

    format: ClassVar[str]
    title: ClassVar[str]

    @property
    def separable_head(self) -> bool:
        """Whether a head on this backbone uses depthwise-separable convolutions, as mobile networks do."""

    def to_json(self) -> str:
        """Returns the text of a spec file: a JSON object with "format" and whatever `from_dict` reads."""

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Makes a spec of the parsed content of a spec file.

        Raises:
            SpecError: if the content describes no possible network; the message names the key.
        """

    def key(self) -> str:
        """Returns one text for all specs that compute the same function."""

    def cost(
        self, scale: Scale, size: int | tuple[int, int] = 640, head: Head | str = "none", classes: int = 80
    ) -> Cost:
        """Computes parameters, multiply-adds and activation memory; see `spec_cost`."""

    def build(self, scale: Scale, *, norm: NormConfig, convention: Convention = "torch") -> nn.Module:
        """Builds the backbone with its pyramid. This imports torch.

        Returns:
            A module that maps images [N, 3, H, W] to an ordered dict: "P3" is [N, C, ceil(H/8), ceil(W/8)],
            and so on. Its attribute `out_channels` is C, and `levels` is the tuple of levels, ascending.

        Raises:
            ValueError: if the scale leaves a block without filters.
        """

    def describe(self) -> Description:
        """Describes the spec for the command line."""


@runtime_checkable
class Drawable(Protocol):
    """A spec that can be drawn. A family may leave this out."""

    def draw(self, path: str | Path, title: str = "") -> Path:
        """Draws the spec into a file that ends in .svg, .png or .pdf, and returns the file's path.

        Raises:
            DrawingError: if the file has another ending.
            OSError: if the file cannot be written.
        """


@runtime_checkable
class HasGraphFeatures(Protocol):
    """A spec whose connections say something before any training. A family may leave this out."""

    def graph_features(self, *, summary: bool = False) -> dict[str, float]:
        """Computes named numbers of the spec's graph, in well under a millisecond.

        All specs of a space have the same names.

        Args:
            summary: whether only those of the whole spec are given, which become metrics of every score.
        """


def graph_features(spec: object, *, summary: bool = False) -> dict[str, float]:
    """Gives what the graph of a spec tells before any training; nothing for one without such a graph.

    Raises:
        ValueError: if a family of a user's own gives something else than numbers by name.

    Example:
        >>> from search_space import published_spec
        >>> graph_features(published_spec("spinenet-49"))["shortest_path"]
        3.2
    """
    kind: Any = type(spec)  # A class is hashable, which a cache wants to be told.
    if _has_graph_features(kind):
        found: object = spec.graph_features(summary=summary)  # type: ignore[attr-defined]
        if not isinstance(found, Mapping) or not all(is_number(value) for value in found.values()):
            raise ValueError(f"{type(spec).__name__}.graph_features must give finite numbers by name")
        return {str(name): float(value) for name, value in found.items()}
    return {}


@lru_cache(maxsize=64)
def _has_graph_features(kind: Any) -> bool:
    """Whether a class of specs has our method, and not another one of that name."""
    return accepts(getattr(kind, "graph_features", None), None, summary=False)


S = TypeVar("S", bound=Spec, covariant=True)


@dataclass(frozen=True, kw_only=True)
class PublishedSpec(Generic[S]):
    """A spec with its origin.

    Args:
        spec: the architecture.
        source: where it was published.
    """

    spec: S
    source: str


def spec_key(spec: Spec) -> str:
    """Returns one text for all specs that compute the same function; for SpineNet 32 hexadecimal digits."""
    return spec.key()


def spec_cost(
    spec: Spec,
    scale: Scale,
    size: int | tuple[int, int] = 640,
    head: Head | str = "none",
    classes: int = 80,
) -> Cost:
    """Computes the cost of a spec at a scale, for one image.

    Args:
        spec: the architecture.
        scale: widths and depths.
        size: input height and width in pixels, or one number for both.
        head: settings of a head, or a name of `search_space.HEADS`; "none" is the backbone with its pyramid.
        classes: outputs of the head.

    Raises:
        CostError: if size, head or classes is out of range.
        ScaleError: if the scale leaves a block without filters.

    Example:
        >>> from search_space import SCALES, published_spec
        >>> spec_cost(published_spec("spinenet-49"), SCALES["49"], 640, "retinanet", 91).params
        28543383
    """
    return spec.cost(scale, size, head, classes)
