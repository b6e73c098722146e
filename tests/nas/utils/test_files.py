"""Locks of folders and files that are replaced whole."""

from __future__ import annotations

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


def test_a_file_that_cannot_be_written_keeps_its_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    replace_file(file, "old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(file, "\udc80")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
