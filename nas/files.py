"""Files that are never half-written, and folders that one process has to itself."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from search_space.whole_file import whole_file

LOCK, LOOKS = "lock", 5


class FolderInUseError(ValueError):
    """Another process works in the folder: says which."""


def replace_file(path: Path, text: str) -> None:
    """Writes a text so that it is never half-written."""
    with whole_file(path) as partial:
        partial.write_text(text)


def lock_folder(folder: Path) -> IO[str]:
    """Takes a folder for this process; it is given up when the file is closed or the process ends.

    Raises:
        FolderInUseError: if another process has it.
        OSError: if the folder cannot be written.
    """
    file = (folder / LOCK).open("a+")
    if not _locked(file):
        file.seek(0)
        holder = file.read().strip()
        file.close()
        who = f" (process {holder})" if holder else ""
        raise FolderInUseError(f"{folder} is in use by another search or training{who}")
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _locked(file: IO[str]) -> bool:
    for _ in range(LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # Perhaps only by somebody who looks, see `is_in_use`.
            time.sleep(0.1)
        else:
            return True
    return False


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """`lock_folder` for a block."""
    with lock_folder(folder):
        yield


def is_in_use(folder: str | Path) -> bool:
    """Whether a process has the folder."""
    try:
        with (Path(folder) / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
