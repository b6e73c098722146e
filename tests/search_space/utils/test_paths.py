"""Paths become absolute wherever an annotation says that a value is one, and nothing else changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from search_space.utils.paths import OR_FILE, absolute_paths, make_paths_absolute
from search_space.utils.validation import AtLeast


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("annotation", "given", "wanted"),
    [
        (Path, "a", "HERE/a"),
        (Path, "a/../b", "HERE/a/../b"),  # Where a is a link, that is another folder than b.
        (Path, "a%20b#c?d[e]*;:", "HERE/a%20b#c?d[e]*;:"),
        (Path, "/x", "/x"),
        (Path | None, "a", "HERE/a"),
        (Path | None, None, None),
        (str | Path, "a", "HERE/a"),
        (Annotated[Path, "a mark"] | None, "a", "HERE/a"),
        (list[Path], ["a", "/b"], ["HERE/a", "/b"]),
        (tuple[Path, ...], ("a", "b"), ("HERE/a", "HERE/b")),
        (tuple[str, Path], ("a", "b"), ("a", "HERE/b")),
        (Sequence[Path | None] | None, ["a", None], ["HERE/a", None]),
        (dict[str, Path], {"a": "b"}, {"a": "HERE/b"}),
        (Mapping[str, list[Path]], {"a": ["b"]}, {"a": ["HERE/b"]}),
        (str, "a", "a"),
        (list[str], ["a"], ["a"]),
        (Any, "a", "a"),
        (Annotated[int, AtLeast(1)] | str, "a", "a"),
    ],
)
def test_paths_are_found_by_their_annotations(annotation: Any, given: Any, wanted: Any, here: Path) -> None:
    def put(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("HERE", str(here))
        if isinstance(value, dict):
            return {key: put(item) for key, item in value.items()}
        return type(value)(map(put, value)) if isinstance(value, (list, tuple)) else value

    assert absolute_paths(given, annotation) == put(wanted)


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert absolute_paths("~/x", Path) == "/somewhere/x"
    assert absolute_paths("~no-such-user/x", Path) == f"{here}/~no-such-user/x"


@pytest.mark.parametrize("text", ["spinenet-49", "x" * 5000, "null\0byte"])
def test_a_name_stays_a_name_and_a_file_becomes_absolute(text: str, here: Path) -> None:
    kind = Annotated[str, OR_FILE] | None
    assert absolute_paths(text, kind) == text
    (here / "mine.json").touch()
    assert absolute_paths("mine.json", kind) == str(here / "mine.json")


def test_the_paths_of_a_dataclass_become_absolute_and_keep_their_types(here: Path) -> None:
    @dataclass(frozen=True)
    class Settings:
        root: str | Path
        more: tuple[Path, ...] = (Path("b"),)
        name: str = "c"

    settings = Settings("a")
    make_paths_absolute(settings)
    assert (settings.root, settings.more, settings.name) == (str(here / "a"), (here / "b",), "c")
