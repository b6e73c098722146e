"""Files and folders that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
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
            _name_only(error, str(path))
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _name_only(error: OSError, name: str) -> None:
    """Makes one file the only one that an error names."""
    error.filename = name
    del error.filename2  # A second name of None would be written, too.


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

    A process that is killed leaves it, with a name that begins with a point and the name of the path. The
    next one that makes a folder of that name removes what it left, once no process that it forked is alive.
    Where folders cannot be locked for all machines, what is left stays.

    Raises:
        FileExistsError: if something has the folder's name that is no empty folder.
        OSError: if it cannot be made; the message names the path, not the new folder.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    lock: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}"):
            _remove_if_left(left)
        lock = _make_locked(partial)
        yield partial
        _rename(partial, path)
    except OSError as error:
        if isinstance(error.filename, str) and error.filename.startswith(str(partial)):
            _name_only(error, str(path) + error.filename[len(str(partial)) :])
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _rename(folder: Path, path: Path) -> None:
    """Gives a folder another name.

    Raises:
        FileExistsError: if something has that name that is no empty folder.
        OSError: if it cannot be renamed.
    """
    try:
        folder.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise FileExistsError(errno.EEXIST, "already exists", str(path)) from None


def _make_locked(folder: Path) -> int | None:
    """Makes a folder and locks it; once more if another process has removed it in between."""
    while True:
        folder.mkdir(exist_ok=True)
        lock = _lock(folder, wait=True)
        if folder.exists():
            return lock
        if lock is not None:
            os.close(lock)


def _remove_if_left(folder: Path) -> None:
    """Removes a folder that no process has locked: whoever made it was killed."""
    lock = _lock(folder)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path, *, wait: bool = False) -> int | None:
    """Locks a folder until the descriptor is closed; None where another process has, or no lock is known."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows opens no folder.
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _refuse_special(path: Path) -> None:
    """Raises OSError where a device, a pipe or a socket has the name; it would be lost."""
    for look in (path.lstat, path.stat):
        try:
            mode = look().st_mode
        except OSError:
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            raise OSError(errno.EEXIST, "it is a device or a pipe, not a regular file", str(path))
