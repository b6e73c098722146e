"""JSON of users: every way in which it can be wrong ends in the error that the caller documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from search_space.utils.json_text import parse_json


class WantedError(ValueError):
    pass


TEXT = '{"a": ["ä", 1.5]}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_encoding_of_json_is_read(encoding: str) -> None:
    assert parse_json(TEXT.encode(encoding)) == json.loads(TEXT)


def test_a_text_may_begin_with_a_mark() -> None:
    assert parse_json("\ufeff" + TEXT) == json.loads(TEXT)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expecting value"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "too many digits"),
        (b'{"a": "\xff\xfe"}', "no text in utf-8 at byte 7"),
        (b"\xfe\xff\x00", "no text in utf-16"),
        (b"{'a': 1}", "Expecting property name"),
        (b'{"a": 1', "Expecting"),
        ("\x00\x00", "Expecting value"),
    ],
)
def test_whatever_is_no_json_is_the_callers_error(content: bytes | str, told: str) -> None:
    with pytest.raises(WantedError, match=told) as caught:
        parse_json(content, error=WantedError, where="a.json")
    assert str(caught.value).startswith("a.json: not readable as JSON: ")
    assert len(str(caught.value)) < 300


def test_a_memory_error_is_the_callers_error() -> None:
    def full(pairs: list[tuple[str, Any]]) -> Any:
        raise MemoryError

    with pytest.raises(WantedError, match="does not fit into memory"):
        parse_json(TEXT, error=WantedError, pairs=full)


def test_what_makes_objects_may_refuse_them() -> None:
    def refuse(pairs: list[tuple[str, Any]]) -> Any:
        raise WantedError("twice")

    with pytest.raises(WantedError, match=r"^twice$"):
        parse_json(TEXT, error=WantedError, pairs=refuse)
