"""Files and folders that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = re.compile(r"\.\d+-[0-9a-f]{16}(\.|$)")
"""Names of files that `atomic_write` is writing, or that a killed process has left."""


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives the name of a temporary file with the same ending; when the block ends, it becomes the file.

    The temporary file is new and empty, and nobody can foretell its name: in a folder where others may write,
    a link in its place could lead to somebody's data.

    Raises:
        OSError: if the file cannot be written, or a device or a pipe has its name; the message names the
            file. No file is left then, nor after an error in the block.
    """
    _refuse_special(path)
    # The ending is kept, as some writers choose the format by it; a long name leaves no room for more.
    partial = path.with_name(f".{os.getpid()}-{secrets.token_hex(8)}{path.suffix}")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename in (None, str(partial)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_unfinished(folder: Path, endings: tuple[str, ...]) -> None:
    """Removes what processes that were killed while they wrote have left in a folder.

    Args:
        folder: in which nobody else writes files with these endings now; it need not be there.
        endings: of the files that are removed, such as ".pt".
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.suffix in endings and UNFINISHED.match(path.name):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives a new folder beside a path; when the block ends, it gets that name, and after an error it goes.

    A process that is killed leaves it, with a name that begins with a point and the name of the path.

    Raises:
        OSError: if it cannot be made, or something has its name that is no empty folder.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(8)}")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_special(path: Path) -> None:
    """Raises OSError where a device, a pipe or a socket has the name; it would be lost."""
    for look in (path.lstat, path.stat):
        try:
            mode = look().st_mode
        except OSError:
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            raise OSError(errno.EEXIST, "it is a device or a pipe, not a regular file", str(path))
