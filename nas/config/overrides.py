"""Words of a command line such as "task.train.steps=10", sorted by what they change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas import config_folder
from nas.config.errors import ConfigError, reason, unknown_key
from nas.config.schema import MISSING, PARTIAL, TARGET, is_interpolation, join, merge, signature_of
from nas.plugins import installed, kind_of_key


@dataclass(frozen=True, kw_only=True)
class Value:
    """A new value of a key.

    Args:
        key: with the names of the nodes above it, joined with dots.
        value: a plain value, a list or a mapping.
        text: the value as it was typed.
        added: whether the user has said, with a plus, that the key is a new one.
    """

    key: str
    value: Any
    text: str
    added: bool


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
    path = offered(key, value)
    if path is not None:
        return f"++{key}.{TARGET}={path}"
    if is_group(key, folder):
        return f"{'+' * (len(override) - len(text))}{key.replace('.', '/')}={value}"
    return f"++{text}"


def offered(key: str, name: str) -> str | None:
    """The import path of what an installed package offers by that name for a key; None if there is none."""
    kind = kind_of_key(key)
    return installed(kind).get(name) if kind else None


def is_group(key: str, folder: Path | None = None) -> bool:
    """Whether a key such as "task" or "task.head" chooses among presets.

    Args:
        key: of an override.
        folder: further configurations of the user's own.
    """
    name = key.partition("@")[0].replace(".", "/")
    return bool(name) and any((place / name).is_dir() for place in (config_folder(), folder) if place)


def sort_overrides(overrides: Sequence[str], folder: Path | None = None) -> Changes:
    """Sorts overrides by what they change.

    Args:
        overrides: words such as "task=cpu" and "trials=10".
        folder: further configurations of the user's own.

    Raises:
        ConfigError: if one cannot be read.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    groups: list[str] = []
    plugins: dict[str, str] = {}
    values: list[Value] = []
    for word in overrides:
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"{word!r} is no KEY=VALUE")
        key, _, name = word.lstrip("+").partition("=")
        path = offered(key, name)
        if path is not None:
            plugins[key] = path
            continue
        if is_group(key.lstrip("~"), folder):
            groups.append(as_hydra(word, folder))
            continue
        try:
            parsed = parser.parse_override(word)
            value = parsed.value()
        except HydraException as error:
            raise ConfigError(reason(error)) from None
        key = parsed.key_or_group
        if parsed.is_delete():
            raise ConfigError(f"~{key}: a key cannot be removed; give it a value, such as {key}=null")
        if key.endswith(f".{TARGET}"):
            plugins[key.removesuffix(f".{TARGET}")] = str(value)
        else:
            values.append(Value(key=key, value=value, text=name, added=word.startswith("+")))
    return Changes(
        groups=tuple(groups), plugins=tuple(sorted(plugins.items(), key=depth)), values=tuple(values)
    )


def depth(plugin: tuple[str, str]) -> int:
    """How many nodes are above a plug-in's."""
    return plugin[0].count(".")


def put_plugin(tree: dict[str, Any], key: str, path: str) -> None:
    """Puts a user's own class in the place of a node, with none of that node's settings.

    A setting that follows another key, such as the seed of the search, stays if the class takes it.

    Args:
        tree: is changed.
        key: of the node.
        path: import path of the class.

    Raises:
        ConfigError: if there is no such class, or the key is not there.
    """
    *above, last = key.split(".")
    node = tree
    for part in above:
        inner = node.get(part)
        if inner is None or inner == MISSING:
            inner = node[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: {part} is {inner!r} and holds no settings")
        node = inner
    before = node.get(last)
    signature = signature_of(path, key)
    new: dict[str, Any] = {TARGET: path}
    if isinstance(before, dict):
        if before.get(PARTIAL):
            new[PARTIAL] = True
        new |= {k: v for k, v in before.items() if is_interpolation(v) and k in signature.parameters}
    node[last] = new


def put_value(tree: dict[str, Any], change: Value) -> None:
    """Sets a key.

    New keys may stand in a node, which is checked when it is expanded, and in mappings below a node, which
    take any names. Elsewhere the user has to say that a key is new.

    Args:
        tree: expanded; it is changed.
        change: what is set.

    Raises:
        ConfigError: if there is no such key.
    """
    *above, last = change.key.split(".")
    node, done, takes_any = tree, "", TARGET in tree
    for part in above:
        inner = node.get(part)
        done = join(done, part)
        if part not in node and not takes_any:
            raise unknown_key(done, [name for name in node if not name.startswith("_")])
        if is_interpolation(inner):
            raise ConfigError(f"{change.key}: {done} is taken from another key ({inner}); change that one")
        if inner is None or inner == MISSING:
            inner = node[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{change.key}: {done} is {inner!r} and holds no settings")
        node = inner
        takes_any = takes_any or TARGET in node
    if last not in node and not takes_any and not change.added:
        raise unknown_key(change.key, [name for name in node if not name.startswith("_")])
    value = change.value
    if isinstance(value, (bool, int, float)) and TARGET in node:
        parameter = signature_of(node[TARGET], change.key).parameters.get(last)
        if parameter is not None and parameter.is_text:
            value = change.text  # Such as a folder that is called 2026.
    node[last] = merge(node.get(last), value)
