"""Overrides, sorted by what they change: presets, classes of the user's own, and values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.config.errors import ConfigError
from nas.config.presets import check_preset, is_group, offered
from nas.config.schema import TARGET
from nas.config.tree import depth
from nas.config.words import Value, is_settings_file, read_words
from nas.config.yaml_file import read_settings_file
from search_space.utils.parsing import printable


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Overrides by their kind.

    Args:
        groups: choices of a preset, as Hydra wants them.
        plugins: import paths that replace a whole node, by the node's key, outer nodes first.
        values: new values of keys.
    """

    groups: tuple[str, ...]
    plugins: tuple[tuple[str, str], ...]
    values: tuple[Value, ...]


def as_hydra(override: str, folder: Path | None = None) -> str:
    """An override as Hydra composes and sweeps it: groups with slashes, and values that may be new keys.

    Args:
        override: a word such as "trials=10".
        folder: further configurations of the user's own.
    """
    if override.startswith("~"):
        return override
    text = override.lstrip("+")
    key, _, value = text.partition("=")
    path = offered(key, value, folder)
    if path is not None:
        return f"++{key}.{TARGET}={path}"
    if is_group(key, folder):
        return f"{key.replace('.', '/')}={value}"
    return f"++{text}"


def sort_overrides(overrides: Sequence[str], folder: Path | None = None) -> Changes:
    """Sorts overrides by what they change; of two that change the same, the later one counts.

    Args:
        overrides: words such as "task=cpu" and "trials=10", and files of settings such as "my.yaml".
        folder: further configurations of the user's own.

    Raises:
        ConfigError: if one cannot be read, or names a preset that is not there.
    """
    groups: dict[str, str | None] = {}
    plugins: dict[str, str] = {}
    values: list[Value] = []
    for found in read_words(overrides, folder):
        key = found.key
        path = None if found.removed else offered(key, found.text, folder)
        if path is not None:
            plugins[key] = path
            groups.pop(key, None)
        elif is_group(key, folder) and (found.removed or found.value is None):
            groups[key] = None
            plugins.pop(key, None)
        elif is_group(key, folder) and isinstance(found.value, (str, bool, int, float)):
            name = found.value if isinstance(found.value, str) else found.text
            check_preset(key, name, folder)
            groups[key] = name
            plugins.pop(key, None)
        elif key.endswith(f".{TARGET}") and not found.removed:
            key = key.removesuffix(f".{TARGET}")
            plugins[key] = _import_path(found)
            if groups.get(key, "") is None:
                del groups[key]
        else:
            values.append(found)
    removed = [Value(key=key, value=None) for key, name in groups.items() if name is None]
    return Changes(
        groups=tuple(f"{key.replace('.', '/')}={name}" for key, name in groups.items() if name is not None),
        plugins=tuple(sorted(plugins.items(), key=depth)),
        values=(*(value for value in removed if value.key != "experiment"), *values),
    )


def name_file(message: str, overrides: Sequence[str]) -> str:
    """A message that begins with a key, with the file and line in which the key stands, if it is from a file.

    Args:
        message: such as "trials must be a whole number of at least 1, not 0".
        overrides: words and files of settings; a word after a file counts more than the file.
    """
    begins = re.match(r"[~+]*([\w.@-]+)", message)
    found = ""
    for word in overrides:
        if begins is None:
            break
        if is_settings_file(word):
            for setting in read_settings_file(Path(word)):
                if _concerns(begins[1], setting.key):
                    found = f"{word}, line {setting.line}: "
        elif _concerns(begins[1], word.lstrip("~+").partition("=")[0]):
            found = ""
    return f"{found}{message}"


def _concerns(told: str, key: str) -> bool:
    """Whether a key that a message names is a given one, is within it, or holds it."""
    told, key = told.rstrip("."), key.removesuffix(f".{TARGET}")
    return told == key or told.startswith(f"{key}.") or key.startswith(f"{told}.")


def _import_path(found: Value) -> str:
    if found.fault or not isinstance(found.value, str):
        raise ConfigError(f"{found.key}={printable(found.text)}: write FILE.CLASS, such as my_file.MyTask")
    return found.value
