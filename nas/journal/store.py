"""The journal: the append-only record of a search, from which everything else follows.

`SqliteJournal` keeps it in one file of the run folder. One process writes, under a lock of the folder, and
any number of processes read. On a network disk there is no write-ahead log, and who reads takes no lock but
makes a copy, so that no machine can disturb the one that writes. An event is a row (number, time, kind,
trial, JSON). `MemoryJournal` keeps the events in a list, for simulations.

| kind | data |
| --- | --- |
| session | controller, seed, workers, objective, decisions, recalled, versions, host, origin; each start |
| asked | proposal, genotype, spec, key, seed, fidelity, source, resume_from, promoted, at_random |
| submitted | attempt |
| reported | step, reward of the task, metrics; objective: the first reward by the objective |
| ended | attempt, status, rewards, reward, metrics, failure, message, worker, seconds, retry, pruner_attrs |
| observed | the controller and the scheduler know how the trial ended |
| retried | trials; a resumed search runs these failed ones again |
| workers | workers: those that are ready, by machine; aside: machines that are set aside |
| ranked | expected: of the trials that may become finalists, in their order |
| picked | trial: the winner; expected: of it and of the best ones |
| finished | reason |

The fields of `asked` are those of `nas.journal.trials.Trial`; a finalist's event has `finalist_of` and
`apart` in the place of the last four. A `cached` trial's `ended` event has the `source` of its score. An
`ended` event with `retry` has attempt, failure, message, worker, seconds, and whether the attempt made
progress: the trial is submitted again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import IO, Any, NamedTuple, Protocol

from nas.journal.checks import MAX_EVENT_BYTES, TABLE, check_event, check_schema
from nas.utils.disks import is_on_network
from nas.utils.files import lock_folder
from nas.utils.run_files import JOURNAL_FILE, TRAINING_FILES, journal_file, winner_file
from nas.utils.run_folder import resume_command
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import ParseError, reading
from search_space.utils.strict_json import to_json

VERSION = 2
"""Layout of the journal and of the run folder around it; a folder of another layout is refused."""

ENDINGS = ("", "-journal", "-wal")
"""The endings of the names of a journal's files: the database, and what SQLite writes beside it."""

WRITE_SECONDS = 60.0
"""Seconds that a search waits for a program that has locked its journal, such as a backup."""

COPIES, SECONDS_BETWEEN = 20, 0.1
"""How often a journal that is written meanwhile is copied at most, and the seconds between two copies."""


class JournalError(ValueError):
    """A journal that cannot be read or must not be written: says which and why."""


class JournalWriteError(OSError):
    """The journal cannot be written: a full or read-only disk. What it holds is safe."""


class Event(NamedTuple):
    """One row of the journal.

    Args:
        time: seconds since 1970; 0 in a `MemoryJournal`. Within a session it never goes back: it is the time
            of day at which the journal was opened, and the seconds since then by a clock that nobody sets.
        kind: see the table of this module.
        trial: number of the trial that it is about, if it is about one.
        data: see the table of this module.
    """

    time: float
    kind: str
    trial: int | None
    data: dict[str, Any]


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
            raise (_lack_of_room(error, self.path) or _not_written(error, self.path)) from None
        return event

    def events(self) -> Iterator[Event]:
        """Gives all events in their order."""
        return _events(self._connection, self.path)

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
        raise JournalError(_missing(folder))
    lock = lock_folder(folder)
    try:
        known = not create or holds_search(folder)
        if known:
            if create:
                raise JournalError(f"{folder} already holds a search; to continue: {resume_command(folder)}")
            with contextlib.closing(_connect_to_read(path)):
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
            raise (_lack_of_room(error, path) or _not_written(error, path)) from None
    except BaseException:
        lock.close()
        raise
    return SqliteJournal(connection, lock, path)


def read_events(folder: str | Path, after: int = 0) -> list[Event]:
    """Gives the events of a run folder's journal, while or after it is written.

    Args:
        folder: the run folder.
        after: how many of the first events are left out.

    Raises:
        JournalError: if there is none, or it is damaged or of another layout.
        OSError: if the disk is too full to read it.
    """
    path = journal_file(folder)
    if not path.is_file():
        raise JournalError(_missing(Path(folder)))
    with contextlib.closing(_connect_to_read(path)) as connection:
        return list(_events(connection, path, after))


def _missing(folder: Path) -> str:
    """Why a folder has no journal."""
    if winner_file(folder).is_file():
        what = f"{folder} was a search, but its {JOURNAL_FILE} is missing: take an earlier copy of it"
        return f"{what}. Its last winner is {winner_file(folder)}"
    if folder.is_dir():
        return f"{folder} holds no search: there is no {JOURNAL_FILE}"
    return (
        f"{folder} is a file; give the folder of a search" if folder.exists() else f"{folder}: no such folder"
    )


