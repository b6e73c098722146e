"""Fields of a configuration are checked by their annotations, with errors that say what would be right."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from search_space.utils.validation import Above, AtLeast, AtMost, Below, checked, describe, validate


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field of every kind."""

    steps: Annotated[int, AtLeast(1)] = 1
    share: Annotated[float, AtLeast(0), AtMost(1)] = 0.5
    rate: Annotated[float, Above(0), Below(2)] = 1.0
    schedule: Literal["cosine", "step"] = "cosine"
    level: Literal[1, 2] = 2
    limit: Annotated[int, AtLeast(2)] | None = None
    sizes: tuple[Annotated[int, AtLeast(1)], ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)
    on: bool = False
    name: str = ""
    extra: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        validate(self)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"steps": np.int64(3), "share": np.float32(0.25), "rate": 1},
        {"share": 0, "limit": 2, "schedule": np.str_("step"), "level": 1},
        {"sizes": (1, 2), "pair": (1, 2), "on": True, "name": "a", "extra": {"a": 1}},
    ],
)
def test_what_is_right_passes(fields: dict[str, Any]) -> None:
    settings = Settings(**fields)
    assert {name: getattr(settings, name) for name in fields} == fields


def test_lists_become_tuples() -> None:
    settings = Settings(sizes=[1, 2], pair=[3, 4])  # type: ignore[arg-type]
    assert (settings.sizes, settings.pair) == ((1, 2), (3, 4))
    assert hash(settings) == hash(Settings(sizes=(1, 2), pair=(3, 4)))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"steps": 1.0}, "steps must be a whole number of at least 1, not 1.0"),
        ({"steps": True}, "steps must be a whole number of at least 1, not True"),
        ({"steps": None}, "steps must be a whole number of at least 1, not None"),
        ({"share": 1.5}, "share must be a number of at least 0 and at most 1, not 1.5"),
        ({"rate": 0}, "rate must be a number above 0 and below 2, not 0"),
        ({"rate": 2}, "rate must be a number above 0 and below 2, not 2"),
        ({"rate": math.nan}, "rate must be a number above 0 and below 2, not nan"),
        ({"rate": "1"}, "rate must be a number above 0 and below 2, not '1'"),
        ({"schedule": "poly"}, "schedule must be cosine or step, not 'poly'"),
        ({"level": True}, "level must be 1 or 2, not True"),
        ({"level": 1.0}, "level must be 1 or 2, not 1.0"),
        ({"limit": 1}, "limit must be a whole number of at least 2 or null, not 1"),
        ({"sizes": 3}, "sizes must be a list, every item a whole number of at least 1, not 3"),
        ({"sizes": (1, 0)}, "sizes must be a list, every item a whole number of at least 1, not (1, 0)"),
        ({"sizes": "12"}, "sizes must be a list, every item a whole number of at least 1, not '12'"),
        ({"pair": (1,)}, "pair must be a list of 2 items, every item a number, not (1,)"),
        ({"on": 1}, "on must be true or false, not 1"),
        ({"name": 3}, "name must be a text, not 3"),
        ({"extra": [1]}, "extra must be a mapping or null, not [1]"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        Settings(**fields)


def test_the_kind_of_error_and_the_place_can_be_chosen() -> None:
    class OwnError(ValueError):
        pass

    @dataclass
    class Cell:
        level: int

    with pytest.raises(OwnError, match=r"^cells\[3\]: level must be a whole number, not 'x'$"):
        validate(Cell("x"), OwnError, "cells[3]: ")  # type: ignore[arg-type]


def test_lists_of_several_kinds_are_described_without_them() -> None:
    assert describe(tuple[int, str]) == "a list of 2 items"
    assert describe(list[int]) == "a list, every item a whole number"
    assert describe(tuple[()]) == "a list"


class Part:
    """A class whose `__init__` is its own."""

    @checked
    def __init__(
        self,
        space: object,
        seed: int = 0,
        *,
        size: Annotated[int, AtLeast(1)] | None = None,
        share: float = 0.5,
    ) -> None:
        self.made = (space, seed, size, share)


def test_arguments_are_checked_before_a_class_of_its_own_takes_them() -> None:
    assert Part("space", 3, size=2).made == ("space", 3, 2, 0.5)
    assert Part("space").made == ("space", 0, None, 0.5)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"size": 0}, "size must be a whole number of at least 1 or null, not 0"),
        ({"size": "abc"}, "size must be a whole number of at least 1 or null, not 'abc'"),
        ({"share": None}, "share must be a number, not None"),
    ]
    for arguments, expected in wrong:
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            Part("space", **arguments)
    with pytest.raises(TypeError, match="sizes"):
        Part("space", sizes=1)  # type: ignore[call-arg]
    assert list(inspect.signature(Part).parameters) == ["space", "seed", "size", "share"]


def test_numbers_of_numpy_become_pythons() -> None:
    found = Settings(
        steps=np.int64(3),  # type: ignore[arg-type]
        share=np.float32(0.5),  # type: ignore[arg-type]
        sizes=tuple(np.array([2, 3])),
        pair=[np.float64(1.5), 2.0],  # type: ignore[arg-type]
    )
    assert (found.steps, found.share, found.sizes, found.pair) == (3, 0.5, (2, 3), (1.5, 2.0))
    kinds = [type(value) for value in (found.steps, found.share, *found.sizes, *found.pair)]
    assert kinds == [int, float, int, int, float, float]
