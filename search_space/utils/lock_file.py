"""Files that one process at a time has locked. A link is never followed: it could lead to somebody's data."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

ATTEMPTS, SECONDS_BETWEEN = 10, 0.02
"""Who only asks holds the lock for an instant, so one refusal proves nothing."""


def open_lock(path: Path, mode: int = 0o600, make: bool = True) -> int:
    """Opens a lock file and returns its descriptor; what it holds is left alone.

    Args:
        path: of the file.
        mode: of a new file. Nobody else may write into it, whatever the process's umask is.
        make: whether the file is made if it is absent, and opened to write; otherwise only to read.

    Raises:
        OSError: if it cannot be opened, is a link to another file, or is no regular file.
    """
    flags = (os.O_RDWR | os.O_CREAT) if make else os.O_RDONLY
    # A pipe in the place of the file would make a plain `open` wait for ever.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags, mode & ~0o022)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "is a link to another file; remove it"
        raise
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EMLINK, "is a link or no regular file; remove it", str(path))
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Locks an open file, if no other process has; the lock ends when the file is closed."""
    return _try_again(lambda: lock_descriptor(descriptor, blocking=False))


def is_locked(descriptor: int) -> bool:
    """Whether another process has locked a file that is open to be read, or to be written.

    A lock that others may have too is asked for, as a network disk gives an exclusive one to writers alone.
    """
    try:
        import fcntl
    except ImportError:  # Windows has other locks, which need no permission to write.
        return not try_lock(descriptor)

    def share() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return not _try_again(share)


def _try_again(take: Callable[[], bool]) -> bool:
    """Takes a lock, and some more times if that is refused: who only asks may hold it for an instant."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(SECONDS_BETWEEN)
        if take():
            return True
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file for a block, and waits for it as long as another process has it.

    Raises:
        OSError: see `open_lock`.
    """
    descriptor = open_lock(path)
    try:
        lock_descriptor(descriptor)
        yield
    finally:
        os.close(descriptor)
