"""Journals that somebody has sent: no code, no endless query, no value that breaks a reader."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controllers import RandomSearch
from nas.cli.main import main
from nas.executors.local_executor import LocalExecutor
from nas.journal.checks import TABLE, check_event
from nas.journal.errors import JournalError
from nas.journal.folders import holds_search
from nas.journal.history import read_history
from nas.journal.reading import read_events
from nas.journal.store import open_journal
from nas.search.loop import run_search
from nas.utils.run_files import JOURNAL_FILE
from proxy_tasks.synthetic import SyntheticTask
from search_space import published_space
from search_space.utils.parsing import ParseError

ASKED: dict[str, Any] = {
    "proposal": 0,
    "genotype": [0, 1],
    "key": "k",
    "seed": 1,
    "fidelity": 1.0,
    "source": None,
    "resume_from": None,
    "promoted": False,
    "spec": "{}",
}
ENDED: dict[str, Any] = {
    "retry": False,
    "attempt": 0,
    "status": "completed",
    "rewards": [0.5],
    "reward": 0.5,
    "metrics": {"AP": 0.5},
    "failure": "",
    "message": "",
    "worker": "w",
    "seconds": 1.0,
    "pruner_attrs": {},
}
EVENTS: tuple[tuple[str, int | None, dict[str, Any]], ...] = (
    ("session", None, {"workers": 1, "decisions": [["a", ["x", "y"]], ["b", ["x", "y"]]]}),
    ("asked", 0, ASKED),
    ("submitted", 0, {"attempt": 0}),
    ("reported", 0, {"step": 1, "reward": 0.1, "metrics": {}}),
    ("ended", 0, ENDED),
    ("observed", 0, {}),
    ("finished", None, {"reason": "budget"}),
)


def write(folder: Path, changes: dict[int, dict[str, Any]] | None = None) -> Path:
    """A run folder with those events, of which some have changed data."""
    write_unchecked(
        folder,
        [
            (kind, trial, {**data, **(changes or {}).get(i, {})})
            for i, (kind, trial, data) in enumerate(EVENTS)
        ],
    )
    return folder


def write_unchecked(folder: Path, events: Sequence[tuple[str, int | None, dict[str, Any]]]) -> None:
    """A journal that no search has written."""
    open_journal(folder, create=True).close()
    with closing(sqlite3.connect(folder / JOURNAL_FILE, isolation_level=None)) as file:
        for kind, trial, data in events:
            row = (time.time(), kind, trial, json.dumps(data))
            file.execute("INSERT INTO events (time, kind, trial, data) VALUES (?, ?, ?, ?)", row)


def read_all(run: Path, out: Path) -> list[int]:
    """The statuses of the commands that read a run folder."""
    return [
        main(["status", str(run)]),
        main(["status", str(run), "--json"]),
        main(["logs", str(run)]),
        main(["report", str(run)]),
        main(["trials", str(run), str(out / "t.csv")]),
        main(["trials", str(run), str(out / "t.json")]),
    ]


def test_the_events_of_these_tests_are_a_journal(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    assert read_all(run, tmp_path) == [0] * 6
    assert read_history(run).decisions[1].labels == ("x", "y")


ENDLESS = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
    "SELECT x AS number, 0.0 AS time, 'a' AS kind, NULL AS trial, '{}' AS data FROM n"
)


@pytest.mark.parametrize(
    "statements",
    [
        ["ALTER TABLE events RENAME TO old", f"CREATE VIEW events AS {ENDLESS}"],
        ["DROP TABLE events", f"CREATE VIEW events AS {ENDLESS} WHERE x < 0"],
        ["DROP TABLE events", "CREATE TABLE events (number, time, kind, trial, data AS (zeroblob(1 << 29)))"],
        ["CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END"],
        ["CREATE INDEX i ON events (kind)"],
        ["CREATE TABLE more (a)"],
        ["CREATE VIRTUAL TABLE more USING fts5(a)"],
        ["DROP TABLE events"],
    ],
    ids=["endless", "barren", "generated", "trigger", "index", "table", "virtual", "nothing"],
)
def test_a_journal_holds_its_table_and_nothing_else(
    tmp_path: Path, statements: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = write(tmp_path / "run")
    with closing(sqlite3.connect(run / JOURNAL_FILE, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode=DELETE")
        for statement in statements:
            file.execute(statement)
    before = (run / JOURNAL_FILE).read_bytes()
    assert read_all(run, tmp_path) == [2] * 6
    assert "it is no journal of a search" in capsys.readouterr().err
    for attempt in (lambda: read_events(run), lambda: open_journal(run, create=False)):
        with pytest.raises(JournalError, match="is damaged; nothing was changed"):
            attempt()
    if statements != ["DROP TABLE events"]:
        assert holds_search(run)
    assert (run / JOURNAL_FILE).read_bytes() == before


def test_our_own_table_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(write(tmp_path / "run") / JOURNAL_FILE)) as file:
        assert file.execute("SELECT sql FROM sqlite_master").fetchall() == [(TABLE,)]


@pytest.mark.parametrize(
    ("event", "change", "told"),
    [
        (0, {"workers": 10**400}, "workers must be a whole number"),
        (0, {"decisions": [["a", "x"]]}, "decisions must be"),
        (0, {"versions": {"a": [[]]}}, "versions must be"),
        (0, {"objective": {"maximize": "reward"}}, "objective must be"),
        (0, {"objective": {"limits": {"macs": "1"}}}, "objective must be"),
        (0, {"objective": []}, "objective must be"),
        (0, {"seed": -1}, "seed must be"),
        (1, {"genotype": [10**12, 0]}, "genotype must be"),
        (1, {"genotype": "ab"}, "genotype must be"),
        (1, {"fidelity": 10**400}, "fidelity must be a number"),
        (1, {"fidelity": float("nan")}, "fidelity must be a number"),
        (1, {"key": {}}, "key must be a text"),
        (1, {"source": 5}, "source 5"),
        (1, {"source": -1}, "source must be"),
        (1, {"finalist_of": 0}, "finalist_of 0"),
        (1, {"spec": ["x"]}, "spec must be a text"),
        (2, {"attempt": "1"}, "attempt must be"),
        (3, {"step": []}, "step must be"),
        (3, {"reward": "much"}, "reward must be a number"),
        (4, {"rewards": []}, "rewards must be a list of numbers"),
        (4, {"rewards": [1e400]}, "rewards must be a list of numbers"),
        (4, {"reward": None}, "reward"),
        (4, {"metrics": None}, "metrics must be"),
        (4, {"metrics": {"AP": "<b>"}}, "metrics must be"),
        (4, {"metrics": {"AP": 10**400}}, "metrics must be"),
        (4, {"status": "running"}, "status must be"),
        (4, {"seconds": 1e300}, "seconds must be"),
        (4, {"worker": 7}, "worker must be a text"),
        (4, {"retry": 0}, "retry must be true or false"),
        (6, {"reason": None}, "reason must be a text"),
    ],
)
def test_a_value_of_another_type_is_a_damaged_journal(
    tmp_path: Path,
    event: int,
    change: dict[str, Any],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = write(tmp_path / "run", {event: change})
    assert read_all(run, tmp_path) == [2] * 6
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert all("is damaged" in line and told in line for line in lines)


def test_a_list_of_mappings_holds_nothing_else() -> None:
    fair = {"trial": 0, "reward": 0.5}
    check_event(0.0, "ranked", None, {"expected": [fair]})
    with pytest.raises(ParseError, match="a list of mappings of trial, reward"):
        check_event(0.0, "ranked", None, {"expected": [{**fair, "more": 1}]})


@pytest.mark.parametrize(
    "data", ["[" * 100_000, "[]", "9" * 5000, '{"reason": 1', b"\xff", "", "null", '{"a": ' * 2000 + "1"]
)
def test_data_that_is_no_object_is_a_damaged_journal(tmp_path: Path, data: str | bytes) -> None:
    run = write(tmp_path / "run")
    with closing(sqlite3.connect(run / JOURNAL_FILE, isolation_level=None)) as file:
        file.execute("UPDATE events SET data = ? WHERE number = 7", (data,))
    with pytest.raises(JournalError, match="is damaged"):
        read_events(run)


@pytest.mark.parametrize(
    ("column", "value"),
    [("time", "later"), ("time", 1e300), ("time", -1.0), ("kind", b"asked"), ("trial", -1), ("trial", 2.5)],
)
def test_a_row_of_another_type_is_a_damaged_journal(tmp_path: Path, column: str, value: Any) -> None:
    run = write(tmp_path / "run")
    with closing(sqlite3.connect(run / JOURNAL_FILE, isolation_level=None)) as file:
        file.execute(f"UPDATE events SET {column} = ? WHERE number = 5", (value,))
    with pytest.raises(JournalError, match="is damaged"):
        read_events(run)


def test_trials_that_do_not_fit_one_another_are_a_damaged_journal(tmp_path: Path) -> None:
    for name, second in (("answers", {"genotype": [1]}), ("rewards", {})):
        with closing(open_journal(tmp_path / name, create=True)) as journal:
            journal.write("session", None, {})
            for number in range(2):
                asked = {**ASKED, "proposal": number, "key": f"k{number}"}
                journal.write("asked", number, asked | (second if number else {}))
                rewards = [0.5] * (1 + number) if name == "rewards" else [0.5]
                journal.write("ended", number, {**ENDED, "status": "pruned", "rewards": rewards})
        with pytest.raises(JournalError, match=f"1 to 2 {name}"):
            read_history(tmp_path / name)


def test_answers_without_names_cannot_fill_the_memory(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {0: {"decisions": []}, 1: {"genotype": [1_000_000] * 2000}})
    with pytest.raises(JournalError, match="its answers are too large"):
        read_history(run)


EVIL = "from pathlib import Path\nPath({mark!r}).touch()\nclass Evil:\n    pass\n"


def test_reading_a_run_folder_runs_no_code_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither what config.yaml names, nor modules beside it, nor those where the search was begun."""
    run = write(tmp_path / "run", {0: {"cwd": str(tmp_path / "begun")}})
    mark = tmp_path / "executed"
    (tmp_path / "begun").mkdir()
    for place in (run, tmp_path / "begun"):
        (place / "evil.py").write_text(EVIL.format(mark=str(mark)))
    command = f"touch {mark}"
    nodes = {"space": "evil.Evil", "task": "torch.utils.collect_env.run", "controller": "os.system"}
    lines = [f"{name}: {{_target_: {target}, command: {command!r}}}" for name, target in nodes.items()]
    (run / "config.yaml").write_text("\n".join(["layout: 2", *lines]))
    (run / "winners").mkdir()
    (run / "winners" / "best.json").write_text(json.dumps({"format": "evil.Evil", "_target_": "evil.Evil"}))
    monkeypatch.chdir(run)
    assert read_all(Path(), tmp_path) == [0] * 6
    assert not mark.exists()
    assert "evil" not in sys.modules
    assert "touch" in (run / "report.html").read_text(), "the settings are shown as a text"


