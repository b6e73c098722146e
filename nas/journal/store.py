"""The journal: the append-only record of a search.

`SqliteJournal` keeps it in one file of the run folder; an event is a row (number, time, kind, trial, JSON).
One process writes, under a lock of the folder, and any number of processes read. On a network disk there is
no write-ahead log, so that no machine that reads can disturb the one that writes. `MemoryJournal` keeps the
events in a list, for simulations.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import IO, Any, Protocol

from nas.journal.checks import TABLE, check_event
from nas.journal.errors import JournalError, lack_of_room, not_written
from nas.journal.event import Event
from nas.journal.folders import holds_search, refuse_other_work
from nas.journal.reading import VERSION, connect_to_read, events_of, why_missing
from nas.utils.disks import is_on_network
from nas.utils.files import lock_folder
from nas.utils.run_files import journal_file
from nas.utils.run_folder import resume_command
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import ParseError
from search_space.utils.strict_json import to_json

WRITE_SECONDS = 60.0
"""Seconds that a search waits for a program that has locked its journal, such as a backup."""


class Journal(Protocol):
    """Where a search keeps its events."""

    @property
    def folder(self) -> Path | None:
        """The run folder; None if nothing is kept on a disk."""

    def write(self, kind: str, trial: int | None, data: dict[str, Any]) -> Event:
        """Appends an event and returns it."""

    def events(self) -> Iterator[Event]:
        """Gives all events in their order."""

    def close(self) -> None:
        """Ends the writing."""


class MemoryJournal:
    """Keeps the events in a list: no lock, no folder, no clock."""

    folder = None

    def __init__(self) -> None:
        self._events: list[Event] = []

    def write(self, kind: str, trial: int | None, data: dict[str, Any]) -> Event:
        """Appends an event and returns it; its time is 0."""
        event = Event(0.0, kind, trial, data)
        self._events.append(event)
        return event

    def events(self) -> Iterator[Event]:
        """Gives all events in their order."""
        return iter(self._events)

    def close(self) -> None:
        """Does nothing; the events stay readable."""


class SqliteJournal:
    """Keeps the events in the run folder's database. Use `open_journal`."""

    def __init__(self, connection: sqlite3.Connection, lock: IO[str], path: Path) -> None:
        self._connection, self._lock, self._writing = connection, lock, Lock()
        self.path, self.folder = path, path.parent
        self._opened = time.time() - time.monotonic()

    def write(self, kind: str, trial: int | None, data: dict[str, Any]) -> Event:
        """Appends an event and returns it; from then on a kill of this process cannot lose it.

        Raises:
            JournalWriteError: if the disk is full or read-only; nothing is half-written.
            JournalError: if no reader would take the event.
        """
        event = Event(self._opened + time.monotonic(), kind, trial, data)
        text = to_json(data)
        try:
            check_event(event.time, kind, trial, parse_json(text))
        except ParseError as error:  # The whole journal would be unreadable.
            raise JournalError(f"{self.path}: an event {kind!r} was not written: {error}") from None
        try:
            with self._writing, self._connection:
                self._connection.execute(
                    "INSERT INTO events (time, kind, trial, data) VALUES (?, ?, ?, ?)",
                    (event.time, kind, trial, text),
                )
        except sqlite3.Error as error:
            raise (lack_of_room(error, self.path) or not_written(error, self.path)) from None
        return event

    def events(self) -> Iterator[Event]:
        """Gives all events in their order."""
        return events_of(self._connection, self.path)

    def close(self) -> None:
        """Closes the file and gives up the lock."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._lock.close()


def open_journal(folder: str | Path, create: bool) -> SqliteJournal:
    """Opens the journal of a run folder for writing.

    Args:
        folder: the run folder; made if `create`.
        create: whether a new journal is wanted; otherwise there must be one.

    Raises:
        JournalError: if there is one with trials and none is wanted, or there is none and one is wanted; if
            another search uses the folder; if the journal is damaged or of another layout.
        OSError: if the folder cannot be written, or its disk is full.
    """
    folder = Path(folder)
    path = journal_file(folder)
    if create:
        refuse_other_work(folder)
        folder.mkdir(parents=True, exist_ok=True)
    elif not path.is_file():
        raise JournalError(why_missing(folder))
    lock = lock_folder(folder)
    try:
        known = not create or holds_search(folder)
        if known:
            if create:
                raise JournalError(f"{folder} already holds a search; to continue: {resume_command(folder)}")
            with contextlib.closing(connect_to_read(path)):
                pass  # Checks it before anything could be written.
        # A task in this process may report from a thread of its own.
        connection = sqlite3.connect(
            path, isolation_level=None, timeout=WRITE_SECONDS, check_same_thread=False
        )
        try:
            # A write-ahead log is for the processes of one machine alone: they share memory.
            mode, synced = ("DELETE", "FULL") if is_on_network(path) else ("WAL", "NORMAL")
            connection.execute(f"PRAGMA journal_mode={mode}")
            connection.execute(f"PRAGMA synchronous={synced}")
            if not known:  # There may be the beginning of a search that was cut off before its first trial.
                connection.execute("BEGIN")
                connection.execute("DROP TABLE IF EXISTS events")
                connection.execute(TABLE)
                connection.execute(f"PRAGMA user_version={VERSION}")
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            connection.close()
            raise (lack_of_room(error, path) or not_written(error, path)) from None
    except BaseException:
        lock.close()
        raise
    return SqliteJournal(connection, lock, path)
