"""The files of the winners, as a search writes them."""

from __future__ import annotations

from pathlib import Path

from nas.reporting.winners import WinnerFiles
from search_space import ChoiceSpace


def test_what_a_killed_search_has_left_half_written_is_removed(tmp_path: Path) -> None:
    for name in (
        ".71-0123456789abcdef.json",
        ".71-0123456789abcdef.svg",
        "best.json",
        "notes.json",
        ".own.svg",
    ):
        (tmp_path / name).write_text("{}")
    WinnerFiles(tmp_path, ChoiceSpace({"a": ["x", "y"]}))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".own.svg", "best.json", "notes.json"]
