"""A search's trials as a table: CSV, JSON or Parquet, and as an Optuna study for its dashboard."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nas.journal.history import History, TrialRow, read_history
from nas.journal.trials import named_rewards
from nas.reporting.frame import free_name
from nas.utils.files import replace_file
from nas.utils.terminal import counter
from search_space.utils.atomic_file import atomic_write
from search_space.utils.strict_json import to_json

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Row = dict[str, Any]

COLUMNS = {
    "trial": "int64",
    "status": "string",
    "reward": "float64",
    "key": "string",
    "source": "int64",
    "finalist_of": "int64",
    "fidelity": "float64",
    "seed": "uint64",
    "genotype": "string",
    "spec": "string",
    "began": "float64",
    "attempts": "int64",
    "ended": "float64",
    "seconds": "float64",
    "worker": "string",
    "failure": "string",
    "message": "string",
    "reports": "string",
}
"""The columns of every table, and their types in Parquet; all others are numbers, float64."""


class TableError(ValueError):
    """A table that cannot be written. The message says why."""


def trial_rows(folder: Path) -> list[Row]:
    """One row for every trial, from the journal alone.

    Columns: trial, status, reward (reward_2, ... with several objectives), key, source (the trial whose score
    a cached one shares), finalist_of (the trial that a finalist's evaluation repeats), fidelity, seed,
    genotype (ints), spec (JSON), began and ended (seconds since 1970), attempts, seconds, worker, failure,
    message, the score's metrics, and reports (step to reward). A trial that has not ended lacks the values
    of its end.

    Raises:
        JournalError: if the folder has no journal, or a damaged one.
    """
    return [_table_row(row) for row in read_history(folder).rows]


def _table_row(row: TrialRow) -> Row:
    found: Row = {
        "trial": row.number,
        "status": row.status,
        "reward": None,
        "key": row.key,
        "source": row.shares,
        "finalist_of": row.finalist_of,
        "fidelity": row.fidelity,
        "seed": row.seed,
        "genotype": list(row.genotype),
        "spec": row.spec,
        "began": row.asked_at,
    }
    if row.ended_at is None:
        return found
    found |= {"attempts": row.attempts, "ended": row.ended_at, "seconds": row.seconds, "worker": row.worker}
    found |= {"failure": row.failure, "message": row.message}
    found |= named_rewards(row.rewards)
    reports: Row = {"reports": dict(row.reports)}
    for name, value in row.metrics.items():
        found[free_name(name, found.keys() | reports, "metric")] = value
    return found | reports


def write_trials(folder: Path, output: Path) -> Path:
    """Writes the trials in the format that the file's ending names.

    Args:
        folder: the run folder.
        output: .csv, .json or .parquet; .db or .log for an Optuna study, in SQLite or as a journal.

    Raises:
        TableError: if the ending is another one, or an Optuna study would be mixed with what the file holds.
        JournalError: if the folder has no journal, or a damaged one.
        OSError: if the file cannot be written.
    """
    suffix = output.suffix.lower()
    if suffix in STUDY_ENDINGS:
        _write_study(read_history(folder), output, folder.resolve().name)
    elif suffix in TABLE_WRITERS:
        TABLE_WRITERS[suffix](trial_rows(folder), output)
    else:
        endings = ", ".join([*TABLE_WRITERS, *STUDY_ENDINGS])
        raise TableError(f"{output}: the file name must end in one of {endings}")
    return output


def _flatten(rows: list[Row]) -> tuple[list[str], Iterator[list[Any]]]:
    """Column names, and every row's cells, in which lists and dicts are JSON text.

    The columns are `COLUMNS`, whatever the rows have, with all others before the reports.
    """
    *fixed, last = COLUMNS
    others = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    columns = [*fixed, *others, last]

    def cell(value: Any) -> Any:
        if isinstance(value, str):  # Half characters are no text to Parquet.
            return value.encode("utf-8", "backslashreplace").decode()
        return to_json(value) if isinstance(value, (list, dict)) else value

    return list(map(cell, columns)), ([cell(row.get(name)) for name in columns] for row in rows)


def _write_csv(rows: list[Row], output: Path) -> None:
    text = io.StringIO()
    columns, cells = _flatten(rows)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(cells)
    replace_file(output, text.getvalue())


def _write_json(rows: list[Row], output: Path) -> None:
    replace_file(output, to_json(rows, indent=1) + "\n")


def _as_float(value: Any) -> float | None:
    """A number of the journal for Parquet, which takes no large whole number as a float."""
    return None if value is None else float(value)


def _write_parquet(rows: list[Row], output: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns, cells = _flatten(rows)
    values = zip(*cells, strict=True) if rows else [()] * len(columns)
    types = [COLUMNS.get(name, "float64") for name in columns]
    arrays = [
        pa.array([_as_float(value) for value in some] if kind == "float64" else some, getattr(pa, kind)())
        for some, kind in zip(values, types, strict=True)
    ]
    table = pa.table(arrays, names=columns)
    with atomic_write(output) as partial:
        parquet.write_table(table, partial)


TABLE_WRITERS: dict[str, Callable[[list[Row], Path], None]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".parquet": _write_parquet,
}

STUDY_ENDINGS = (".db", ".log")

MAX_OPTIONS = 1000
"""Options of a decision that a study lists whole."""


def _write_study(history: History, output: Path, name: str) -> None:
    """Writes an Optuna study, whose parameters are the space's decisions with their labels.

    The finalists' evaluations are left out, as they are trials of another fidelity.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if output.exists():
        raise TableError(f"{output} already exists; give another file for the study")
    if not output.parent.is_dir():
        raise TableError(f"{output.parent} is not a folder")
    rows = history.search_rows()
    if not rows:
        raise TableError(f"{name} has no trial yet")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objectives = max(len(row.rewards or ()) for row in rows) or 1
    show = counter("trials")
    with atomic_write(output) as partial:
        storage: Any = (
            study_address(partial)
            if output.suffix.lower() == ".db"
            else JournalStorage(JournalFileBackend(str(partial)))
        )
        study = optuna.create_study(storage=storage, study_name=name, directions=["maximize"] * objectives)
        distributions = _distributions(history)
        for done, row in enumerate(rows, 1):
            if show is not None:
                show(done, len(rows))
            study.add_trial(_frozen_trial(row, history, objectives, distributions))


def _distributions(history: History) -> dict[str, BaseDistribution]:
    """The space's decisions as Optuna keeps them, with their labels.

    Optuna writes them down for every trial. Of a decision with very many options, those that were taken are
    kept.
    """
    from optuna.distributions import CategoricalDistribution

    found: dict[str, BaseDistribution] = {}
    for place, decision in enumerate(history.decisions):
        labels = decision.labels
        if len(labels) > MAX_OPTIONS:
            taken = sorted({row.genotype[place] for row in history.rows})
            labels = tuple(decision.labels[answer] for answer in taken)
        found[decision.name] = CategoricalDistribution(list(dict.fromkeys(labels)))
    return found


def study_address(path: Path) -> str:
    """The address of a study in an SQLite file, as Optuna wants it: special characters are quoted."""
    return f"sqlite:///{quote(str(path.absolute()))}"


def _frozen_trial(
    row: TrialRow, history: History, objectives: int, distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    """A trial as Optuna keeps it. One objective alone may have reports, or a value when it was pruned."""
    from optuna.trial import FrozenTrial, TrialState

    status = row.status
    if row.shares is not None and history.rows[row.shares].status in ("pruned", "paused"):
        status = "pruned"  # It shares the score of an evaluation that did not come to its end.
    if status == "paused" and history.trials.finished is not None:
        status = "pruned"  # Nothing goes on from it any more.
    states = {
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
        "running": TrialState.RUNNING,
        "paused": TrialState.RUNNING,
    }
    complete = TrialState.FAIL if row.rewards is None else TrialState.COMPLETE
    state = states.get(status, complete)
    ended = None if row.ended_at is None else datetime.fromtimestamp(row.ended_at)
    about = {
        "trial": row.number,  # Optuna numbers without gaps, and here finalists may lie between.
        "key": row.key,
        "source": row.shares,
        "worker": row.worker,
        "failure": row.failure,
        "message": row.message,
    }
    decided = list(zip(history.decisions, row.genotype, strict=True))
    has_values = row.rewards is not None and (state == TrialState.COMPLETE or objectives == 1)
    return FrozenTrial(
        number=row.number,
        state=state,
        value=None,
        values=list(row.rewards or ()) if has_values else None,
        datetime_start=datetime.fromtimestamp(row.asked_at),
        datetime_complete=ended if state.is_finished() else None,
        params={decision.name: decision.labels[answer] for decision, answer in decided},
        distributions=distributions,
        user_attrs={key: value for key, value in about.items() if value not in (None, "")},
        system_attrs={},
        intermediate_values=row.reports if objectives == 1 else {},
        trial_id=row.number,
    )
