"""YAML that somebody else may have written: read with limits, and with the line of every key.

Text of a few hundred bytes can stand for billions of values through nested aliases, and a nesting of a
thousand levels exhausts Python's stack. Both are refused before a value is made. Numbers are read as Hydra
reads them: 1e3 is one, and a date is a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nas.config.errors import ConfigError, documented, shown
from search_space.utils.regular_file import open_regular

MAX_BYTES = 2**20
"""Size of a file that is read."""

MAX_VALUES = 100_000
"""Values of a file, aliases written out."""

MAX_NESTING = 100
"""Brackets within each other; the parsers take seconds, or all of the stack, for some thousand."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value of a file of settings.

    Args:
        key: with the names of the nodes above it, joined with dots.
        value: a plain value or a list.
        text: the value as it is written, if it is a plain one.
        line: its number, from 1.
    """

    key: str
    value: Any
    text: str
    line: int


_Fastest: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Fastest):  # type: ignore[misc, valid-type]
    """Reads plain values, and numbers as Hydra does."""


_YAML = "tag:yaml.org,2002:"
_OTHERWISE = {f"{_YAML}{name}" for name in ("timestamp", "int", "float")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHERWISE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# To YAML 1.1, 1:30 is the number 90, and 007 and 0x10 are numbers.
for _name, _pattern, _first in (
    ("int", r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)", "-+0123456789"),
    ("float", r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(f"{_YAML}{_name}", re.compile(f"^({_pattern})$"), list(_first))


def read_tree(path: Path) -> Any:
    """What a YAML file holds, as plain mappings, lists and values.

    Raises:
        ConfigError: if it is not there, is no YAML, is too large, or names a key twice; it names the file.
    """
    with documented(f"{path}: "):
        loader = _open(path)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)


def read_settings_file(path: Path) -> list[Setting]:
    """The settings of a file, with keys that are nested, dotted, or both.

    Raises:
        ConfigError: as `read_tree`; and if the file holds no mapping, or the list of defaults that only a
            configuration of Hydra's has.
    """
    with documented(f"{path}: "):
        loader = _open(path)
        node = loader.get_single_node()
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return []
        _check_size(node)
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{path}: settings are lines of KEY: VALUE, such as trials: 20")
        found = list(_flatten(loader, node, ""))
    for setting in found:
        if setting.key == "defaults":
            raise ConfigError(
                f"{path}, line {setting.line}: defaults: a file of settings names a preset by its group, "
                "such as task: cpu; give a configuration of Hydra's by --config-dir=DIR --config-name=NAME"
            )
    return found


def _open(path: Path) -> _Loader:
    if not path.is_file():
        raise ConfigError(f"{path}: {'no such file' if not path.exists() else 'is no file'}")
    with open_regular(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: a file of settings has at most {MAX_BYTES // 2**20} MiB")
    text = data.decode("utf-8-sig")
    if nesting(text) > MAX_NESTING:
        raise ConfigError(f"{path}: it is nested too deeply")
    return _Loader(text)


def nesting(text: str) -> int:
    """How many brackets of a text are open at once at most."""
    deepest = now = 0
    for character in text:
        now += (character in "([{") - (character in ")]}")
        deepest = max(deepest, now)
    return deepest


def _check_size(root: yaml.Node) -> None:
    """Counts the values that a graph of nodes stands for; a node may be in it many times."""
    counts: dict[int, int] = {}
    open_nodes: set[int] = set()

    def count(node: yaml.Node) -> int:
        known = counts.get(id(node))
        if known is not None:
            return known
        if id(node) in open_nodes:
            raise ValueError(f"line {node.start_mark.line + 1}: a value contains itself")
        open_nodes.add(id(node))
        total = 1
        if isinstance(node, yaml.MappingNode):
            _refuse_twins(node)
            total += sum(count(key) + count(value) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(map(count, node.value))
        if total > MAX_VALUES:
            raise ValueError(f"line {node.start_mark.line + 1}: more than {MAX_VALUES} values")
        open_nodes.discard(id(node))
        counts[id(node)] = total
        return total

    count(root)


def _refuse_twins(node: yaml.MappingNode) -> None:
    """YAML's readers keep the last of two equal keys without a word."""
    first: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode):
            if key.value in first:
                raise ValueError(f"line {line}: {shown(key.value)} is in line {first[key.value]} already")
            first[key.value] = line


def _flatten(loader: _Loader, node: yaml.MappingNode, above: str) -> Iterator[Setting]:
    for name, value in node.value:
        line = name.start_mark.line + 1
        if not isinstance(name, yaml.ScalarNode):
            raise ValueError(f"line {line}: a key is a name")
        key = f"{above}.{name.value}" if above else name.value
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _flatten(loader, value, key)
            continue
        text = value.value if isinstance(value, yaml.ScalarNode) else ""
        yield Setting(key=key, value=loader.construct_object(value, deep=True), text=text, line=line)
