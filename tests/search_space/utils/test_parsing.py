"""Whatever a parser raises becomes the reader's own error, and YAML cannot grow beyond measure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search_space.utils.parsing import (
    MAX_NODES,
    ParseError,
    check_yaml,
    explain,
    parse_yaml,
    printable,
    read_bounded,
    reading,
    shorten,
    shown,
)


class OwnError(ValueError):
    pass


class UnwritableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (RecursionError("maximum"), "it is nested too deeply"),
        (MemoryError(), "it asks for more memory than there is"),
        (OverflowError("int too large"), "OverflowError: int too large"),
        (KeyError("spec"), "'spec' is missing"),
        (KeyError(10**5000), "a int is missing"),
        (TypeError("no\nsecond line"), "TypeError: no"),
        (ValueError("a must be b"), "a must be b"),
        (ValueError(), "ValueError"),
        (FileNotFoundError(2, "No such file or directory"), "No such file or directory"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "it is no text in UTF-8"),
        (AttributeError("x" * 5000), "AttributeError: " + "x" * 197 + "..."),
        (UnwritableError(), "UnwritableError"),
    ],
)
def test_every_exception_becomes_the_readers_own_in_one_line(fault: Exception, told: str) -> None:
    with pytest.raises(OwnError) as raised, reading(OwnError, "a.json: "):
        raise fault
    assert str(raised.value) == f"a.json: {told}"
    assert "\n" not in explain(fault)


def test_the_readers_own_error_and_what_is_no_exception_pass() -> None:
    with pytest.raises(OwnError, match=r"^as it is$"), reading(OwnError, "a.json: "):
        raise OwnError("as it is")
    with pytest.raises(KeyError), reading(OwnError, keep=(KeyError,)):
        raise KeyError("kept")
    with pytest.raises(KeyboardInterrupt), reading(OwnError):
        raise KeyboardInterrupt


def test_any_value_can_be_shown() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise OSError

    deep: object = 0
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, 10**10_000, Bad(), "a" * 10**6, {i: i for i in range(1000)}):
        assert len(shown(value)) <= 60
    assert shown([1, 2, "a"]) == "[1, 2, 'a']"


def test_a_text_is_cut_where_it_is_too_long() -> None:
    assert [shorten("a" * length, 5) for length in (4, 5, 6)] == ["aaaa", "aaaaa", "aa..."]
    assert printable("a\x1b[2J" + "b" * 60, 9) == r"'a\x1b[2Jb...'"
    assert printable("\u00e4") == "\u00e4"


def test_a_reader_may_say_itself_what_an_exception_means() -> None:
    own = reading(OwnError, "a.json: ", say=lambda fault: f"a {type(fault).__name__}")
    with pytest.raises(OwnError, match=r"^a\.json: a KeyError$"), own:
        raise KeyError("spec")


def test_a_file_is_read_up_to_its_limit_and_never_from_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfab")
    assert read_bounded(path, 5) == "ab"
    with pytest.raises(ParseError, match="the file is over"):
        read_bounded(path, 4)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParseError, match="no text in UTF-8"):
        read_bounded(path, 100)
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(ParseError, match="not a regular file"):
            read_bounded(tmp_path / name, 100)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "absent", 100)


def nested(levels: int, width: int, opened: str = "[", closed: str = "]") -> str:
    lines = ["a0: &a0 x"]
    for i in range(1, levels):
        items = ", ".join([f"*a{i - 1}"] * width)
        lines.append(f"a{i}: &a{i} {opened}{items}{closed}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        nested(9, 9),
        nested(30, 2),
        "a: &a {b: 1}\nl: &l [" + ", ".join(["*a"] * 999) + "]\nm: [" + ", ".join(["*l"] * 999) + "]",
        "[" + "x, " * (MAX_NODES + 1) + "]",
    ],
    ids=["lists", "doubled", "mappings", "long"],
)
def test_aliases_are_counted_before_anything_is_built(text: str) -> None:
    with pytest.raises(ParseError, match="stands for over"):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("&a [*a]", r"line 1: the alias \*a stands for what it is a part of"),
        ("a: &a {b: {\n c: *a}}", r"line 2: the alias \*a stands for what it is a part of"),
        ("\n" + "[" * 5000, "line 2: it is nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("a: *unknown", "undefined alias"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("n: 1" + "0" * 5000, "digits"),
        ("a: 2024-99-99", "month must be"),
        ("a: [", "line 2: did not find expected node content"),
        ("a: \x00", "control characters"),
        ("x" * (1 << 20) + "y", "over 1 MiB"),
    ],
)
def test_what_yaml_cannot_be_is_told(text: str, told: str) -> None:
    with pytest.raises(ParseError, match=told):
        parse_yaml(text)


def test_honest_aliases_work() -> None:
    text = "base: &b {x: 1, y: [1, 2]}\nsame: *b\nmore:\n  <<: *b\n  z: 3\n"
    check_yaml(text)
    assert parse_yaml(text)["more"] == {"x": 1, "y": [1, 2], "z": 3}
    with pytest.raises(ParseError, match="over 5 values"):
        check_yaml(text, most=5)


def test_yaml_as_it_is_written_has_texts_nothing_and_merges() -> None:
    text = "base: &base {1: yes, b: 010}\nown: {<<: *base, c: ~, d: 2024-01-01, e: 1e3}"
    own = {"1": "yes", "b": "010", "c": None, "d": "2024-01-01", "e": "1e3"}
    assert parse_yaml(text, as_written=True) == {"base": {"1": "yes", "b": "010"}, "own": own}
    assert parse_yaml("a: yes") == {"a": True}, "the usual loader stays as it is"
