"""Locks of folders and files that are replaced whole."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.utils.files import FolderInUseError, is_in_use, lock_folder, locked_folder, replace_file

HOLD = """
import sys
from pathlib import Path
from nas.utils.files import lock_folder
file = lock_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_held_by_another_process_names_it_until_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_in_use(tmp_path)
        with pytest.raises(FolderInUseError, match=rf"in use by another .* \(process {holder.pid}\)"):
            lock_folder(tmp_path)
        assert (tmp_path / "lock").read_text() == str(holder.pid), "a refused lock must leave the file alone"
        holder.kill()
    assert not is_in_use(tmp_path)
    with locked_folder(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


FORK = """
import os, sys, time
from pathlib import Path
from nas.utils.files import lock_folder
file = lock_folder(Path(sys.argv[1]))
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print("held", flush=True)
time.sleep(600)
"""


def test_a_child_that_outlives_its_parent_holds_no_folder(tmp_path: Path) -> None:
    """A task may have forked it, and a search may be killed."""
    command = [sys.executable, "-c", FORK, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_in_use(tmp_path)
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        assert not is_in_use(tmp_path)
        assert holder.stdin is not None
        holder.stdin.close()  # The child, which still lives, ends now.


def test_asking_makes_no_file_and_takes_no_lock(tmp_path: Path) -> None:
    assert not is_in_use(tmp_path)
    assert not is_in_use(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
    with locked_folder(tmp_path):
        pass
    assert not is_in_use(tmp_path)
    with locked_folder(tmp_path):
        assert is_in_use(tmp_path)
        assert is_in_use(tmp_path), "asking must not release the lock"


def test_a_network_disk_tells_who_has_a_folder_though_readers_get_no_exclusive_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, flock is made of locks of byte ranges; an exclusive one needs permission to write: flock(2)."""
    flock = fcntl.flock

    def of_a_network_disk(descriptor: int, operation: int) -> None:
        writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        if operation & fcntl.LOCK_EX and not writable:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", of_a_network_disk)
    with locked_folder(tmp_path):
        assert is_in_use(tmp_path)
    assert not is_in_use(tmp_path)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(link: object, tmp_path: Path) -> None:
    assert callable(link)
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("precious")
    folder.mkdir()
    link(victim, folder / "lock")
    with pytest.raises(OSError, match="is a link") as refused:
        lock_folder(folder)
    assert refused.value.filename == str(folder / "lock")
    assert victim.read_text() == "precious"


def test_a_file_that_cannot_be_written_keeps_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(file: Path, text: str, **_: str) -> int:
        file.write_bytes(text[:2].encode())
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    file = tmp_path / "file"
    replace_file(file, "old")
    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(OSError, match="No space left") as raised:
        replace_file(file, "new text")
    assert raised.value.filename == str(file)
    assert file.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_asking_about_a_pipe_or_a_link_waits_for_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    assert not is_in_use(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with locked_folder(other):
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").symlink_to(other / "lock")
        assert not is_in_use(tmp_path)


def test_what_another_program_left_in_a_lock_is_not_repeated(tmp_path: Path) -> None:
    held = lock_folder(tmp_path)
    (tmp_path / "lock").write_bytes(b"\xff\x1b[2J" * 1000)
    with pytest.raises(FolderInUseError, match=r"in use by another search or training; nas status"):
        lock_folder(tmp_path)
    held.close()


@pytest.mark.parametrize("text", ["Größe", "データ", "half an emoji \ud83d", "bild\udce4.jpg"])
def test_any_text_is_written_in_utf_8(text: str, tmp_path: Path) -> None:
    replace_file(tmp_path / "file", text)
    assert (tmp_path / "file").read_bytes() == text.encode("utf-8", "backslashreplace")
    # In a JSON text the escape of half a character is the character.
    replace_file(tmp_path / "file", json.dumps([text], ensure_ascii=False))
    assert json.loads((tmp_path / "file").read_text(encoding="utf-8")) == [text]
