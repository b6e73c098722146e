from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space import Block, SpecError, SpineNetSpec, StemBlock, load_spec, published_spec, spec_key
from tests.search_space.random_specs import random_spec

SPINENET_49 = published_spec("spinenet-49")


def as_data(spec: SpineNetSpec = SPINENET_49) -> Any:
    return json.loads(spec.to_json())


def test_json_survives_the_round_trip() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        spec = random_spec(rng)
        assert SpineNetSpec.from_json(spec.to_json()) == spec


def test_json_has_the_format_of_the_contract() -> None:
    data = as_data()
    assert (data["format"], data["version"]) == ("spinenet-spec", 1)
    assert data["blocks"][0] == {"level": 2, "kind": "bottleneck", "parents": [0, 1], "output": False}
    assert len(data["stem"]) == 2
    assert len(data["blocks"]) == 15


def test_specs_are_values() -> None:
    again = SpineNetSpec.from_json(SPINENET_49.to_json())
    assert hash(again) == hash(SPINENET_49)
    assert {again: 1}[SPINENET_49] == 1
    with pytest.raises(AttributeError):
        again.stem = ()  # type: ignore[misc]


def test_output_may_be_left_out_and_notes_are_ignored() -> None:
    data = as_data()
    del data["blocks"][0]["output"]
    data["about"] = {"reward": 0.3}
    assert SpineNetSpec.from_dict(data) == SPINENET_49


def block_with(**changes: object) -> Any:
    data = as_data()
    data["blocks"][3].update(changes)
    return data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (block_with(level=9), r"blocks\[3\] \(feature 5\): level must be a whole number in 1..7, not 9"),
        (block_with(level=True), r"feature 5\): level must .* not true"),
        (block_with(level=10**30), r"feature 5\): level must .* a huge number"),
        (block_with(kind="conv"), r'feature 5\): kind must be one of bottleneck, .* not "conv"'),
        (block_with(kind=["x"]), r"feature 5\): kind must be one of"),
        (block_with(parents=[2, 2]), r"feature 5\): the two parents must differ"),
        (block_with(parents=[2]), r"feature 5\): parents must be two feature numbers"),
        (block_with(parents=[2, 5]), r"feature 5\): parent 5 is not built before .* 0..4"),
        (block_with(parents=[2, 9]), r"feature 5\): parent 9 is not built before"),
        (block_with(parents=[-1, 2]), r"feature 5\): parent -1 is not built before"),
        (block_with(parents="01"), r"feature 5\): parents must be a list"),
        (block_with(output=1), r"feature 5\): output must be true or false"),
        (block_with(output=True), r"blocks\[10\] \(feature 12\): a second output at level 4; feature 5"),
        (block_with(kind="mbconv"), r"feature 5\): mbconv cannot be mixed"),
        (block_with(paretns=[0, 1]), r'feature 5\): unknown key "paretns"'),
        ({k: v for k, v in as_data().items() if k != "format"}, '"format" is missing; .* "spinenet-spec"'),
        ({k: v for k, v in as_data().items() if k != "version"}, '"version" is missing; .* writes 1'),
        ({**as_data(), "version": 2}, "version 2, but this program reads versions up to 1"),
        ({**as_data(), "version": "1"}, '"version" must be a whole number'),
        ({**as_data(), "format": "x"}, '"format" must be "spinenet-spec"'),
        ({**as_data(), "blocks": []}, "none is an output"),
        ({**as_data(), "blocks": {}}, '"blocks" must be a list'),
        ({**as_data(), "blocks": [3]}, r"blocks\[0\] \(feature 2\): expected an object"),
        ({**as_data(), "stem": []}, "stem: needs at least two blocks"),
        ({**as_data(), "stem": [{"level": 2}, {"level": 4}]}, r"stem\[1\]: levels stay or rise by one"),
        ({**as_data(), "stem": [{"level": 4}, {"level": 4}]}, r"stem\[0\]: a stem starts at level"),
        ({k: v for k, v in as_data().items() if k != "stem"}, '"stem" is missing'),
        ({**as_data(), "blocks": as_data()["blocks"] * 50}, "at most 128"),
        ([1, 2], "not a spec: expected an object"),
        (None, "not a spec"),
    ],
)
def test_a_wrong_spec_is_named_with_its_place(data: Any, expected: str) -> None:
    with pytest.raises(SpecError, match=expected) as raised:
        SpineNetSpec.from_json(json.dumps(data))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "[" * 100_000,
        '{"format": "spinenet-spec", "version": ' + "9" * 5000 + "}",
        '{"format": "spinenet-spec", "format": "spinenet-spec"}',
        '{"format": "spinenet-spec", "version": 1, "stem": NaN, "blocks": Infinity}',
        "\x00",
    ],
)
def test_broken_json_is_a_clear_error(text: str) -> None:
    with pytest.raises(SpecError) as raised:
        SpineNetSpec.from_json(text)
    assert "\n" not in str(raised.value)


