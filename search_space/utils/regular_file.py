"""Files that end: a pipe in the place of a file would wait for a writer, and a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file, or a link to one, for reading bytes.

    Raises:
        OSError: if it is not there, cannot be read, or is a pipe, a device or a socket.
    """
    # What was opened is looked at, not its name, which may be something else a moment later.
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def read_regular(path: Path) -> bytes:
    """Reads the bytes of a regular file, or of a link to one.

    Raises:
        OSError: see `open_regular`; also if the file does not fit into memory.
    """
    with open_regular(path) as file:
        try:
            return file.read()
        except MemoryError:
            raise OSError(errno.ENOMEM, "it is larger than the memory", str(path)) from None


def _open_without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)
