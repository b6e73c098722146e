"""Files that are never half-written, and folders that one process has to itself."""

from __future__ import annotations

import errno
import os
import shlex
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from search_space.utils.atomic_file import atomic_write
from search_space.utils.lock_file import is_locked, open_lock, try_lock

LOCK_FILE = "lock"


class FolderInUseError(ValueError):
    """Another process works in the folder. The message names the process."""


def replace_file(path: Path, text: str) -> None:
    """Writes a text in UTF-8 into a file, which keeps its old content until the new one is complete.

    Half characters, such as those of file names in another encoding, are written as escapes.
    """
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def lock_folder(folder: Path) -> IO[str]:
    """Takes a folder for this process, until the returned file is closed or the process ends.

    The lock file holds the number of the process that has the folder.

    Raises:
        FolderInUseError: if another process has it.
        OSError: if the folder cannot be written, or if its lock file is a link to another file.
    """
    # Others may read it, as they have to where they ask for the state of a search, but never write.
    file = os.fdopen(open_lock(folder / LOCK_FILE, mode=0o644), "r+", encoding="utf-8", errors="replace")
    try:
        if not _try_lock(file.fileno(), folder):
            raise FolderInUseError(_describe_holder(folder, file.read(20)))
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except BaseException:
        file.close()
        raise
    _close_in_children(file)
    return file


def _close_in_children(file: IO[str]) -> None:
    """Has forked processes close a file: a lock lasts as long as any process has its file open.

    What a task has forked and not ended may outlive a search that is killed, and would hold its folder.
    """
    found = weakref.ref(file)

    def close() -> None:
        held = found()
        if held is not None:
            held.close()

    if hasattr(os, "register_at_fork"):  # Windows forks nothing.
        os.register_at_fork(after_in_child=close)


def _try_lock(descriptor: int, folder: Path) -> bool:
    """Locks an open file of a folder, if no other process has; raises OSError if the disk knows no locks."""
    try:
        return try_lock(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise OSError(
                error.errno, "its disk offers no file locks; take another folder", str(folder)
            ) from None
        raise


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Holds the lock of `lock_folder` for a block."""
    with lock_folder(folder):
        yield


def refuse_if_in_use(folder: Path) -> None:
    """Raises what `lock_folder` would raise, without taking the folder.

    Raises:
        FolderInUseError: if a process has the folder.
    """
    if is_in_use(folder):
        try:
            holder = (folder / LOCK_FILE).read_text(encoding="utf-8", errors="replace")
        except OSError:
            holder = ""
        raise FolderInUseError(_describe_holder(folder, holder[:20]))


def _describe_holder(folder: Path, holder: str) -> str:
    who = f" (process {holder.strip()})" if holder.strip().isdecimal() else ""
    shown = shlex.quote(str(folder))
    return f"{folder} is in use by another search or training{who}; nas status {shown} shows how far it is"


def is_in_use(folder: str | Path) -> bool:
    """Whether a process has the folder. Read permission is enough to ask."""
    try:
        descriptor = open_lock(Path(folder) / LOCK_FILE, make=False)
    except OSError:
        return False
    try:
        return is_locked(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
