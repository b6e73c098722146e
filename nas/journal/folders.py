"""Whether a folder holds a search, or something else."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from nas.journal.checks import check_schema
from nas.journal.errors import JournalError
from nas.journal.reading import VERSION, open_to_read, why_missing
from nas.utils.run_files import TRAINING_FILES, journal_file, winner_file
from search_space.utils.parsing import ParseError


def holds_search(folder: str | Path) -> bool:
    """Whether a folder has a journal with a trial, or one that is damaged."""
    path = journal_file(folder)
    return path.is_file() and not _holds_nothing(path)


def _holds_nothing(path: Path) -> bool:
    """Whether a start was cut off before the first trial; `connect_to_read` reports damage."""
    try:
        with contextlib.closing(open_to_read(path)) as found:
            if found.execute("PRAGMA user_version").fetchone()[0] > VERSION:
                return False
            if found.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
                return True
            check_schema(found)
            return found.execute("SELECT 1 FROM events WHERE trial IS NOT NULL LIMIT 1").fetchone() is None
    except (sqlite3.Error, ParseError):
        return False


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
        raise JournalError(f"{why_missing(folder)}; choose another run_dir=")
