"""What is written as JSON is JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from search_space import published_spec
from search_space.utils.strict_json import own_json, to_json


def strictly(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_is_not_finite_is_null(bad: float) -> None:
    assert strictly(to_json(bad)) is None
    data = {"a": bad, "b": [1.5, (bad, {"c": bad})], "d": "NaN", "e": None}
    assert strictly(to_json(data)) == {"a": None, "b": [1.5, [None, {"c": None}]], "d": "NaN", "e": None}
    assert strictly(to_json({bad: 1, "x": bad}, indent=1)) == {str(bad): 1, "x": None}


def test_what_json_has_no_word_for_is_refused() -> None:
    with pytest.raises(TypeError):
        to_json({"a": math.nan, "b": object()})


class Speaks:
    def __init__(self, said: Any) -> None:
        self.said = said

    def to_json(self) -> Any:
        return self.said


class Saves(Speaks):
    def to_json(self, path: str = "x.json") -> Any:
        raise AssertionError("called")


class Holds:
    to_json = "a text"


@pytest.mark.parametrize(
    "other", [Saves(""), Speaks({"a": 1}), Speaks("no JSON"), Holds(), (1, 2), Speaks, None]
)
def test_a_method_that_only_has_the_name_gives_no_json(other: object) -> None:
    assert own_json(other) is None


def test_an_objects_own_json_is_kept_and_made_strict() -> None:
    spec = published_spec("spinenet-49")
    assert own_json(spec) == spec.to_json()
    assert own_json(Speaks('{"a":  1}')) == '{"a":  1}'
    text = own_json(Speaks('{"a": NaN, "b": -Infinity}'))
    assert text is not None
    assert strictly(text) == {"a": None, "b": None}
