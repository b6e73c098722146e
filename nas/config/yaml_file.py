"""YAML that somebody else may have written: read with limits, and with the line of every key.

What a file stands for is bounded before a value is made, see `search_space.utils.parsing.check_yaml`. Numbers
are read as Hydra reads them: 1e3 is one, and a date is a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nas.config.errors import ConfigError, config_errors
from search_space.utils.parsing import printable, read_yaml_text


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
    with config_errors(f"{path}: "):
        loader = _open(path)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_twins(node)
        return loader.construct_document(node)


def read_settings_file(path: Path) -> list[Setting]:
    """The settings of a file, with keys that are nested, dotted, or both.

    Raises:
        ConfigError: as `read_tree`; and if the file holds no mapping, or the list of defaults that only a
            configuration of Hydra's has.
    """
    with config_errors(f"{path}: "):
        loader = _open(path)
        node = loader.get_single_node()
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return []
        _refuse_twins(node)
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
    return _Loader(read_yaml_text(path))


def _refuse_twins(root: yaml.Node) -> None:
    """YAML's readers keep the last of two equal keys without a word.

    Raises:
        ValueError: naming the lines of both.
    """
    seen: set[int] = set()  # Through aliases, a node may be in many places.
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _refuse_twin_keys(node)
            waiting.extend(part for pair in reversed(node.value) for part in reversed(pair))
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(reversed(node.value))


def _refuse_twin_keys(node: yaml.MappingNode) -> None:
    first: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode):
            if key.value in first:
                raise ValueError(f"line {line}: {printable(key.value)} is in line {first[key.value]} already")
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
