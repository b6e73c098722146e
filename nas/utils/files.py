"""Files that are never half-written, and folders that one process has to itself."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import lock_descriptor

from search_space.utils.atomic_file import atomic_write

LOCK_FILE = "lock"

ATTEMPTS, SECONDS_BETWEEN = 10, 0.02
"""`is_in_use` of another process holds the lock for an instant, so one refusal proves nothing."""


class FolderInUseError(ValueError):
    """Another process works in the folder. The message names the process."""


def replace_file(path: Path, text: str) -> None:
    """Writes a text into a file, which keeps its old content until the new one is complete."""
    with atomic_write(path) as partial:
        partial.write_text(text)


def lock_folder(folder: Path) -> IO[str]:
    """Takes a folder for this process, until the returned file is closed or the process ends.

    The lock file holds the number of the process that has the folder.

    Raises:
        FolderInUseError: if another process has it.
        OSError: if the folder cannot be written, or if its lock file is a link to another file.
    """
    file = _open_own_file(folder / LOCK_FILE)
    try:
        if not _acquire(file.fileno()):
            holder = file.read().strip()
            who = f" (process {holder})" if holder else ""
            raise FolderInUseError(f"{folder} is in use by another search or training{who}")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Holds the lock of `lock_folder` for a block."""
    with lock_folder(folder):
        yield


def is_in_use(folder: str | Path) -> bool:
    """Whether a process has the folder. Read permission is enough to ask."""
    try:
        with (Path(folder) / LOCK_FILE).open() as file:
            return not _acquire(file.fileno())
    except OSError:
        return False


def _acquire(descriptor: int) -> bool:
    """Locks an open file; the lock ends when the file is closed."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(SECONDS_BETWEEN)
        if lock_descriptor(descriptor, blocking=False):
            return True
    return False


def _open_own_file(path: Path) -> IO[str]:
    """Opens a file to read and write, and makes it if it is absent. A link could lead to somebody's data."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "is a link to another file; remove it"
        raise
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EMLINK, "is a link or no regular file; remove it", str(path))
    return os.fdopen(descriptor, "r+")
