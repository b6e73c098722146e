"""Folders of this user alone, also where the machine gives no home folder or none that can be written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

NAME = "spinenas"


def user_cache_folder() -> Path:
    """Where caches lie: $XDG_CACHE_HOME/spinenas, or ~/.cache/spinenas.

    Where there is no home folder, or it cannot be written, it is a folder of this user's below the temporary
    one. The folder need not be there yet.

    Raises:
        OSError: if there is no such place; the message says how to name one.
    """
    advice = "give task.data.cache=DIR, or set XDG_CACHE_HOME"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # A relative one must be ignored, says the standard.
        folder = given / NAME
        if not can_be_made(folder):
            raise OSError(errno.EACCES, f"this folder for caches cannot be written; {advice}", str(folder))
        return folder
    home = home_folder()
    if home is not None and can_be_made(home / ".cache" / NAME):
        return home / ".cache" / NAME
    try:
        return private_folder()
    except OSError as error:
        raise OSError(error.errno, f"no folder for caches: {error.strerror}; {advice}") from None


def home_folder() -> Path | None:
    """The user's home folder, which may be missing; None if the machine does not tell one."""
    with contextlib.suppress(RuntimeError):
        home = Path.home()
        return home if home.is_absolute() else None
    return None


def private_folder() -> Path:
    """A folder below the temporary one that this user alone may read and write. It is made if needed.

    Raises:
        OSError: if the temporary folder cannot be written, or the folder belongs to somebody else.
    """
    return make_private(Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}")


def make_private(folder: Path) -> Path:
    """Makes a folder for this user alone, and returns it; one that is this user's already is kept.

    Raises:
        OSError: if it cannot be made, is a link, or belongs to somebody else.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise OSError(errno.EPERM, "this folder is a link or belongs to another user", str(folder))
    if stat.S_IMODE(about.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def can_be_made(folder: Path) -> bool:
    """Whether a folder is there, or could be made by this user."""
    if folder.is_dir():
        return os.access(folder, os.W_OK | os.X_OK)
    there = next((above for above in folder.parents if os.path.lexists(above)), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)
