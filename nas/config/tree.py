"""Changes of a configuration that is a tree of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nas.config.errors import ConfigError, UnknownKeyError
from nas.config.schema import MISSING, PARTIAL, TARGET, is_interpolation, join, merge, signature_of
from nas.config.words import Value, quoting
from search_space.utils.parsing import printable
from search_space.utils.validation import describe


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
    """Sets or removes a key.

    New keys may stand in a node, which is checked when it is expanded, and in mappings below a node, which
    take any names. Elsewhere the user has to say that a key is new.

    Args:
        tree: expanded; it is changed.
        change: what is set.

    Raises:
        ConfigError: if there is no such key, its value cannot be read, or it cannot be removed.
    """
    *above, last = change.key.split(".")
    node, done, takes_any = tree, "", TARGET in tree
    for part in above:
        inner = node.get(part)
        done = join(done, part)
        if part not in node and (change.removed or not takes_any):
            raise _unknown(done, node)
        if is_interpolation(inner):
            raise ConfigError(f"{change.key}: {done} is taken from another key ({inner}); change that one")
        if inner is None and node is tree and part in node and _is_open(node, part):
            raise ConfigError(f"{change.key}: {done} is null; choose one first: {done}=NAME")
        if inner is None or inner == MISSING:
            inner = node[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{change.key}: {done} is {inner!r} and holds no settings")
        node = inner
        takes_any = takes_any or TARGET in node
    if change.removed:
        if last not in node:
            raise _unknown(change.key, node)
        if TARGET in node or node is tree:
            raise ConfigError(
                f"~{change.key}: a key cannot be removed; give it a value, such as {change.key}=null"
            )
        del node[last]
        return
    if last not in node and not takes_any and not change.added:
        raise _unknown(change.key, node)
    node[last] = merge(node.get(last), _value_for(node, last, change))


def leaves(tree: Any, key: str = "") -> Iterator[str]:
    """The keys of a tree in full, outer ones first."""
    if not isinstance(tree, dict):
        return
    inner = {join(key, name): value for name, value in tree.items() if not str(name).startswith("_")}
    yield from inner
    for name, value in inner.items():
        yield from leaves(value, name)


def _is_open(node: dict[str, Any], name: str) -> bool:
    """Whether a parameter takes an object of any class, so that its settings depend on the class."""
    if TARGET not in node:
        return False
    parameter = signature_of(node[TARGET], name).parameters.get(name)
    return parameter is not None and parameter.is_open


def _value_for(node: dict[str, Any], name: str, change: Value) -> Any:
    """The value as the parameter of that name takes it: a text stays as it was typed, such as a folder 2026.

    Raises:
        ConfigError: if the value cannot be read: with what the parameter takes if that is a number or true or
            false, otherwise with the quotes that would make it a text.
    """
    parameter = signature_of(node[TARGET], change.key).parameters.get(name) if TARGET in node else None
    is_text = parameter is not None and parameter.is_text
    is_other = bool(change.fault) or isinstance(change.value, (bool, int, float))
    is_plain = not set(change.text) & set("\"'\\") and not change.text.startswith(("[", "{"))
    if is_text and change.text and is_other and is_plain:
        return change.text
    if change.fault:
        if TARGET in node and parameter is None and not signature_of(node[TARGET], change.key).takes_any:
            raise _unknown(change.key, node)
        if parameter is not None and parameter.is_number:
            advice = f"give {describe(parameter.annotation)}"
        else:
            advice = quoting(change)
        raise ConfigError(f"{change.key}={printable(change.text)}: {change.fault}; {advice}")
    return change.value


def _unknown(key: str, node: dict[str, Any]) -> UnknownKeyError:
    return UnknownKeyError(key, [name for name in node if not name.startswith("_")])
