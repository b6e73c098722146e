"""One way to read what comes from elsewhere: whatever a parser raises becomes its reader's documented error.

A file that somebody sends can make a parser raise anything: RecursionError where it is nested deeply,
OverflowError for a huge number, KeyError, TypeError, UnicodeError, MemoryError. So a reader names its own
error once, around all of its work, and lists no exceptions of others:

    with reading(SpecError, f"{path}: "):
        ...

Text is bounded in bytes before it is parsed, and YAML also in what its aliases stand for. JSON is parsed by
`search_space.utils.json_text`.
"""

from __future__ import annotations

import contextlib
import gzip
import reprlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from search_space.utils.regular_file import open_regular

MAX_NODES = 100_000
"""Most values that a YAML document may stand for, once its aliases are written out."""

MAX_DEPTH = 100
"""Deepest nesting of a YAML document."""

MAX_YAML_BYTES = 1 << 20

LONGEST_REASON = 200
"""Characters of what `explain` says of an exception."""


class ParseError(ValueError):
    """A text that cannot be parsed, or that is too large to be: says why, without the name of the file."""


class TooLargeError(ParseError):
    """A text that stands for more than anybody would write."""


@contextlib.contextmanager
def reading(
    error: Callable[[str], Exception],
    where: str = "",
    keep: tuple[type[Exception], ...] = (),
    say: Callable[[Exception], str] | None = None,
) -> Iterator[None]:
    """Turns every exception of a block into one error.

    Args:
        error: makes the error from its message. If it is a class, errors of that class pass as they are.
        where: begins the message, such as "model.safetensors: ".
        keep: further exceptions that pass as they are.
        say: says in one line what an exception means; None for `explain`.

    Raises:
        Exception: what `error` makes.
    """
    own: tuple[type[Exception], ...] = ()
    if isinstance(error, type) and issubclass(error, Exception):
        own = (error,)
    try:
        yield
    except (*own, *keep):
        raise
    except Exception as fault:
        raise error(f"{where}{(say or explain)(fault)}") from None


def explain(fault: BaseException) -> str:
    """Says in one line what an exception of a parser means for the file that it read."""
    if isinstance(fault, RecursionError):
        return "it is nested too deeply"
    if isinstance(fault, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(fault, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if isinstance(fault, OSError):
        return fault.strerror or _first_line(fault) or type(fault).__name__
    if isinstance(fault, KeyError) and fault.args:
        return f"{shown(fault.args[0])} is missing"
    mark = getattr(fault, "problem_mark", None)
    if mark is not None:  # An error of YAML, whose own message has several lines.
        return shorten(f"line {mark.line + 1}: {getattr(fault, 'problem', fault)}", LONGEST_REASON)
    text = _first_line(fault)
    if isinstance(fault, ValueError) and text:  # A ValueError of a parser is written to be read.
        return text
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__


def shown(value: object, limit: int = 60) -> str:
    """A value as Python writes it, in one line and shortened; it never fails, whatever the value is."""
    try:
        text = _REPR.repr(value)
    except Exception:  # A number of over 4,300 digits, or the repr of a class of somebody's own.
        text = f"a {type(value).__name__}"
    return shorten(text, limit)


def shorten(text: str, limit: int) -> str:
    """A text of at most `limit` characters: the end of a longer one is replaced by three dots."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def printable(text: str, limit: int = 60) -> str:
    """A text as a message quotes it: shortened, and without characters that a terminal would obey."""
    short = shorten(text, limit)
    return short if short.isprintable() else ascii(short)


def read_bounded(path: Path, most: int, *, unpack: bool = False) -> str:
    """Reads a text file of at most `most` bytes, in UTF-8, with or without a byte order mark.

    Args:
        path: of a regular file or a link to one; a pipe or a device is refused, as it may never end.
        most: bytes, of what is unpacked if it is.
        unpack: whether the file is compressed by gzip.

    Raises:
        ParseError: if it is no regular file, is too large, is not compressed as it should be, or is no text.
        OSError: if it is not there or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ParseError("not a regular file")
    with open_regular(path) as file:
        if unpack:
            with reading(ParseError, "no gzip file: "), gzip.open(file) as unpacked:
                content = unpacked.read(most + 1)
        else:
            content = file.read(most + 1)
    if len(content) > most:
        raise TooLargeError(f"the file is over {most / 2**20:g} MiB")
    with reading(ParseError):
        return content.decode("utf-8-sig")


def parse_yaml(text: str, *, as_written: bool = False) -> Any:
    """Parses YAML without any tag of Python's; a document that would grow beyond measure is refused.

    Args:
        text: of the document.
        as_written: whether values and keys stay the texts that they are written as, such as "yes" and "010".
            Nothing, as "~" or "null", is None, and mappings are merged at "<<" in either case.

    Raises:
        ParseError: if it is no YAML, or see `check_yaml`.
    """
    import yaml

    check_yaml(text)
    with reading(ParseError):
        plain: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return yaml.load(text, Loader=_loader_of_texts(plain) if as_written else plain)


def _loader_of_texts(plain: Any) -> Any:
    """A loader that takes what is written without a tag for a text, unless it is null or a merge."""
    kept = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:null")
    resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag in kept]
        for first, found in plain.yaml_implicit_resolvers.items()
    }
    return type("LoaderOfTexts", (plain,), {"yaml_implicit_resolvers": resolvers})


