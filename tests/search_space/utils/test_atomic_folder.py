"""Folders that are written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from search_space.utils.atomic_file import atomic_folder


def test_a_folder_appears_as_a_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "more" / "set") as making:
        (making / "a").write_text("1")
        assert not (tmp_path / "more" / "set").exists()
    assert (tmp_path / "more" / "set" / "a").read_text() == "1"
    assert [path.name for path in (tmp_path / "more").iterdir()] == ["set"]


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_folder(tmp_path / "set") as making:
            (making / "a").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_two_at_a_time_do_not_meet_and_the_second_is_told(tmp_path: Path) -> None:
    """As processes of two containers do, which may have one number."""

    def write_in_turn() -> None:
        with atomic_folder(tmp_path / "set") as first:
            (first / "a").write_text("1")
            with atomic_folder(tmp_path / "set") as second:
                assert first != second
                (second / "a").write_text("2")

    with pytest.raises(OSError, match="not empty"):
        write_in_turn()
    assert (tmp_path / "set" / "a").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