def test_blocks_take_numbers_of_numpy_and_keep_those_of_python() -> None:
    block = Block(np.int64(3), "bottleneck", [np.int32(0), np.int64(1)])  # type: ignore[arg-type]
    assert block == Block(3, "bottleneck", (0, 1))
    assert {type(number) for number in (block.level, *block.parents)} == {int}
    assert type(StemBlock(np.int16(2)).level) is int  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "parents", "told"),
    [
        (np.float64(3), (0, 1), r"level must be a whole number in 1\.\.7, not .*3\.0"),
        (np.int64(8), (0, 1), r"level must .*, not np\.int64\(8\)"),
        (3, (np.int64(0), None), r"parents must be two feature numbers, not \[np\.int64\(0\), None\]"),
    ],
)
def test_a_number_that_is_no_json_is_shown(level: Any, parents: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        Block(level, "bottleneck", parents)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["bottleneck", "residual", "mbconv", "", "x"])
    | st.integers(-3, 20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["level", "kind", "parents", "output", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=2000, deadline=None)
@given(st.data())
def test_any_damage_to_a_spec_gives_a_spec_or_a_clear_error(data: st.DataObject) -> None:
    damaged = as_data()
    for _ in range(data.draw(st.integers(1, 3))):
        where: Any = damaged
        key: Any = None
        for _ in range(data.draw(st.integers(1, 4))):
            if isinstance(where, dict) and where:
                key = data.draw(st.sampled_from(sorted(where)))
            elif isinstance(where, list) and where:
                key = data.draw(st.integers(0, len(where) - 1))
            else:
                break
            parent, where = where, where[key]
            if not isinstance(where, (dict, list)):
                break
        if key is not None:
            parent[key] = data.draw(JSON_VALUES)
    try:
        spec = SpineNetSpec.from_json(json.dumps(damaged))
    except SpecError as error:
        assert str(error)
        assert "\n" not in str(error)
    else:
        assert len(spec_key(spec)) == 32


@settings(max_examples=1000, deadline=None)
@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_any_text_is_a_spec_or_a_clear_error(text: str) -> None:
    with pytest.raises(SpecError):
        SpineNetSpec.from_json(text)


@settings(max_examples=1000, deadline=None)
@given(JSON_VALUES, JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_blocks_refuse_wrong_values(level: Any, kind: Any, parents: Any, output: Any) -> None:
    try:
        block = Block(level, kind, parents, output)
    except SpecError as error:
        assert "\n" not in str(error)
    else:
        assert hash(block) is not None
        assert 1 <= block.level <= 7


def test_sequences_of_wrong_things_are_refused() -> None:
    with pytest.raises(SpecError, match=r"blocks\[0\] must be a Block"):
        SpineNetSpec((StemBlock(2), StemBlock(2)), ({"level": 3},))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="stem must be a sequence"):
        SpineNetSpec(3, ())  # type: ignore[arg-type]


def test_files_are_named_in_errors(tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    good.write_text(SPINENET_49.to_json())
    assert load_spec(good) == load_spec(str(good)) == SPINENET_49
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large.json").write_bytes(b" " * (1 << 21))
    (tmp_path / "wrong.json").write_text("{}")
    for name, expected in (
        ("absent.json", "no such file"),
        ("binary.json", "UTF-8"),
        ("large.json", "over 1 MiB"),
        ("wrong.json", "not a spec"),
        ("", "not a regular file"),
    ):
        with pytest.raises(SpecError, match=expected) as raised:
            load_spec(str(tmp_path / name))
        assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spinnet-49", "did you mean spinenet-49"),
        ("spinenet-96", "spec spinenet-49 at the scale 96"),
        ("x" * 5000, "unknown spec"),
        ("a\0b", "unknown spec|null"),
    ],
)
def test_unknown_names_are_answered_with_a_hint(name: str, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        load_spec(name)


def test_names_are_forgiving_about_case() -> None:
    assert published_spec("SpineNet-49") == SPINENET_49


def test_a_spec_has_at_most_128_blocks() -> None:
    stem = (StemBlock(2), StemBlock(2))
    blocks = (*[Block(2, "bottleneck", (0, 1))] * 125, Block(3, "bottleneck", (0, 1), output=True))
    assert len(SpineNetSpec(stem, blocks).features) == 128
    with pytest.raises(SpecError, match="at most 128"):
        SpineNetSpec(stem, (Block(2, "bottleneck", (0, 1)), *blocks))
