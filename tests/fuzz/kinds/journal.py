"""Journals of run folders: their events, their schema and their bytes; read by status, report and trials."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.kind import Kind, RefusedError, commands
from tests.fuzz.mutation import NASTY, dumps, mutate_bytes, mutate_data

ENDLESS = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
    "SELECT x AS number, 0.0 AS time, 'asked' AS kind, x AS trial, '{}' AS data FROM n"
)
COLUMNS = ("number", "time", "kind", "trial", "data")
KINDS = ("session", "asked", "submitted", "reported", "ended", "observed", "finished", "retried", "other", "")

STATEMENTS = (
    f"CREATE VIEW events AS {ENDLESS}",
    f"CREATE VIEW events AS {ENDLESS} WHERE x < 0",
    "CREATE TABLE events (number, time, kind, trial, data)",
    "CREATE TABLE events (number INTEGER PRIMARY KEY, time, kind, trial, data AS (zeroblob(900000000)))",
    "CREATE TABLE other (a)",
    "CREATE TRIGGER t AFTER INSERT ON old BEGIN DELETE FROM old; END",
    "CREATE INDEX i ON old (kind)",
)


def _prepare(folder: Path) -> bytes:
    import matplotlib  # noqa: F401
    import optuna  # noqa: F401

    from controllers import RandomSearch
    from nas import run_search
    from nas.executors.local_executor import LocalExecutor
    from nas.search.config import SearchConfig
    from proxy_tasks.synthetic import SyntheticTask
    from search_space import published_space

    space = published_space("r35-sp18")
    config = SearchConfig(finalists=2, finalist_seeds=1)
    run_search(
        space, RandomSearch(space, 0), SyntheticTask(), LocalExecutor(), 12, folder / "made", config=config
    )
    with closing(sqlite3.connect(folder / "made" / "journal.db")) as file:
        file.execute("PRAGMA journal_mode=DELETE")
    content = (folder / "made" / "journal.db").read_bytes()
    shutil.rmtree(folder / "made")
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text("seed: 0\n")
    _read(content, folder)  # Imports what a case would otherwise pay for.
    return content


def _mutate(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.25:
        return mutate_bytes(rng, content)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.deserialize(content)
        if rng.random() < 0.1:
            made.execute("ALTER TABLE events RENAME TO old")
            for statement in rng.sample(STATEMENTS, rng.randint(1, 2)):
                try:
                    made.execute(statement)
                except sqlite3.Error:
                    continue
            return made.serialize()
        numbers = [number for (number,) in made.execute("SELECT number FROM events")]
        for number in rng.sample(numbers, rng.randint(1, 3)):
            _change(rng, made, number)
        return made.serialize()


def _change(rng: Random, made: sqlite3.Connection, number: int) -> None:
    how = rng.randrange(10)
    if how == 0:
        made.execute("DELETE FROM events WHERE number = ?", (number,))
        return
    column: str = rng.choice(COLUMNS)
    value: Any
    if how == 1:
        value = rng.choice((None, -1, 2**62, 1e300, -1e300, "x", b"\xff\0", "9" * 400, rng.choice(KINDS)))
    else:
        column = "data"
        (old,) = made.execute("SELECT data FROM events WHERE number = ?", (number,)).fetchone()
        data = json.loads(old)
        if how == 2 and data:
            data[rng.choice(list(data))] = rng.choice(NASTY)
        else:
            data = mutate_data(rng, data)
        value = dumps(data).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        if how == 9:
            value = mutate_bytes(rng, value.encode())
    try:
        made.execute(f"UPDATE events SET {column} = ? WHERE number = ?", (value, number))
    except sqlite3.Error:  # A constraint of our table.
        return


def _read(case: bytes, folder: Path) -> None:
    run = folder / "run"
    for file in run.glob("journal.db*"):
        file.unlink()
    (run / "journal.db").write_bytes(case)
    (folder / "study.log").unlink(missing_ok=True)
    outputs = ("trials.csv", "trials.json", "study.log")
    commands(
        ("status", str(run), "--json"),
        ("status", str(run)),
        ("report", str(run)),
        *(("trials", str(run), str(folder / output)) for output in outputs),
    )


KIND = Kind(name="journal", prepare=_prepare, mutate=_mutate, read=_read, documented=(RefusedError,))
