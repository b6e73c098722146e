"""How a journal is read, while another process writes it or after.

On a network disk who reads takes no lock but makes a copy: no machine can disturb the one that writes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from nas.journal.checks import MAX_EVENT_BYTES, check_event, check_schema
from nas.journal.errors import JournalError, is_lack_of_room, lack_of_room
from nas.journal.event import Event, Provenance, provenance_of
from nas.utils.disks import is_on_network
from nas.utils.run_files import JOURNAL_FILE, journal_file, winner_file
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import ParseError, reading
from search_space.utils.regular_file import open_regular

VERSION = 2
"""Layout of the journal and of the run folder around it; a folder of another layout is refused."""

ENDINGS = ("", "-journal", "-wal")
"""The endings of the names of a journal's files: the database, and what SQLite writes beside it."""

HEADER_BYTES = 100
"""SQLite's header of a database has so many; those of its other files are shorter."""

SOUND = "ok"
"""What SQLite says of a database that is whole."""

COPIES, SECONDS_BETWEEN = 20, 0.1
"""How often a journal that is written meanwhile is copied at most, and the seconds between two copies."""


def read_events(folder: str | Path, after: int = 0) -> list[Event]:
    """Gives the events of a run folder's journal, while or after it is written.

    Args:
        folder: the run folder.
        after: how many of the first events are left out.

    Raises:
        JournalError: if there is none, or it is damaged or of another layout.
        OSError: if the disk is too full to read it.
    """
    with _stream_events(folder, after) as events:
        return list(events)


def read_provenance(folder: str | Path) -> Provenance:
    """Tells where the search of a run folder comes from; all events are checked, and none is kept.

    Raises:
        JournalError, OSError: see `read_events`.
    """
    with _stream_events(folder) as events:
        return provenance_of(events)


@contextlib.contextmanager
def _stream_events(folder: str | Path, after: int = 0) -> Iterator[Iterator[Event]]:
    """The events of `read_events`, one after the other: a long search has a million of them."""
    path = journal_file(folder)
    if not path.is_file():
        raise JournalError(why_missing(Path(folder)))
    with contextlib.closing(connect_to_read(path)) as connection:
        yield events_of(connection, path, after)


def why_missing(folder: Path) -> str:
    """Why a folder has no journal."""
    if winner_file(folder).is_file():
        what = f"{folder} was a search, but its {JOURNAL_FILE} is missing: take an earlier copy of it"
        return f"{what}. Its last winner is {winner_file(folder)}"
    if folder.is_dir():
        return f"{folder} holds no search: there is no {JOURNAL_FILE}"
    return (
        f"{folder} is a file; give the folder of a search" if folder.exists() else f"{folder}: no such folder"
    )


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A read-only connection to a journal that has been checked."""
    damaged = f"{path} is damaged; nothing was changed"
    try:
        connection, integrity = _open(path)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise JournalError(
                    f"{path} has version {version}, this program knows {VERSION}; update it to go on"
                )
            if version < 1:
                raise JournalError(f"{damaged}: it holds nothing; if a start was cut off, start again")
            if version < VERSION:
                raise JournalError(
                    f"{path} was written by an older program (layout {version}, this program writes "
                    f"{VERSION}); start a new search in another folder"
                )
            check_schema(connection)
            integrity = integrity or _check_integrity(connection)
            if integrity != SOUND:
                raise JournalError(f"{damaged}: {integrity}")
        except BaseException:
            connection.close()
            raise
    except ParseError as error:
        raise JournalError(f"{damaged}: {error}") from None
    except sqlite3.Error as error:
        raise (lack_of_room(error, path) or JournalError(f"{damaged}: {error}")) from None
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """A read-only connection, to a copy in memory where no file can be made beside the journal.

    Even those who only read a write-ahead log keep a file beside it. On a network disk it is a copy too.
    """
    return _open(path)[0]


def _open(path: Path) -> tuple[sqlite3.Connection, str]:
    """Does the same; also gives what SQLite says of a copy's integrity, and "" of what was not copied."""
    if os.access(path.parent, os.W_OK) and not is_on_network(path):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if not is_lack_of_room(error):
                raise
        else:
            return connection, ""
    for _ in range(COPIES):
        before = journal_state(path)
        connection = sqlite3.connect(":memory:")
        try:
            _copy(path, connection)
            integrity = _check_integrity(connection)
            if integrity == SOUND or journal_state(path) == before:
                return connection, integrity
            connection.close()
        except (sqlite3.Error, OSError) as error:
            connection.close()
            # A file that another machine has removed meanwhile is no fault of the journal.
            gone = isinstance(error, OSError) and error.errno == errno.ESTALE
            if journal_state(path) == before and not gone:
                raise
        time.sleep(SECONDS_BETWEEN)  # It was written meanwhile.
    raise JournalError(f"{path} is being written; try again")


def _check_integrity(connection: sqlite3.Connection) -> str:
    """What SQLite says of a whole database: SOUND, or the first fault."""
    return str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])


FileState = tuple[int, int, bytes]
"""Size of a file in bytes, time of its last change in nanoseconds since 1970, and its first bytes."""


def journal_state(path: Path) -> tuple[FileState | None, ...]:
    """Gives what changes with each event of a journal: the state of its files, None for one that is absent.

    The header of a database counts its changes. Size and time alone may stay the same, as some disks tell the
    time to the second only.
    """
    return tuple(_file_state(path.with_name(path.name + ending)) for ending in ENDINGS)


def _file_state(path: Path) -> FileState | None:
    """The state of one file, which is opened: only then a network disk asks its server whether it changed."""
    try:
        with open_regular(path) as file:
            about = os.fstat(file.fileno())
            return about.st_size, about.st_mtime_ns, file.read(HEADER_BYTES)
    except OSError:
        return None


def _copy(path: Path, connection: sqlite3.Connection) -> None:
    """Fills a database in memory with a copy."""
    with TemporaryDirectory() as folder:
        for ending in ENDINGS:
            source = path.with_name(path.name + ending)
            with contextlib.suppress(FileNotFoundError):  # It comes and goes with each event.
                shutil.copyfile(source, Path(folder) / source.name)
        with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as copied:
            copied.backup(connection)


def events_of(connection: sqlite3.Connection, path: Path, after: int = 0) -> Iterator[Event]:
    """Gives the events of an open journal in their order, each checked.

    Args:
        connection: to the journal.
        path: of the journal, for messages.
        after: how many of the first events are left out.

    Raises:
        JournalError: if one of them is damaged.
    """
    damaged = f"{path} is damaged; nothing was changed: "
    number = after
    with reading(JournalError, damaged):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_EVENT_BYTES)
        rows = connection.execute(
            "SELECT time, kind, trial, data FROM events ORDER BY number LIMIT -1 OFFSET ?", (after,)
        )
    while True:
        number += 1
        with reading(JournalError, f"{damaged}event {number}: "):
            row = rows.fetchone()
            if row is None:
                return
            at, kind, trial, data = row
            event = Event(at, kind, trial, parse_json(data))
            check_event(*event)
        yield event
