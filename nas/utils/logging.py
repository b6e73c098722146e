"""Where the tasks' log goes while they work, and what of it the user sees."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import IO

NOTICES = ("proxy_tasks.notices", "nas.notices")
"""Logs for the user: what is left out of a data set, which machines do not work."""


@contextlib.contextmanager
def print_notices(stream: IO[str] | None = None) -> Iterator[None]:
    """Prints what is logged for the user of a search or of a training, for a block.

    Args:
        stream: where to print; None for what is standard output at that moment.
    """
    with _handled_by(_Printer(stream), *NOTICES):
        yield


@contextlib.contextmanager
def notices_kept() -> Iterator[list[str]]:
    """Gives a list that gets what is logged for the user, for a block: a worker sends it to the search."""
    handler = _Keeper()
    with _handled_by(handler, *NOTICES):
        yield handler.messages


class _Keeper(logging.Handler):
    """Keeps the messages of all records."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one."""
        self.messages.append(record.getMessage())


class _Printer(logging.Handler):
    """Prints to a stream, or to what is standard output at that moment."""

    def __init__(self, stream: IO[str] | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the message of a record; a reader that has gone is no fault."""
        with contextlib.suppress(OSError):
            print(record.getMessage(), file=self._stream, flush=True)


@contextlib.contextmanager
def tasks_log_to(file: IO[str]) -> Iterator[None]:
    """Sends what `proxy_tasks` logs to a file, with the time, for a block."""
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    with tasks_handled_by(handler):
        yield


@contextlib.contextmanager
def tasks_handled_by(handler: logging.Handler) -> Iterator[None]:
    """Gives what `proxy_tasks` logs to a handler, for a block."""
    with _handled_by(handler, "proxy_tasks"):
        yield


@contextlib.contextmanager
def _handled_by(handler: logging.Handler, *names: str) -> Iterator[None]:
    """Gives what some logs get, notices included, to a handler, for a block; then they are as before."""
    with contextlib.ExitStack() as stack:
        for name in names:
            log = logging.getLogger(name)
            stack.callback(log.setLevel, log.level)
            log.setLevel(logging.INFO)
            log.addHandler(handler)
            stack.callback(log.removeHandler, handler)
        yield
