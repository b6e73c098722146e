"""Words such as "task.train.steps=10", and files of settings, sorted by what they change."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.config.errors import ConfigError, UnknownKeyError, config_errors
from nas.config.presets import check_preset, is_group, offered
from nas.config.schema import MISSING, PARTIAL, RESERVED, TARGET, is_interpolation, join, merge, signature_of
from nas.config.yaml_file import read_settings_file
from search_space.utils.parsing import printable
from search_space.utils.validation import describe

MAX_WORD = 100_000
"""Characters of a word."""

MAX_NESTING = 30
"""Lists and mappings within each other in a word; Hydra's parser takes minutes for some hundred."""

SWEEP = "several values are tried one after the other by --multirun"
"""What is wrong with "1,2,3", unless a sweep was asked for."""

UNREADABLE = "this cannot be read as a value"
"""What is wrong with a word that Hydra's grammar does not allow."""

_KEY = re.compile(r"[\w$][\w$@:/-]*(\.[\w$@:/ -]+)*")
_NULL = ("", "null")
_IMPLIED = tuple(name for name in RESERVED if name != TARGET)


@dataclass(frozen=True, kw_only=True)
class Value:
    """A new value of a key, or its removal.

    Args:
        key: with the names of the nodes above it, joined with dots.
        value: a plain value, a list or a mapping.
        text: the value as it was typed.
        added: whether the user has said, with a plus, that the key is a new one.
        removed: whether the user has said, with a tilde, that the key shall go.
        fault: why the text cannot be read as a value; it may still be meant as a text.
    """

    key: str
    value: Any
    text: str = ""
    added: bool = False
    removed: bool = False
    fault: str = ""


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


def is_settings_file(word: str) -> bool:
    """Whether a word names a file of settings."""
    return "=" not in word and word.lower().endswith((".yaml", ".yml"))


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
    for found in _read(overrides, folder):
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


def check_sweep(words: Sequence[str], folder: Path | None = None) -> None:
    """Checks that Hydra's sweeper can read the words; it knows no types, so that a text may need quotes.

    Raises:
        ConfigError: with the quotes that are needed.
    """
    for word in words:
        found = _from_word(word, folder, ())
        if found.fault not in ("", SWEEP):
            raise ConfigError(f"{found.key}={printable(found.text)}: {found.fault}; {_quoting(found)}")


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


def _read(overrides: Sequence[str], folder: Path | None) -> Iterator[Value]:
    for i, word in enumerate(overrides):
        if is_settings_file(word):
            for setting in read_settings_file(Path(word)):
                # A node's `_partial_` follows from its key.
                if setting.key.rpartition(".")[2] not in _IMPLIED:
                    yield Value(key=setting.key, value=setting.value, text=setting.text)
        else:
            yield _from_word(word, folder, overrides[i + 1 : i + 2])


def _likely_meaning(word: str, following: Sequence[str]) -> str:
    """What a word without "=" may stand for, as the end of a message."""
    if _KEY.fullmatch(word) and following and "=" not in following[0]:
        return f"; write {word}={printable(following[0])}"
    if _is_folder(word):
        return f"; to use the images of this folder, write task.data.root={printable(word)}"
    return ", nor a file of settings, whose name ends in .yaml"


def _is_folder(word: str) -> bool:
    try:
        return Path(word).is_dir()
    except (OSError, ValueError):  # It is too long for a name, or has a null character.
        return False


def _from_word(word: str, folder: Path | None, following: Sequence[str]) -> Value:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    text = word.lstrip("~+")
    key, equals, given = text.partition("=")
    if not equals and not word.startswith("~"):
        if following and following[0].startswith("="):
            raise ConfigError(f"{printable(word)}: write a setting without spaces: {printable(key)}=VALUE")
        raise ConfigError(
            f"{printable(repr(word))} is not a setting KEY=VALUE{_likely_meaning(word, following)}"
        )
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{printable(word)}: {printable(repr(key))} is no key, such as task.train.steps")
    if len(word) > MAX_WORD:
        raise ConfigError(f"{key}={printable(given)}: a value has at most {MAX_WORD} characters")
    if _nesting(given) > MAX_NESTING:
        raise ConfigError(f"{key}={printable(given)}: more than {MAX_NESTING} brackets within each other")
    key = key.replace("/", ".") if is_group(key.replace("/", "."), folder) else key
    if word.startswith("~"):
        return Value(key=key, value=None, text=given, removed=True)
    if is_group(key, folder):
        return Value(key=key, value=None if given.lower() in _NULL else given, text=given)
    fault, value = "", None
    try:
        with config_errors():
            parsed = OverridesParser.create().parse_override(f"x={given}")
            if parsed.is_sweep_override():
                fault = SWEEP
            else:
                value = parsed.value()
    except ConfigError:  # Its message names classes of the parser.
        fault = UNREADABLE
    return Value(key=key, value=value, text=given, added=word.startswith("+"), fault=fault)


def _nesting(text: str) -> int:
    """How many brackets of a text are open at once at most."""
    deepest = now = 0
    for character in text:
        now += (character in "([{") - (character in ")]}")
        deepest = max(deepest, now)
    return deepest


def _import_path(found: Value) -> str:
    if found.fault or not isinstance(found.value, str):
        raise ConfigError(f"{found.key}={printable(found.text)}: write FILE.CLASS, such as my_file.MyTask")
    return found.value


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
            advice = _quoting(change)
        raise ConfigError(f"{change.key}={printable(change.text)}: {change.fault}; {advice}")
    return change.value


def _quoting(change: Value) -> str:
    """How the value is written so that a shell and Hydra take it as a text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if len(change.text) > 200:
        return "a text is written in quotes"
    if change.text.startswith(("[", "{")):
        example = shlex.quote(f'{change.key}=["a text", other]')
        return f"quote each text in it, such as {example}"
    text = QuotedString(text=change.text.strip("\"'"), quote=Quote.double).with_quotes()
    as_text = f"as a text it is written {shlex.quote(f'{change.key}={text}')}"
    if change.fault == SWEEP:
        return f"a list is written {shlex.quote(f'{change.key}=[{change.text}]')}, and {as_text}"
    return as_text


def _unknown(key: str, node: dict[str, Any]) -> UnknownKeyError:
    return UnknownKeyError(key, [name for name in node if not name.startswith("_")])
