"""Temporary files and locks follow no link, and nobody else may write into them."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from search_space.utils.atomic_file import atomic_write
from search_space.utils.lock_file import locked, open_lock


def test_a_temporary_file_is_new_and_its_name_cannot_be_foretold(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        with atomic_write(tmp_path / "a.json") as partial:
            assert partial.read_bytes() == b""
            assert partial.suffix == ".json"
            names.add(partial.name)
            partial.write_text("{}")
    assert len(names) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_link_in_the_place_of_a_written_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "out.json").symlink_to(victim)
    with atomic_write(tmp_path / "out.json") as partial:
        partial.write_text("{}")
    assert victim.read_text() == "precious"
    assert (tmp_path / "out.json").read_text() == "{}"


def test_a_folder_that_is_not_there_is_named_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, atomic_write(tmp_path / "absent" / "a.json"):
        pytest.fail("there is no place to write to")
    assert raised.value.filename == str(tmp_path / "absent" / "a.json")
    assert str(raised.value) == f"[Errno 2] No such file or directory: '{tmp_path / 'absent' / 'a.json'}'"


def test_an_error_without_a_name_gets_that_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="quota") as raised, atomic_write(tmp_path / "a.json"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    assert str(raised.value) == f"[Errno {errno.EDQUOT}] Disk quota exceeded: '{tmp_path / 'a.json'}'"


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_lock_that_is_a_link_is_refused(make: object, tmp_path: Path) -> None:
    assert callable(make)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    make(victim, tmp_path / "a.lock")
    with pytest.raises(OSError, match="is a link"), locked(tmp_path / "a.lock"):
        pytest.fail("a link was locked")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("make", [True, False])
def test_a_pipe_in_the_place_of_a_lock_makes_nobody_wait(make: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.lock")
    with pytest.raises(OSError, match="no regular file"):
        open_lock(tmp_path / "a.lock", make=make)


def test_nobody_else_may_write_into_a_lock(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(open_lock(tmp_path / "private.lock"))
        os.close(open_lock(tmp_path / "shown.lock", mode=0o666))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private.lock").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "shown.lock").stat().st_mode) == 0o644


def test_one_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "a.lock"):
            order.append("second")

    with locked(tmp_path / "a.lock"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
