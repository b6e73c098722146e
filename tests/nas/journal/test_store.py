"""The journal on machines whose clock is set, whose disk is full, and after starts that were cut off."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nas.journal.errors import JournalError, JournalWriteError
from nas.journal.folders import holds_search
from nas.journal.history import read_history
from nas.journal.reading import read_events
from nas.journal.store import SqliteJournal, open_journal
from nas.journal.trials import Trials
from nas.utils.run_files import JOURNAL_FILE

ASKED = {
    "proposal": 0,
    "genotype": [0],
    "key": "k",
    "seed": 0,
    "fidelity": 1.0,
    "source": None,
    "resume_from": None,
    "promoted": False,
    "spec": "{}",
}
ENDED = {
    "retry": False,
    "attempt": 0,
    "status": "completed",
    "rewards": [1.0],
    "reward": 1.0,
    "metrics": {},
    "failure": "",
    "pruner_attrs": {},
    "message": "",
    "worker": "w",
    "seconds": 1.0,
}


class Clocks:
    """The machine's clocks: somebody may set the time of day, and nobody the other one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.day, self.steady = 1e9, 0.0
        monkeypatch.setattr("nas.journal.store.time.time", lambda: self.day)
        monkeypatch.setattr("nas.journal.store.time.monotonic", lambda: self.steady)

    def pass_by(self, seconds: float) -> None:
        self.day += seconds
        self.steady += seconds


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("asked", ASKED | {"fidelity": -1.0}),
        ("asked", ASKED | {"seed": 2**64}),
        ("session", {"decisions": [["layers", [1, 2]]]}),
        ("reported", {"step": 2**64, "reward": 0.0, "metrics": {}}),
    ],
)
def test_what_no_reader_would_take_is_not_written(kind: str, data: dict[str, Any], tmp_path: Path) -> None:
    with closing(open_journal(tmp_path, create=True)) as journal:
        journal.write("session", None, {"workers": 1})
        with pytest.raises(JournalError, match=f"an event '{kind}' was not written: .* must be"):
            journal.write(kind, 0, data)
    assert [event.kind for event in read_events(tmp_path)] == ["session"]


@pytest.mark.parametrize("jump", [-86_400.0, -1.0, 86_400.0])
def test_setting_the_clock_changes_no_duration(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    for session in range(2):
        journal = open_journal(tmp_path, create=session == 0)
        journal.write("session", None, {"workers": 1})
        clocks.pass_by(1)
        clocks.day += jump
        if session == 0:
            journal.write("asked", 0, ASKED)
            journal.write("submitted", 0, {"attempt": 0})
            clocks.pass_by(1)
            clocks.day += jump
            journal.write("reported", 0, {"step": 1, "reward": 0.5, "metrics": {}})
        else:
            journal.write("ended", 0, ENDED)
        journal.close()
        clocks.day += jump
    history = read_history(tmp_path)
    assert history.trials.seconds == 3.0
    (row,) = history.rows
    assert row.ended_after == 3.0
    assert row.ended_at is not None
    assert row.ended_at >= row.asked_at
    assert 0 <= history.utilization <= 1


def test_a_journal_whose_times_go_back_has_no_negative_durations(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, create=True)
    journal.write("session", None, {"workers": 1})
    journal.write("asked", 0, ASKED)
    journal.write("ended", 0, ENDED)
    journal.close()
    with sqlite3.connect(tmp_path / JOURNAL_FILE) as connection:
        connection.execute("UPDATE events SET time = 1e9 - 86400 * number")
    connection.close()
    trials = Trials()
    for event in read_events(tmp_path):
        trials.apply(event)
        assert trials.seconds >= 0
    (row,) = read_history(tmp_path).rows
    assert (row.ended_at or 0) >= row.asked_at


class FullDisk(sqlite3.Connection):
    """SQLite on a disk without room for the files beside a journal."""

    error = "SQLITE_IOERR_SHMSIZE"

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        file = super().execute("PRAGMA database_list").fetchone()[2]
        if file.endswith(JOURNAL_FILE) and Path(file).parent.name == "run":
            failure = sqlite3.OperationalError("disk I/O error")
            failure.sqlite_errorname = self.error
            raise failure
        return super().execute(*arguments)


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    journal = open_journal(tmp_path / "run", create=True)
    journal.write("session", None, {"workers": 1})
    journal.write("asked", 0, ASKED)
    journal.close()
    return tmp_path / "run"


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        "sqlite3.connect",
        lambda *given, **more: connect(*given, **more, factory=FullDisk),
    )
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("nas.journal.errors.shutil.disk_usage", lambda _: usage)


def test_a_healthy_journal_is_read_where_nothing_can_be_written_beside_it(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_events(healthy)
    fill_the_disk(monkeypatch, free=0)
    assert read_events(healthy) == whole
    assert holds_search(healthy)


@pytest.mark.parametrize(
    ("free", "told"),
    [(0, "the disk is full; nothing is lost"), (1 << 30, "no file can be written beside it")],
)
def test_a_full_disk_is_called_full_and_never_damage(
    free: int, told: str, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch, free)
    with pytest.raises(JournalWriteError, match=told) as refused:
        open_journal(healthy, create=False)
    assert refused.value.filename == str(healthy / JOURNAL_FILE)
    monkeypatch.undo()
    open_journal(healthy, create=False).close()


def test_a_full_disk_while_writing_is_called_full(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FullDisk, "error", "SQLITE_FULL")
    opened = open_journal(healthy, create=False)
    opened.close()
    connection = sqlite3.connect(healthy / JOURNAL_FILE, factory=FullDisk)
    journal = SqliteJournal(connection, (healthy / "lock").open(encoding="utf-8"), healthy / JOURNAL_FILE)
    with pytest.raises(JournalWriteError, match="the disk is full"):
        journal.write("asked", 1, ASKED)
    journal.close()
    assert len(read_events(healthy)) == 2


def test_damage_is_still_called_damage(healthy: Path) -> None:
    (healthy / JOURNAL_FILE).write_bytes(b"SQLite format 3\0" + os.urandom(5_000))
    with pytest.raises(JournalError, match="is damaged; nothing was changed"):
        read_events(healthy)
    assert holds_search(healthy)


def test_a_folder_without_a_trial_is_taken_over(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, create=True)
    journal.write("session", None, {"workers": 1, "cwd": "first"})
    journal.close()
    assert not holds_search(tmp_path)
    journal = open_journal(tmp_path, create=True)
    journal.write("session", None, {"workers": 1, "cwd": "second"})
    journal.write("asked", 0, ASKED)
    journal.close()
    assert [event.data.get("cwd") for event in read_events(tmp_path)] == ["second", None]
    assert holds_search(tmp_path)
    with pytest.raises(JournalError, match="already holds a search"):
        open_journal(tmp_path, create=True)


def test_an_empty_or_half_made_journal_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_FILE).touch()
    assert not holds_search(tmp_path)
    open_journal(tmp_path, create=True).close()
    assert not holds_search(tmp_path)
    open_journal(tmp_path, create=True).close()


def test_a_folder_with_special_characters_keeps_its_journal(tmp_path: Path) -> None:
    folder = tmp_path / "a%20b#c?d=e&f+g;h,[i]{j}'k'\"l\" m~n:o@p*q\\r\udce4ü|$x"
    journal = open_journal(folder, create=True)
    journal.write("session", None, {"workers": 1})
    journal.write("asked", 0, ASKED)
    journal.close()
    assert len(read_events(folder)) == 2
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
