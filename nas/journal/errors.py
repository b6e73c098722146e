"""What can be wrong with a journal, and with the disk that it is on."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
from pathlib import Path

ROOM = 1 << 16
"""With fewer free bytes a disk is full: SQLite needs 32 KiB beside a journal."""


class JournalError(ValueError):
    """A journal that cannot be read or must not be written: says which and why."""


class JournalWriteError(OSError):
    """The journal cannot be written: a full or read-only disk. What it holds is safe."""


def is_lack_of_room(error: sqlite3.Error) -> bool:
    """Whether SQLite could not write, or make, one of its files."""
    name = getattr(error, "sqlite_errorname", "")
    return name in ("SQLITE_FULL", "SQLITE_CANTOPEN") or name.startswith(
        ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHM", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE")
    )


def lack_of_room(error: sqlite3.Error, path: Path) -> JournalWriteError | None:
    """The error that says that the disk is full, if that is what SQLite met."""
    if not is_lack_of_room(error):
        return None
    full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
    with contextlib.suppress(OSError):
        full = full or shutil.disk_usage(path.parent).free < ROOM
    if not full:
        return JournalWriteError(errno.EIO, f"no file can be written beside it: {error}", str(path))
    return JournalWriteError(
        errno.ENOSPC, "the disk is full; nothing is lost, make room and go on", str(path)
    )


def not_written(error: sqlite3.Error, path: Path) -> JournalWriteError:
    """The error of what SQLite could not write for another reason."""
    return JournalWriteError(errno.EIO, f"not written: {error}", str(path))
