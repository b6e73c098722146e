"""Paths that stay true when a process changes its folder, or goes on elsewhere: absolute ones.

What is a path follows from annotations: `Path`, `str | Path | None`, `list[Path]`, `Mapping[str, Path]`, and
`Annotated[str, OR_FILE]` for a text that is a name or the path of a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from search_space.utils.validation import annotated_fields


@dataclass(frozen=True)
class OrFile:
    """Marks a text that may be the path of a file; it is one if the file is there."""


OR_FILE = OrFile()


def _is_path(text: str) -> bool:
    return True


def absolute_paths(value: Any, annotation: Any, is_path: Callable[[str], bool] = _is_path) -> Any:
    """The value with all paths in it made absolute; a text stays a text.

    Args:
        value: a text, a path, a list, a mapping, or anything else, which stays as it is.
        annotation: the type of the value.
        is_path: says of a text whether it stands for itself.
    """
    if isinstance(value, (str, PurePath)):
        if not is_path(str(value)) or not _names_path(str(value), annotation):
            return value
        return type(value)(str(Path(_without_tilde(str(value))).absolute()))
    for kind in alternatives(annotation):
        origin, parts = get_origin(kind), get_args(kind)
        if not isinstance(origin, type) or not parts:
            continue
        if issubclass(origin, Mapping) and isinstance(value, Mapping):
            return {name: absolute_paths(item, parts[-1], is_path) for name, item in value.items()}
        if issubclass(origin, Collection) and isinstance(value, (list, tuple)):
            kinds = parts if len(parts) == len(value) and ... not in parts else [parts[0]] * len(value)
            return type(value)(absolute_paths(*pair, is_path) for pair in zip(value, kinds, strict=True))
    return value


def holds_paths(annotation: Any) -> bool:
    """Whether a text of this type is a path."""
    return any(isinstance(kind, type) and issubclass(kind, PurePath) for kind in alternatives(annotation))


def make_paths_absolute(config: Any) -> None:
    """Makes the paths in the fields of a frozen dataclass absolute, each by its annotation."""
    for name, annotation in annotated_fields(type(config)):  # type: ignore[arg-type]
        before = getattr(config, name)
        after = absolute_paths(before, annotation)
        if after is not before:
            object.__setattr__(config, name, after)


def _names_path(text: str, annotation: Any) -> bool:
    if holds_paths(annotation):
        return True
    return _is_marked(annotation) and os.path.isfile(_without_tilde(text))  # noqa: PTH113  Any text is fine.


def _without_tilde(text: str) -> str:
    """The text with the user's home folder for a tilde, if there is such a user."""
    return os.path.expanduser(text)  # noqa: PTH111


def _is_marked(annotation: Any) -> bool:
    if OR_FILE in getattr(annotation, "__metadata__", ()):
        return True
    return get_origin(annotation) in (Union, UnionType) and any(map(_is_marked, get_args(annotation)))


def alternatives(annotation: Any) -> Iterator[Any]:
    """The types that a value of an annotated type may have, without their marks."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from alternatives(part)
    else:
        yield annotation