@pytest.mark.parametrize("name", ["status", "logs", "report", "trials"])
def test_commands_that_read_import_nothing_from_the_folder_they_are_called_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A library may look for a package that is not installed, and find somebody's file in its place."""
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []

    def look(options: object) -> int:
        seen.extend(sys.path)
        return 0

    function = {
        "status": "status.command.show_status",
        "logs": "logs.show_logs",
        "report": "runs.make_report",
        "trials": "runs.export_trials",
    }[name]
    monkeypatch.setattr(f"nas.cli.{function}", look)
    assert main([name, "run", *(["t.csv"] if name == "trials" else [])]) == 0
    assert seen
    assert str(tmp_path) not in seen


def test_a_report_repeats_no_file_that_the_folder_only_links_to(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    (tmp_path / "secret").write_text("key of the victim")
    (run / "config.yaml").symlink_to(tmp_path / "secret")
    assert main(["report", str(run)]) == 0
    assert "key of the victim" not in (run / "report.html").read_text()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: b\n" * 500_000])
def test_a_configuration_that_cannot_be_shown_leaves_the_rest_of_the_report(
    tmp_path: Path, content: bytes
) -> None:
    run = write(tmp_path / "run")
    (run / "config.yaml").write_bytes(content)
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_size < 100_000


SMALLER = published_space("r35-sp18")


def search(folder: Path, resume: bool = False) -> None:
    controller = RandomSearch(SMALLER, 0)
    run_search(SMALLER, controller, SyntheticTask(), LocalExecutor(), 3, folder, resume=resume)


def test_damage_names_the_file_and_the_event(tmp_path: Path) -> None:
    search(tmp_path)
    with closing(sqlite3.connect(tmp_path / JOURNAL_FILE)) as journal, journal:
        journal.execute("UPDATE events SET data = '{' WHERE number = (SELECT max(number) FROM events)")
        count = journal.execute("SELECT count(*) FROM events").fetchone()[0]
    with pytest.raises(JournalError, match=rf"journal\.db is damaged; nothing was changed: event {count}: "):
        read_events(tmp_path)


def test_a_trial_that_was_never_asked_for_is_told_by_every_reader(tmp_path: Path) -> None:
    search(tmp_path)
    with closing(sqlite3.connect(tmp_path / JOURNAL_FILE)) as journal, journal:
        journal.execute("UPDATE events SET kind = 'unknown' WHERE kind = 'asked'")
    with pytest.raises(JournalError, match=r"journal\.db: .*event 'submitted': there is no trial 0"):
        read_history(tmp_path)
    with pytest.raises(JournalError, match="there is no trial 0"):
        search(tmp_path, resume=True)
