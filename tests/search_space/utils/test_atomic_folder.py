"""Folders that are written as a whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
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

    with pytest.raises(FileExistsError) as told:
        write_in_turn()
    assert (told.value.filename, told.value.strerror) == (str(tmp_path / "set"), "already exists")
    assert (tmp_path / "set" / "a").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_messages_name_the_folder_and_not_the_one_beside_it(tmp_path: Path) -> None:
    def write(path: Path, inner: str) -> None:
        with atomic_folder(path) as making:
            (making / inner / "a").write_text("1")

    with pytest.raises(FileNotFoundError) as told:
        write(tmp_path / "set", "absent")
    assert told.value.filename == str(tmp_path / "set" / "absent" / "a")
    assert str(told.value) == f"[Errno 2] No such file or directory: '{tmp_path / 'set' / 'absent' / 'a'}'"
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError) as taken:
        write(tmp_path / "file", "")
    assert taken.value.filename == str(tmp_path / "file")


LEAVES = """
import platform, sys, time
platform.node = lambda: sys.argv[2]
from pathlib import Path
from search_space.utils.atomic_file import atomic_folder
with atomic_folder(Path(sys.argv[1])) as making:
    (making / "a").write_text("1")
    print("here", flush=True)
    time.sleep(300)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_not_before_it_is_dead(tmp_path: Path) -> None:
    """Also by one of another container, which has another name."""
    (tmp_path / ".set.notes").mkdir()
    (tmp_path / ".settings").mkdir()
    words = [sys.executable, "-c", LEAVES, str(tmp_path / "set"), "container-1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    with atomic_folder(tmp_path / "set") as making:
        assert len([path for path in tmp_path.glob(".set.*") if (path / "a").exists()]) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (tmp_path / "set").rmdir()
    with atomic_folder(tmp_path / "set") as making:
        (making / "b").write_text("1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".set.notes", ".settings", "set"]
