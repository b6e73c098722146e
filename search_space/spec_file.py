"""Reading spec files of any family: bounded in size, strict about keys, with errors that name the place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search_space.utils.json_text import parse_json
from search_space.utils.parsing import read_bounded, reading, shorten, shown

MAX_BLOCKS = 128
"""Upper limit of stem and permuted blocks together; the published networks have 17 or 18."""


MAX_FILE_BYTES = 1 << 20


class SpecError(ValueError):
    """A spec is impossible; the message says what is wrong, where, and what would be right."""


def parse_spec(text: str) -> object:
    """Parses the text of a spec file of any family.

    Raises:
        SpecError: if it is no JSON, or an object has a key twice.
    """
    return parse_json(text, error=SpecError, pairs=_object_without_duplicates)


def read_spec_text(path: str | Path) -> str:
    """Reads the text of a file that may hold a spec of any family.

    Raises:
        SpecError: if the file does not exist, cannot be read, is over 1 MiB, or holds no text.
    """
    with reading(SpecError, f"{path}: "):
        try:
            return read_bounded(Path(path), MAX_FILE_BYTES)
        except FileNotFoundError:
            raise SpecError(f"{path}: no such file") from None


def check_header(data: object, name: str, version: int) -> Mapping[str, object]:
    """Returns the content of a spec file if it is an object of this format, of this or an older version.

    Args:
        data: the parsed content.
        name: the expected "format".
        version: the newest version that can be read.

    Raises:
        SpecError: if not; the message names the key.
    """
    if not isinstance(data, Mapping):
        raise SpecError(f'not a spec: expected an object with "format": "{name}", found {preview(data)}')
    if "format" not in data:
        raise SpecError(f'not a spec: "format" is missing; it must be "{name}"')
    if data["format"] != name:
        raise SpecError(f'not a spec: "format" must be "{name}", not {preview(data["format"])}')
    if "version" not in data:
        raise SpecError(f'"version" is missing; this program writes {version}')
    found = data["version"]
    if type(found) is not int or found < 1:
        raise SpecError(f'"version" must be a whole number from 1, not {preview(found)}')
    if found > version:
        raise SpecError(
            f"the spec has version {preview(found)}, but this program reads versions up to {version}; "
            "a newer release reads it"
        )
    return data


def read_list(data: Mapping[str, object], key: str, most: int, of: str) -> list[object]:
    """Returns the list at a key of a spec file.

    Args:
        data: the parsed content.
        key: where the list is.
        most: entries that a spec has at most.
        of: what the entries are, for the message, such as "blocks".

    Raises:
        SpecError: if it is no list, or too long.
    """
    items = data[key]
    if not isinstance(items, list):
        raise SpecError(f'"{key}" must be a list, not {preview(items)}')
    if len(items) > most:
        raise SpecError(f'"{key}" has {len(items)} entries; a spec has at most {most} {of}')
    return items


def read_item(
    item: object,
    place: str,
    build: Callable[..., Any],
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> Any:
    """Builds something of an object of a spec file.

    Args:
        item: the object.
        place: where it is in the file, for messages.
        build: takes the object's keys as arguments.
        required, optional: the keys that it must and may have.

    Raises:
        SpecError: if keys are missing or unknown, or `build` refuses them; the message names the place.
    """
    if not isinstance(item, dict):
        raise SpecError(f"{place}: expected an object with {', '.join(required)}, found {preview(item)}")
    try:
        check_keys(item, required, optional)
        return build(**item)
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None


def check_keys(data: Mapping[str, object], required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    """Checks that an object of a spec file has all required keys, and no others but the optional ones.

    Raises:
        SpecError: if not; the message names the key.
    """
    for key in required:
        if key not in data:
            raise SpecError(f'"{key}" is missing')
    for key in data:
        if key not in required and key not in optional:
            raise SpecError(f"unknown key {preview(key)}; known are {', '.join(required + optional)}")


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise SpecError(f"the key {preview(repeated)} occurs twice in one object")
    return result


def preview(value: object, limit: int = 40) -> str:
    """Returns a value as JSON, or as Python writes it if it is no JSON, shortened to fit into one line."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return "a huge number"
    try:
        text = json.dumps(value)
    except Exception:  # Nested too deeply, or no JSON.
        text = shown(value)
    return shorten(text, limit)
