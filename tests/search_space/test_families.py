"""The seam for families: what all specs offer, and how a family of a user's own joins."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch

from search_space import (
    PUBLISHED_SPECS,
    SCALES,
    ChoiceSpace,
    Cost,
    CostError,
    Description,
    Drawable,
    FCOSHead,
    Head,
    NormConfig,
    Scale,
    SpaceError,
    SpecError,
    load_spec,
    load_spinenet_spec,
    published_space,
    published_spec,
    register_family,
    spec_cost,
    spec_from_dict,
    spec_key,
)
from search_space import families as families_module
from search_space.cost import PartCost, add_parts


@dataclass(frozen=True)
class Plain:
    """One convolution a level: a family that only this file knows."""

    filters: int = 8

    format: ClassVar[str] = "plain-spec"
    title: ClassVar[str] = "Plain"
    separable_head: ClassVar[bool] = False

    def to_json(self) -> str:
        return json.dumps({"format": self.format, "version": 1, "filters": self.filters})

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        return cls(data["filters"])

    def key(self) -> str:
        return f"plain {self.filters}"

    def cost(
        self, scale: Scale, size: int | tuple[int, int] = 640, head: Head | str = "none", classes: int = 80
    ) -> Cost:
        return add_parts([PartCost("all", 27 * self.filters, 0, 0, 0)])

    def build(self, scale: Scale, *, norm: NormConfig, convention: str = "torch") -> torch.nn.Module:
        return torch.nn.Conv2d(3, self.filters, 3)

    def describe(self) -> Description:
        return Description(table=(("filters",), (str(self.filters),)), summary=f"{self.filters} filters")


class EntryPoint:
    """An installed package's entry point."""

    name = "plain"

    def __init__(self, loaded: type | None) -> None:
        self.loaded = loaded

    def load(self) -> type:
        if self.loaded is None:
            raise ModuleNotFoundError("No module named 'gone'")
        return self.loaded


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets what a test registers once it has ended."""
    monkeypatch.setattr(families_module, "FAMILIES", dict(families_module.FAMILIES))


@pytest.mark.parametrize("name", PUBLISHED_SPECS)
def test_every_published_spec_keeps_the_promises_of_a_spec(name: str, tmp_path: Path) -> None:
    spec = published_spec(name)
    path = tmp_path / "spec.json"
    path.write_text(spec.to_json())
    assert load_spec(path) == load_spec(name.upper()) == spec_from_dict(json.loads(spec.to_json())) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(spec) == hash(load_spec(path))
    assert spec_key(spec) == spec.key() == load_spec(path).key()
    description = spec.describe()
    assert len(description.table) > 1
    assert {len(row) for row in description.table} == {len(description.table[0])}
    json.dumps(dict(description.facts))
    with torch.device("meta"):
        net = spec.build(SCALES["proxy"], norm=NormConfig())
        pyramid = net(torch.empty(2, 3, 128, 128))
    assert net.out_channels == SCALES["proxy"].endpoints
    assert list(pyramid) == [f"P{level}" for level in net.levels]  # type: ignore[union-attr]
    assert sum(p.numel() for p in net.parameters()) == spec_cost(spec, SCALES["proxy"]).params
    with_head = spec_cost(spec, SCALES["proxy"], 256, "retinanet", 3)
    assert with_head.parts[-1].name == "head"
    assert with_head.params > spec_cost(spec, SCALES["proxy"], 256).params


def test_formats_and_keys_differ_between_families() -> None:
    specs = [published.spec for published in PUBLISHED_SPECS.values()]
    assert len({spec.key() for spec in specs}) == len(specs)
    assert {spec.format: spec.title for spec in specs} == {
        "spinenet-spec": "SpineNet",
        "merging-cells-spec": "NAS-FPN",
        "r50-fpn-spec": "R50-FPN",
    }
    assert {spec.title for spec in specs if isinstance(spec, Drawable)} == {"SpineNet"}


def test_only_the_mobile_network_has_a_separable_head() -> None:
    assert [name for name in PUBLISHED_SPECS if published_spec(name).separable_head] == ["mobile-spinenet-49"]


@pytest.mark.parametrize("name", ["nas-fpn", "r50-fpn"])
def test_another_family_is_refused_where_a_spinenet_is_needed(name: str) -> None:
    title = published_spec(name).title
    with pytest.raises(SpecError, match=f"{name}: this needs a SpineNet, but .* of the family {title}"):
        load_spinenet_spec(name)
    assert load_spinenet_spec("spinenet-49") == published_spec("spinenet-49")


def test_a_family_of_a_users_own_is_read_once_it_is_registered(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(Plain(5).to_json())
    with pytest.raises(SpecError, match=r'mine\.json: .*must be one of .*"spinenet-spec".*not "plain-spec"'):
        load_spec(path)
    assert register_family(Plain) is Plain
    assert load_spec(path) == Plain(5)
    assert spec_cost(load_spec(path), SCALES["49"]).params == 135


def test_a_package_brings_a_family_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def entry_points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint(Plain)]

    monkeypatch.setattr(families_module, "entry_points", entry_points)
    assert load_spec("spinenet-49").title == "SpineNet"
    assert asked == []  # Known formats need no look at the installed packages.
    assert spec_from_dict(json.loads(Plain(3).to_json())) == Plain(3)
    assert asked == ["spinenas.families"]


@pytest.mark.parametrize("order", [(Plain, None), (None, Plain)])
def test_a_broken_entry_point_does_not_take_other_families_away(
    order: tuple[type | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families_module, "entry_points", lambda group: [EntryPoint(kind) for kind in order])
    assert spec_from_dict(json.loads(Plain(3).to_json())) == Plain(3)
    with pytest.raises(
        SpecError, match=r'must be one of .*, not "x"; entry point plain of spinenas\.families .*gone'
    ):
        spec_from_dict({"format": "x"})


def test_a_class_that_lacks_members_or_takes_a_known_format_is_refused() -> None:
    class Half:
        format = "half-spec"
        title = "Half"

    with pytest.raises(SpecError, match=r"Half is no family of specs: it lacks separable_head, to_json"):
        register_family(Half)  # type: ignore[type-var]

    class Thief(Plain):
        format: ClassVar[str] = "spinenet-spec"

    with pytest.raises(SpecError, match=r"spinenet-spec.*SpineNetSpec has already"):
        register_family(Thief)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], 'expected an object with a "format", found \\[\\]'),
        ({}, '"format" is missing; it must be one of "merging-cells-spec", .*"spinenet-spec"'),
        ({"format": None}, '"format" must be a text, not null'),
        ({"format": "spinenet-spec"}, '"version" is missing; this program writes 1'),
        ({"format": 3}, '"format" must be a text, not 3'),
        ({"format": "x"}, '"format" must be one of .*"r50-fpn-spec".* not "x"'),
        ({"format": "nas-fpn"}, '"format" must be one of'),
    ],
)
def test_what_is_no_spec_is_refused(data: object, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        spec_from_dict(data)


class Stumbling(Plain):
    """A family whose reader raises whatever it meets."""

    format = "stumbling-spec"

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        raise {"key": KeyError, "deep": RecursionError, "huge": OverflowError}[data["how"]]("size")


@pytest.mark.parametrize(
    ("how", "told"),
    [("key", "'size' is missing"), ("deep", "it is nested too deeply"), ("huge", "OverflowError: size")],
)
def test_whatever_a_familys_reader_raises_is_a_spec_error(
    how: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(families_module.FAMILIES, Stumbling.format, Stumbling)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"format": Stumbling.format, "how": how}))
    with pytest.raises(SpecError, match=rf"a\.json: not a spec of the family .*: {told}"):
        load_spec(path)


DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    "value", [DEEP, "[" * 10**5, "9" * 4000, "9" * 5000, "1e400", "NaN", '"\\ud800"', "{}"]
)
@pytest.mark.parametrize("name", ["spinenet-49", "nas-fpn", "r50-fpn"])
def test_any_value_in_any_place_of_a_spec_is_answered_in_one_line(
    name: str, value: str, tmp_path: Path
) -> None:
    lines = published_spec(name).to_json()
    numbers = [i for i, character in enumerate(lines) if character.isdecimal() and lines[i - 1] in " ["]
    path = tmp_path / "a.json"
    for at in numbers[1::5]:
        path.write_text(lines[:at] + value + lines[at + 1 :])
        with pytest.raises(SpecError) as raised:
            load_spec(path)
        assert str(raised.value).startswith(f"{path}: ")
        assert len(str(raised.value)) < 500 + len(str(path))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [None, 49, b"spinenet-49", ["x"]])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(SpecError, match=r"unknown spec .*; known are .*spinenet-49"):
        load_spec(name)
    with pytest.raises(SpecError, match="unknown spec "):
        published_spec(name)
    with pytest.raises(SpaceError, match="unknown space "):
        published_space(name)


@pytest.mark.parametrize("head", [None, 7, FCOSHead])
def test_a_head_that_is_none_is_refused(head: Any) -> None:
    with pytest.raises(CostError, match="head must be settings of a head, or its name, not "):
        spec_cost(published_spec("spinenet-49"), SCALES["49"], 640, head)


def test_an_option_that_runs_into_the_separator_is_refused() -> None:
    """Else "a" before "|b" and "a|" before "b" would both have the key "a|||b"."""
    with pytest.raises(ValueError, match=r"x: no option may hold '\|\|'"):
        ChoiceSpace({"x": ["a", "a|"], "y": ["b", "|b"]}, text="{}||{}")
