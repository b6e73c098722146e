"""The spec: one architecture as data. Stem and blocks, validated, hashable, readable as JSON.

Features are numbered in build order, stem outputs first, as in the SpineNet paper's released code:
with two stem blocks, features 0 and 1 are the stem's and `blocks[0]` makes feature 2.
A spec says nothing about width or depth; see `search_space.scale`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = "spinenet-spec"
VERSION = 1
LEVELS = range(1, 8)
"""Levels that a block may have; level k has stride 2^k."""
KINDS = ("bottleneck", "residual", "mbconv")
"""Block kinds. `mbconv` is the mobile network's and cannot be mixed with the other two."""
MAX_BLOCKS = 128
"""Upper limit of stem and permuted blocks together; the published networks have 17 or 18."""
MAX_FILE_BYTES = 1 << 20


class SpecError(ValueError):
    """A spec that cannot be: the message says what is wrong, where, and what would be right."""


@dataclass(frozen=True, slots=True)
class StemBlock:
    """One block of the hand-designed, scale-decreased stem.

    Raises:
        SpecError: if level is not in 1..7 or kind is unknown.
    """

    level: int
    kind: str = "bottleneck"

    def __post_init__(self) -> None:
        _check_level(self.level)
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
        _check_level(self.level)
        _check_kind(self.kind)
        parents = self.parents
        if not isinstance(parents, tuple):
            if not isinstance(parents, list):
                raise SpecError(f"parents must be a list of two feature numbers, not {_show(parents)}")
            object.__setattr__(self, "parents", parents := tuple(parents))
        if len(parents) != 2 or type(parents[0]) is not int or type(parents[1]) is not int:
            raise SpecError(f"parents must be two feature numbers, not {_show(list(parents))}")
        if parents[0] == parents[1]:
            raise SpecError(f"the two parents must differ, but both are {_show(parents[0])}")
        if type(self.output) is not bool:
            raise SpecError(f"output must be true or false, not {_show(self.output)}")


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
        SpecError: if the stem is no scale-decreased chain, a parent is not built before its child, two
            outputs share a level, there is no output, or mbconv is mixed with other kinds.
    """

    stem: tuple[StemBlock, ...]
    blocks: tuple[Block, ...]

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

    def _repr_svg_(self) -> str:
        """The drawing, where a notebook shows the spec."""
        from search_space.drawing import svg_of

        return svg_of(self)

    def to_json(self) -> str:
        """The spec file's text: one line a block, newline at the end."""
        stem = [json.dumps({"level": block.level, "kind": block.kind}) for block in self.stem]
        blocks = [
            json.dumps(
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
            SpecError: if the text is not JSON, not a spec, of a newer version, or not a possible network.
        """
        return cls.from_dict(parse_spec(text))

    @classmethod
    def from_dict(cls, data: object) -> SpineNetSpec:
        """Builds a spec from the parsed content of a spec file.

        Raises:
            SpecError: as in `from_json`.
        """
        if not isinstance(data, dict):
            raise SpecError(f'not a spec: expected an object with "format": "{FORMAT}", found {_show(data)}')
        if data.get("format") != FORMAT:
            raise SpecError(f'not a spec: "format" must be "{FORMAT}", not {_show(data.get("format"))}')
        version = data.get("version")
        if type(version) is not int or version < 1:
            raise SpecError(f'"version" must be a whole number from 1, not {_show(version)}')
        if version > VERSION:
            raise SpecError(
                f"the spec has version {_show(version)}, this program reads versions up to {VERSION}; "
                "a newer release reads it"
            )
        check_keys(data, required=("format", "version", "stem", "blocks"), optional=("about",))
        stem = tuple(
            read_item(item, f"stem[{i}]", StemBlock, ("level",), ("kind",))
            for i, item in enumerate(read_list(data, "stem"))
        )
        blocks = tuple(
            read_item(item, _place(len(stem), i), Block, ("level", "kind", "parents"), ("output",))
            for i, item in enumerate(read_list(data, "blocks"))
        )
        return cls(stem, blocks)


def parse_spec(text: str) -> object:
    """The content of a spec file of any kind.

    Raises:
        SpecError: if it is no JSON, or an object has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_object_without_duplicates)
    except SpecError:
        raise
    except RecursionError:
        raise SpecError("not a spec: the JSON is nested too deeply") from None
    except ValueError as error:
        raise SpecError(f"not readable as JSON: {error}") from None


def read_spec_file(path: str | Path) -> SpineNetSpec:
    """Reads a spec file; every error names the file.

    Raises:
        SpecError: if the file is absent, unreadable, over 1 MiB, or no spec.
    """
    text = read_spec_text(path)
    try:
        return SpineNetSpec.from_json(text)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def read_spec_text(path: str | Path) -> str:
    """The text of a file that may hold a spec of any kind.

    Raises:
        SpecError: if the file is absent, unreadable, over 1 MiB, or no text.
    """
    path = Path(path)
    try:
        regular = path.is_file() or not path.exists()
        content = b""
        if regular:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not regular:
        raise SpecError(f"{path}: not a regular file")
    if len(content) > MAX_FILE_BYTES:
        raise SpecError(f"{path}: over 1 MiB; a spec has a few kilobytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file in UTF-8") from None


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
                f"{_place(first, i)}: parent {_show(bad)} is not built before this block; "
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


def _check_level(level: object) -> None:
    if type(level) is not int or level not in LEVELS:
        raise SpecError(f"level must be a whole number in {LEVELS[0]}..{LEVELS[-1]}, not {_show(level)}")


def _check_kind(kind: object) -> None:
    if type(kind) is not str or kind not in KINDS:
        raise SpecError(f"kind must be one of {', '.join(KINDS)}, not {_show(kind)}")


def _as_tuple(items: object, item_type: type, name: str) -> tuple[Any, ...]:
    if not isinstance(items, (list, tuple)):
        raise SpecError(f"{name} must be a sequence of {item_type.__name__}, not {_show(items)}")
    for i, item in enumerate(items):
        if not isinstance(item, item_type):
            raise SpecError(f"{name}[{i}] must be a {item_type.__name__}, not {_show(item)}")
    return tuple(items)


def read_list(data: Mapping[str, object], key: str) -> list[object]:
    """The list below a key of a spec file.

    Raises:
        SpecError: if it is none, or too long.
    """
    items = data[key]
    if not isinstance(items, list):
        raise SpecError(f'"{key}" must be a list, not {_show(items)}')
    if len(items) > MAX_BLOCKS:
        raise SpecError(f'"{key}" has {len(items)} entries; a spec has at most {MAX_BLOCKS} blocks')
    return items


def read_item(
    item: object,
    place: str,
    build: Callable[..., Any],
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> Any:
    """What is built of an object of a spec file.

    Raises:
        SpecError: naming the place, if keys are missing or unknown, or it cannot be built.
    """
    if not isinstance(item, dict):
        raise SpecError(f"{place}: expected an object with {', '.join(required)}, found {_show(item)}")
    try:
        check_keys(item, required, optional)
        return build(**item)
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None


def check_keys(data: Mapping[str, object], required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    """Checks that an object of a spec file has the required keys and none but those and the optional ones.

    Raises:
        SpecError: naming the key.
    """
    for key in required:
        if key not in data:
            raise SpecError(f'"{key}" is missing')
    for key in data:
        if key not in required and key not in optional:
            raise SpecError(f"unknown key {_show(key)}; known are {', '.join(required + optional)}")


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise SpecError(f"key {_show(repeated)} stands twice in one object")
    return result


def _place(first: int, i: int) -> str:
    return f"blocks[{i}] (feature {first + i})"


def _show(value: object, limit: int = 40) -> str:
    """A value as it stands in JSON, short enough for one line."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return "a huge number"
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
