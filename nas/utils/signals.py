"""SIGINT, SIGTERM and SIGHUP: they end a command with status 130, whenever and however often they come."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130
"""The status of a command that was interrupted."""

SECONDS_OF_ONE = 1.0
"""Signals within this number of seconds of the first are one request: a terminal and a launcher may both send
it."""

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""Comes when the terminal is closed; `nohup` makes a process ignore it. Windows has none."""

NUMBERS = (signal.SIGINT, signal.SIGTERM, *([] if HANGUP is None else [HANGUP]))


def end_on_signals(message: str = "") -> None:
    """Makes a signal end the process at once: while a command loads its modules, and after its end.

    Args:
        message: is written to standard error then.
    """

    def end(signum: int, frame: FrameType | None) -> None:
        _end_at_once(message)

    _set(end)


@contextlib.contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Makes the first signal raise KeyboardInterrupt in a block, even in a background process of a shell.

    Shells make such processes ignore SIGINT. The first signal lets the block put its things in order; one
    that comes more than a second later ends the process at once. Finished trials are safe in any case.
    """
    first: list[float] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            raise KeyboardInterrupt
        if time.monotonic() - first[0] > SECONDS_OF_ONE:
            _end_at_once("nas: interrupted again; it ends at once\n")

    before = _set(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def end_on_lost_interrupts() -> None:
    """Ends the process if an interrupt is raised where Python can only report it, as in a finalizer."""
    report = sys.unraisablehook

    def end(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _end_at_once("nas: interrupted\n")
        report(unraisable)

    sys.unraisablehook = end


def ignore_interrupts() -> None:
    """Leaves SIGINT to the parent process: a terminal sends it to both. For processes of a pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_children_quietly() -> None:
    """Gives processes that this one forks the system's handlers of SIGINT, SIGTERM and SIGHUP.

    With ours, or with those of Ray, a pool of a user's task would print a traceback for each of its processes
    that it ends.
    """
    ours = {number: signal.getsignal(number) for number in NUMBERS}
    masks = threading.local()

    def block() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def restore() -> None:
        for number, handler in ours.items():
            if callable(handler) and signal.getsignal(number) is handler:
                signal.signal(number, signal.SIG_DFL)
        unblock()

    # A signal that came to a new process before it has these handlers would be lost.
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=restore)


def _set(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Sets the handler of the signals, and gives those before; only the main thread may.

    A hang-up stays ignored where it is.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    ignored = {HANGUP} if HANGUP is not None and signal.getsignal(HANGUP) is signal.SIG_IGN else set()
    return {number: signal.signal(number, handler) for number in NUMBERS if number not in ignored}


def _end_at_once(message: str) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, message.encode())
    os._exit(INTERRUPTED)
