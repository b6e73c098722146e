"""The guard of a script: a small program that starts a command and lets nothing of it outlive the search.

    python guard.py FD WORD...

The guard is the leader of a process group, which the command and what it starts belong to. FD is one end of
a pair of sockets, whose other end the search holds. When the command ends, the guard writes "status N" there
(a signal's number is negative), or "error TEXT" if the command cannot be started. Then it ends all that the
command has left running. It does the same when the other end is closed, which happens by itself when the
search is killed. On Linux it also ends what has left the process group, such as a daemon.

It imports nothing of the project, so that it starts in a few hundredths of a second.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
SECONDS_TO_END = 5.0


def main(channel: int, words: list[str]) -> None:
    """Runs the command to its end."""
    os.set_inheritable(channel, False)  # It must be closed as soon as the search and this process are gone.
    _adopt_orphans()
    try:
        child = os.posix_spawnp(words[0], words, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as error:
        _send(channel, f"error {error.strerror}")
        return
    threading.Thread(target=_watch, args=(channel,), daemon=True).start()
    ended, status = os.waitpid(-1, 0)
    while ended != child:  # Orphans.
        ended, status = os.waitpid(-1, 0)
    _send(channel, f"status {os.waitstatus_to_exitcode(status)}")
    _end_all()


def _send(channel: int, text: str) -> None:
    with contextlib.suppress(OSError):  # The search is gone.
        os.write(channel, text.encode("utf-8", "surrogateescape"))


def _watch(channel: int) -> None:
    """Waits until the other end is closed."""
    with contextlib.suppress(OSError):
        while os.read(channel, 1):
            pass
    _end_all()


def _end_all() -> None:
    """Kills everything that came from the command, and this process at last."""
    deadline = time.monotonic() + SECONDS_TO_END
    while (left := _descendants()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    os.killpg(0, signal.SIGKILL)


def _adopt_orphans() -> None:
    """Makes Linux give processes whose parent has ended to this one, so that they can be found."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(Exception):  # Without it the process group is ended all the same.
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _descendants() -> set[int]:
    """Gives the running processes that stem from this one; none where there is no /proc."""
    parents: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes as long to import as all the rest.
            if entry.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                        state, parent = file.read().rpartition(b")")[2].split()[:2]
                    if state != b"Z":
                        parents[int(entry)] = int(parent)
    found, new = set[int](), {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