def refuse_other_work(folder: Path) -> None:
    """Refuses a place where no search can begin.

    Raises:
        JournalError: if it is a file, or a folder that holds a training or the winner of another search.
    """
    if folder.exists() and not folder.is_dir():
        raise JournalError(f"{folder} is a file; choose another run_dir=")
    if any((folder / name).exists() for name in TRAINING_FILES) and not journal_file(folder).exists():
        raise JournalError(f"{folder} holds a training; choose another run_dir=")
    if winner_file(folder).is_file() and not journal_file(folder).exists():
        raise JournalError(f"{_missing(folder)}; choose another run_dir=")


def began_in(events: Sequence[Event]) -> str | None:
    """The folder in which a search was begun; modules of the user's own may be there."""
    session = next((event for event in events if event.kind == "session"), None)
    return None if session is None else session.data.get("cwd")


def origin_of(events: Sequence[Event]) -> object:
    """Where a search was last begun or gone on with, see `nas.utils.origin`; None if nothing tells it."""
    sessions = [event for event in events if event.kind == "session"]
    return sessions[-1].data.get("origin") if sessions else None


def holds_search(folder: str | Path) -> bool:
    """Whether a folder has a journal with a trial, or one that is damaged."""
    path = journal_file(folder)
    return path.is_file() and not _holds_nothing(path)


def _holds_nothing(path: Path) -> bool:
    """Whether a start was cut off before the first trial; `_connect_to_read` reports damage."""
    try:
        with contextlib.closing(_open_to_read(path)) as found:
            if found.execute("PRAGMA user_version").fetchone()[0] > VERSION:
                return False
            if found.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
                return True
            check_schema(found)
            return found.execute("SELECT 1 FROM events WHERE trial IS NOT NULL LIMIT 1").fetchone() is None
    except (sqlite3.Error, ParseError):
        return False


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """A read-only connection to a journal that has been checked."""
    damaged = f"{path} is damaged; nothing was changed"
    try:
        connection = _open_to_read(path)
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
            checked = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if checked != "ok":
                raise JournalError(f"{damaged}: {checked}")
        except BaseException:
            connection.close()
            raise
    except ParseError as error:
        raise JournalError(f"{damaged}: {error}") from None
    except sqlite3.Error as error:
        raise (_lack_of_room(error, path) or JournalError(f"{damaged}: {error}")) from None
    return connection


def _open_to_read(path: Path) -> sqlite3.Connection:
    """A read-only connection, to a copy in memory where no file can be made beside the journal.

    Even those who only read a write-ahead log keep a file beside it. On a network disk it is a copy too.
    """
    if os.access(path.parent, os.W_OK) and not is_on_network(path):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if not _is_lack_of_room(error):
                raise
        else:
            return connection
    for _ in range(COPIES):
        before = _state(path)
        connection = sqlite3.connect(":memory:")
        try:
            _copy(path, connection)
            checked = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if checked == "ok" or _state(path) == before:
                return connection
            connection.close()
        except (sqlite3.Error, OSError) as error:
            connection.close()
            # A file that another machine has removed meanwhile is no fault of the journal.
            gone = isinstance(error, OSError) and error.errno == errno.ESTALE
            if _state(path) == before and not gone:
                raise
        time.sleep(SECONDS_BETWEEN)  # It was written meanwhile.
    raise JournalError(f"{path} is being written; try again")


def _state(path: Path) -> list[tuple[int, int] | None]:
    """Sizes and times of change of a journal's files; None for one that is not there."""
    found: list[tuple[int, int] | None] = []
    for ending in ENDINGS:
        try:
            about = path.with_name(path.name + ending).stat()
            found.append((about.st_size, about.st_mtime_ns))
        except OSError:
            found.append(None)
    return found


def _copy(path: Path, connection: sqlite3.Connection) -> None:
    """Fills a database in memory with a copy."""
    with TemporaryDirectory() as folder:
        for ending in ENDINGS:
            source = path.with_name(path.name + ending)
            with contextlib.suppress(FileNotFoundError):  # It comes and goes with each event.
                shutil.copyfile(source, Path(folder) / source.name)
        with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as copied:
            copied.backup(connection)


ROOM = 1 << 16
"""With fewer free bytes a disk is full: SQLite needs 32 KiB beside a journal."""


def _is_lack_of_room(error: sqlite3.Error) -> bool:
    """Whether SQLite could not write, or make, one of its files."""
    name = getattr(error, "sqlite_errorname", "")
    return name in ("SQLITE_FULL", "SQLITE_CANTOPEN") or name.startswith(
        ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHM", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE")
    )


def _lack_of_room(error: sqlite3.Error, path: Path) -> JournalWriteError | None:
    """The error that says that the disk is full, if that is what SQLite met."""
    if not _is_lack_of_room(error):
        return None
    full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
    with contextlib.suppress(OSError):
        full = full or shutil.disk_usage(path.parent).free < ROOM
    if not full:
        return JournalWriteError(errno.EIO, f"no file can be written beside it: {error}", str(path))
    return JournalWriteError(
        errno.ENOSPC, "the disk is full; nothing is lost, make room and go on", str(path)
    )


def _not_written(error: sqlite3.Error, path: Path) -> JournalWriteError:
    return JournalWriteError(errno.EIO, f"not written: {error}", str(path))


def _events(connection: sqlite3.Connection, path: Path, after: int = 0) -> Iterator[Event]:
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
