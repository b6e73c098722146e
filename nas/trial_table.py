"""A search's trials as a table: CSV, JSON or Parquet, and as an Optuna study for its dashboard."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from nas.config import ConfigError, build, read_config
from nas.files import replace_file
from nas.journal import look_where_it_began, read_events
from nas.progress import counter
from nas.trials import Trials, named_rewards
from search_space.whole_file import whole_file

Row = dict[str, Any]


class TableError(ValueError):
    """A table that cannot be written: says why."""


def trial_rows(folder: Path) -> list[Row]:
    """One row for every trial, from the journal alone.

    Columns: trial, status, reward (reward_2, ... with several objectives), key, source (the trial whose score
    a cached one shares), seed, attempts, seconds, worker, failure, message, genotype (ints), spec (JSON),
    began and ended (seconds since 1970), reports (step to reward), and the score's metrics.

    Raises:
        JournalError: if the folder has no journal, or a damaged one.
    """
    trials, rows = Trials(), list[Row]()
    for event in read_events(folder):
        trials.apply(event)
        data = event.data
        if event.trial is None:
            continue
        if event.kind == "asked":
            rows.append(
                {
                    "trial": event.trial,
                    "status": "running",
                    "reward": None,
                    "key": data["key"],
                    "source": data["source"],
                    "seed": data["seed"],
                    "genotype": list(data["genotype"]),
                    "spec": data["spec"],
                    "began": event.time,
                }
            )
        elif event.kind == "ended" and not data["again"]:
            trial, row = trials.all[event.trial], rows[event.trial]
            row |= {"status": trial.status, "attempts": trial.attempts, "ended": event.time}
            row |= {name: data.get(name) for name in ("seconds", "worker", "failure", "message")}
            row |= named_rewards(trial)
            row |= {name: value for name, value in (data.get("metrics") or {}).items() if name not in row}
            row["reports"] = dict(trial.curve)
    return rows


def write_trials(folder: Path, output: Path) -> Path:
    """Writes the trials in the format that the file's ending names.

    Args:
        folder: of the run.
        output: .csv, .json or .parquet; .db or .log for an Optuna study, in SQLite or as a journal.

    Raises:
        TableError: if the ending is another, or an Optuna study would be mixed with what the file holds.
        JournalError, ConfigError: if the folder cannot be read.
        OSError: if the file cannot be written.
    """
    kinds = {".csv": _csv, ".json": _json, ".parquet": _parquet, ".db": _optuna, ".log": _optuna}
    write = kinds.get(output.suffix.lower())
    if write is None:
        raise TableError(f"{output}: the ending says the format: {', '.join(kinds)}")
    write(trial_rows(folder), output, folder)
    return output


def _flat(rows: list[Row]) -> tuple[list[str], Iterator[list[Any]]]:
    """Column names, and every row's cells: lists and dicts as JSON."""
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: Any) -> Any:
        return json.dumps(value) if isinstance(value, (list, dict)) else value

    return columns, ([cell(row.get(name)) for name in columns] for row in rows)


def _csv(rows: list[Row], output: Path, folder: Path) -> None:
    text = io.StringIO()
    columns, cells = _flat(rows)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(cells)
    replace_file(output, text.getvalue())


def _json(rows: list[Row], output: Path, folder: Path) -> None:
    replace_file(output, json.dumps(rows, indent=1) + "\n")


def _parquet(rows: list[Row], output: Path, folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns, cells = _flat(rows)
    table = pa.table(
        {name: list(values) for name, values in zip(columns, zip(*cells, strict=True), strict=True)}
    )
    with whole_file(output) as partial:
        parquet.write_table(table, partial)


def _optuna(rows: list[Row], output: Path, folder: Path) -> None:
    """As a study named by the run folder; parameters are the space's decisions, with their labels."""
    import optuna
    from optuna.distributions import CategoricalDistribution
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, TrialState

    if output.exists():
        raise TableError(f"{output} is there already; give another file for the study")
    if not output.parent.is_dir():
        raise TableError(f"{output.parent} is no folder")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config = read_config(folder / "config.yaml")
    try:
        look_where_it_began(read_events(folder))
        decisions = build(config.space, "space").decisions
    except AttributeError:
        raise ConfigError(f"{folder / 'config.yaml'} names no space") from None
    known: dict[str, Any] = {
        d.name: CategoricalDistribution(list(dict.fromkeys(d.labels))) for d in decisions
    }
    if not rows:
        raise TableError(f"{folder} has no trial yet")
    count = max(sum(name == "reward" or name.startswith("reward_") for name in row) for row in rows)
    names = ["reward", *(f"reward_{i}" for i in range(2, count + 1))]
    states = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL, "running": TrialState.RUNNING}
    with whole_file(output) as partial:
        storage: Any = (
            f"sqlite:///{partial}"
            if output.suffix.lower() == ".db"
            else JournalStorage(JournalFileBackend(str(partial)))
        )
        study = optuna.create_study(
            storage=storage, study_name=folder.resolve().name, directions=["maximize"] * len(names)
        )
        show = counter("trials")
        statuses = {row["trial"]: row["status"] for row in rows}
        for done, row in enumerate(rows, 1):
            if show is not None:
                show(done, len(rows))
            values = [row[name] for name in names] if row.get("reward") is not None else None
            status = "pruned" if statuses.get(row.get("source")) == "pruned" else row["status"]
            state = states.get(status, TrialState.COMPLETE if values is not None else TrialState.FAIL)
            ended = None if "ended" not in row else datetime.fromtimestamp(row["ended"])
            labels = [d.labels[answer] for d, answer in zip(decisions, row["genotype"], strict=True)]
            about = ("key", "source", "worker", "failure", "message")
            study.add_trial(
                FrozenTrial(
                    number=row["trial"],
                    state=state,
                    value=None,
                    values=values if state == TrialState.COMPLETE or len(names) == 1 else None,
                    datetime_start=datetime.fromtimestamp(row["began"]),
                    datetime_complete=ended if state.is_finished() else None,
                    params=dict(zip(known, labels, strict=True)),
                    distributions=known,
                    user_attrs={name: row[name] for name in about if row.get(name) not in (None, "")},
                    system_attrs={},
                    intermediate_values=row.get("reports", {}) if len(names) == 1 else {},
                    trial_id=row["trial"],
                )
            )
