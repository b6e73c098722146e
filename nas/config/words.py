"""Words such as "task.train.steps=10", and files of settings, as values of keys."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.config.errors import ConfigError, config_errors
from nas.config.presets import is_group
from nas.config.schema import RESERVED, TARGET
from nas.config.yaml_file import read_settings_file
from search_space.utils.parsing import printable

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


def is_settings_file(word: str) -> bool:
    """Whether a word names a file of settings."""
    return "=" not in word and word.lower().endswith((".yaml", ".yml"))


def read_words(words: Sequence[str], folder: Path | None) -> Iterator[Value]:
    """Gives the values that words and files of settings set or remove, in their order.

    Args:
        words: such as "trials=10" and "my.yaml".
        folder: further configurations of the user's own.

    Raises:
        ConfigError: if one is no setting.
    """
    for i, word in enumerate(words):
        if is_settings_file(word):
            for setting in read_settings_file(Path(word)):
                # A node's `_partial_` follows from its key.
                if setting.key.rpartition(".")[2] not in _IMPLIED:
                    yield Value(key=setting.key, value=setting.value, text=setting.text)
        else:
            yield _from_word(word, folder, words[i + 1 : i + 2])


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


def check_sweep(words: Sequence[str], folder: Path | None = None) -> None:
    """Checks that Hydra's sweeper can read the words; it knows no types, so that a text may need quotes.

    Raises:
        ConfigError: with the quotes that are needed.
    """
    for word in words:
        found = _from_word(word, folder, ())
        if found.fault not in ("", SWEEP):
            raise ConfigError(f"{found.key}={printable(found.text)}: {found.fault}; {quoting(found)}")


def quoting(change: Value) -> str:
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
