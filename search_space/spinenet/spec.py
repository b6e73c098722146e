"""The spec: one architecture as data. Stem and blocks, validated, hashable, readable as JSON.

Features are numbered in build order, stem outputs first, as in the SpineNet paper's released code:
with two stem blocks, features 0 and 1 are the stem's and `blocks[0]` makes feature 2.
A spec says nothing about width or depth; see `search_space.scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from search_space.convention import Convention
from search_space.cost import Cost
from search_space.heads import Head
from search_space.norm import NormConfig
from search_space.scale import Scale
from search_space.spec import Description
from search_space.spec_file import (
    MAX_BLOCKS,
    SpecError,
    check_header,
    check_keys,
    parse_spec,
    preview,
    read_item,
    read_list,
)
from search_space.utils.strict_json import to_json
from search_space.utils.validation import AtLeast, AtMost, is_whole

if TYPE_CHECKING:
    from search_space.spinenet.backbone import SpineNet

FORMAT, VERSION = "spinenet-spec", 1


LEVELS = range(1, 8)
"""Levels that a block may have; level k has stride 2^k."""


Level = Annotated[int, AtLeast(LEVELS[0]), AtMost(LEVELS[-1])]


Kind = Literal["bottleneck", "residual", "mbconv"]


KINDS: tuple[Kind, ...] = get_args(Kind)
"""Block kinds. `mbconv` is the mobile network's and cannot be mixed with the other two."""


@dataclass(frozen=True, slots=True)
class StemBlock:
    """One block of the stem, which is designed by hand and in which levels never fall.

    Raises:
        SpecError: if level is not in 1..7 or kind is unknown.
    """

    level: int
    kind: str = "bottleneck"

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", _checked_level(self.level))
        _check_kind(self.kind)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the scale-permuted network (paper section 3.1).

    Args:
        level: 1..7; the block works at stride 2^level.
        kind: one of `KINDS`.
        parents: two different earlier features, in any order.
        output: whether the block feeds the pyramid at its level.

    Raises:
        SpecError: if a field has a wrong type or value.
    """

    level: int
    kind: str
    parents: tuple[int, int]
    output: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", _checked_level(self.level))
        _check_kind(self.kind)
        given: object = self.parents
        if not isinstance(given, (tuple, list)):
            raise SpecError(f"parents must be a list of two feature numbers, not {preview(given)}")
        if len(given) != 2 or not all(map(is_whole, given)):
            raise SpecError(f"parents must be two feature numbers, not {preview(list(given))}")
        parents = int(given[0]), int(given[1])
        object.__setattr__(self, "parents", parents)
        if parents[0] == parents[1]:
            raise SpecError(f"the two parents must differ, but both are {preview(parents[0])}")
        if type(self.output) is not bool:
            raise SpecError(f"output must be true or false, not {preview(self.output)}")


@dataclass(frozen=True)
class SpineNetSpec:
    """A whole architecture: the stem, then the permuted blocks in build order.

    Example:
        >>> spec = SpineNetSpec(
        ...     stem=(StemBlock(2), StemBlock(2)),
        ...     blocks=(Block(4, "residual", (0, 1)), Block(3, "bottleneck", (1, 2), output=True)),
        ... )
        >>> spec.output_levels
        (3,)

    Raises:
        SpecError: if levels fall along the stem, a parent is not built before its child, two outputs share a
            level, there is no output, or mbconv is mixed with other kinds.
    """

    stem: tuple[StemBlock, ...]
    blocks: tuple[Block, ...]

    format: ClassVar[str] = FORMAT
    title: ClassVar[str] = "SpineNet"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stem", _as_tuple(self.stem, StemBlock, "stem"))
        object.__setattr__(self, "blocks", _as_tuple(self.blocks, Block, "blocks"))
        check_stem(self.stem)
        if len(self.stem) + len(self.blocks) > MAX_BLOCKS:
            raise SpecError(f"a spec has at most {MAX_BLOCKS} stem and permuted blocks")
        _check_graph(self.stem, self.blocks)

    @property
    def features(self) -> tuple[StemBlock | Block, ...]:
        """Stem and permuted blocks in the numbering that parents use."""
        return self.stem + self.blocks

    @property
    def output_levels(self) -> tuple[int, ...]:
        """Levels of the output blocks, ascending."""
        return tuple(sorted(block.level for block in self.blocks if block.output))

    @property
    def separable_head(self) -> bool:
        """Whether the blocks are MBConv blocks; then a head is made of depthwise and 1x1 convolutions too."""
        return self.stem[0].kind == "mbconv"

    def key(self) -> str:
        """Returns the digest of the canonical form: 32 hexadecimal digits. Equal keys mean one function."""
        from search_space.spinenet.key import spinenet_key

        return spinenet_key(self)

    def cost(
        self, scale: Scale, size: int | tuple[int, int] = 640, head: Head | str = "none", classes: int = 80
    ) -> Cost:
        """Computes the cost at a scale from arithmetic alone; see `search_space.spec_cost`."""
        from search_space.spinenet.cost import spinenet_cost

        return spinenet_cost(self, scale, size, head, classes)

    def graph_features(self, *, summary: bool = False) -> dict[str, float]:
        """Computes what the connections tell; see `search_space.spinenet.graph_features`."""
        from search_space.spinenet.graph_features import spinenet_graph_features

        return spinenet_graph_features(self, summary=summary)

    def build(self, scale: Scale, *, norm: NormConfig, convention: Convention = "torch") -> SpineNet:
        """Builds the network; see `search_space.spinenet.backbone.SpineNet`.

        Raises:
            ScaleError: if the scale leaves a block without filters.
        """
        from search_space.spinenet.backbone import SpineNet

        return SpineNet(self, scale, convention=convention, norm=norm)

    def describe(self) -> Description:
        """Describes stem, blocks and dead blocks, one row for each feature."""
        from search_space.spinenet.description import describe_spinenet

        return describe_spinenet(self)

    def draw(self, path: str | Path, title: str = "") -> Path:
        """Draws the spec into a file; see `search_space.spinenet.drawing.draw_spec`."""
        from search_space.spinenet.drawing import draw_spec

        return draw_spec(self, path, title)

    def _repr_svg_(self) -> str:
        """Returns the drawing, which a notebook shows."""
        from search_space.spinenet.drawing import draw_svg

        return draw_svg(self)

    def to_json(self) -> str:
        """Returns the spec file's text: one line for each block, with a newline at the end."""
        stem = [to_json({"level": block.level, "kind": block.kind}) for block in self.stem]
        blocks = [
            to_json(
                {"level": b.level, "kind": b.kind, "parents": list(b.parents), "output": b.output},
            )
            for b in self.blocks
        ]
        return (
            f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n'
            f'  "stem": [{", ".join(stem)}],\n'
            f'  "blocks": [\n    {_LINE.join(blocks)}\n  ]\n}}\n'
        )

    @classmethod
    def from_json(cls, text: str) -> SpineNetSpec:
        """Reads the text of a spec file.

        Raises:
            SpecError: if the text is not JSON, not a SpineNet, of a newer version, or not a possible network.
        """
        return cls.from_dict(parse_spec(text))

    @classmethod
    def from_dict(cls, data: object) -> SpineNetSpec:
        """Makes a spec of the parsed content of a spec file.

        Raises:
            SpecError: as in `from_json`.
        """
        data = check_header(data, FORMAT, VERSION)
        check_keys(data, required=("format", "version", "stem", "blocks"), optional=("about",))
        stem = tuple(
            read_item(item, f"stem[{i}]", StemBlock, ("level",), ("kind",))
            for i, item in enumerate(read_list(data, "stem", MAX_BLOCKS, "blocks"))
        )
        blocks = tuple(
            read_item(item, _place(len(stem), i), Block, ("level", "kind", "parents"), ("output",))
            for i, item in enumerate(read_list(data, "blocks", MAX_BLOCKS, "blocks"))
        )
        return cls(stem, blocks)