def read_yaml_text(path: Path) -> str:
    """Reads the text of a YAML file that does not grow beyond measure.

    Raises:
        ParseError: see `read_bounded` and `check_yaml`.
        OSError: if it is not there or cannot be read.
    """
    text = read_bounded(path, MAX_YAML_BYTES)
    check_yaml(text)
    return text


def check_yaml(text: str, most: int = MAX_NODES) -> None:
    """Checks what a YAML document stands for, without building it.

    An alias costs a few bytes and stands for all that its anchor holds, so that 258 bytes of nested aliases
    are a billion values. They are counted here from the events of the parser alone.

    Args:
        text: of the document.
        most: values that it may stand for.

    Raises:
        TooLargeError: if it is over 1 MiB, is nested over `MAX_DEPTH` deep, stands for too many values, or an
            alias stands for what it is itself a part of.
        ParseError: if it is no YAML.
    """
    import yaml

    if len(text) > MAX_YAML_BYTES:
        raise TooLargeError("the text is over 1 MiB")
    sizes: dict[str, int | None] = {}  # Of anchors; None while their node is not complete.
    open_nodes: list[tuple[str | None, int]] = []  # Anchor, and what was counted before it.
    count = 0
    with reading(ParseError):
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            at = f"line {event.start_mark.line + 1}" if event.start_mark else "the document"
            if isinstance(event, yaml.AliasEvent):
                size = sizes.get(str(event.anchor), 1)
                if size is None:
                    raise TooLargeError(f"{at}: the alias *{event.anchor} stands for what it is a part of")
                count += size
            elif isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, count))
                if event.anchor is not None:
                    sizes[event.anchor] = None
                count += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = open_nodes.pop()
                if anchor is not None:
                    sizes[anchor] = count - before
            elif isinstance(event, yaml.ScalarEvent):
                count += 1
                if event.anchor is not None:
                    sizes[event.anchor] = 1
            if len(open_nodes) > MAX_DEPTH:
                raise TooLargeError(f"{at}: it is nested too deeply")
            if count > most:
                raise TooLargeError(f"{at}: it stands for over {most:,} values; aliases may repeat them")


def _first_line(fault: BaseException) -> str:
    """The first line of a message, shortened; "" if it has none or cannot be written."""
    try:
        lines = str(fault).split("\n")
    except Exception:
        return ""
    text = next((line.strip() for line in lines if line.strip()), "")
    return shorten(text, LONGEST_REASON)


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlong, _REPR.maxstring, _REPR.maxother = 4, 60, 80, 80
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 20