def check_stem(stem: tuple[StemBlock, ...]) -> None:
    """Checks that the stem is a chain that a network can start with.

    Raises:
        SpecError: if it has fewer than two blocks, does not start at level 1 to 3, or its levels fall or
            leap by more than one.
    """
    if len(stem) < 2:
        raise SpecError(f"stem: needs at least two blocks, as every block has two parents; has {len(stem)}")
    if stem[0].level > 3:
        raise SpecError(f"stem[0]: a stem starts at level 1, 2 or 3, not {stem[0].level}")
    for i in range(1, len(stem)):
        if not 0 <= stem[i].level - stem[i - 1].level <= 1:
            raise SpecError(
                f"stem[{i}]: levels stay or rise by one along the stem, "
                f"but {stem[i].level} follows {stem[i - 1].level}"
            )


_LINE = ",\n    "


def _check_graph(stem: tuple[StemBlock, ...], blocks: tuple[Block, ...]) -> None:
    first = len(stem)
    mobile = stem[0].kind == "mbconv"
    for i, stem_block in enumerate(stem):
        if (stem_block.kind == "mbconv") != mobile:
            raise SpecError(f"stem[{i}]: mbconv cannot be mixed with other kinds in one network")
    outputs: dict[int, int] = {}
    for i, block in enumerate(blocks):
        index = first + i
        low, high = block.parents
        if not (0 <= low < index and 0 <= high < index):
            bad = high if 0 <= low < index else low
            raise SpecError(
                f"{_place(first, i)}: parent {preview(bad)} is not built before this block; "
                f"parents are in 0..{index - 1}"
            )
        if (block.kind == "mbconv") != mobile:
            raise SpecError(f"{_place(first, i)}: mbconv cannot be mixed with other kinds in one network")
        if block.output:
            if block.level in outputs:
                raise SpecError(
                    f"{_place(first, i)}: a second output at level {block.level}; "
                    f"feature {outputs[block.level]} is the first"
                )
            outputs[block.level] = index
    if not outputs:
        raise SpecError('blocks: none is an output; at least one needs "output": true')


def _checked_level(level: object) -> int:
    if not is_whole(level) or level not in LEVELS:
        raise SpecError(f"level must be a whole number in {LEVELS[0]}..{LEVELS[-1]}, not {preview(level)}")
    return int(level)


def _check_kind(kind: object) -> None:
    if type(kind) is not str or kind not in KINDS:
        raise SpecError(f"kind must be one of {', '.join(KINDS)}, not {preview(kind)}")


def _as_tuple(items: object, item_type: type, name: str) -> tuple[Any, ...]:
    if not isinstance(items, (list, tuple)):
        raise SpecError(f"{name} must be a sequence of {item_type.__name__}, not {preview(items)}")
    for i, item in enumerate(items):
        if not isinstance(item, item_type):
            raise SpecError(f"{name}[{i}] must be a {item_type.__name__}, not {preview(item)}")
    return tuple(items)


def _place(first: int, i: int) -> str:
    return f"blocks[{i}] (feature {first + i})"
