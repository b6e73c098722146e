"""The trials of a search as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from nas.journal.history import History, TrialRow
from nas.journal.trials import named_rewards

if TYPE_CHECKING:
    import pandas as pd

AFTER = {
    **{name: name for name in ("key", "fidelity", "seed", "seconds", "worker", "attempts")},
    "source": "shares",
    **{name: name for name in ("finalist_of", "failure", "message")},
}
"""The columns after the decisions, and the attributes of a row that they hold."""

WHOLE = ("source", "finalist_of")
"""Columns of whole numbers that may be missing."""


def trial_frame(history: History) -> pd.DataFrame:
    """See `nas.search.result.SearchResult.frame`."""
    import pandas as pd

    rewards = [named_rewards(trial.rewards) for trial in history.trials.all]
    before = ["status", *(_names(rewards) or ["reward"])]
    taken = {*before, *AFTER}
    metrics = _unused(_names([row.metrics for row in history.rows]), taken, "metric")
    decisions = _unused([decision.name for decision in history.decisions], taken, "decision")
    columns: dict[str, list[Any]] = {"status": [row.status for row in history.rows]}
    columns |= {name: [found.get(name) for found in rewards] for name in before[1:]}
    columns |= {column: [row.metrics.get(name) for row in history.rows] for column, name in metrics.items()}
    for place, column in enumerate(decisions):
        columns[column] = [_label(history, row, place) for row in history.rows]
    columns |= {column: [getattr(row, name) for row in history.rows] for column, name in AFTER.items()}
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(history.rows), name="trial"))
    return frame.astype(dict.fromkeys(before[1:], "float64") | dict.fromkeys(WHOLE, "Int64"))


def _names(rows: list[Mapping[str, Any]] | list[dict[str, float]]) -> list[str]:
    """The keys of all rows, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _unused(names: list[str], taken: set[str], kind: str) -> dict[str, str]:
    """Names of columns to the names that they stand for; `taken` gets the new ones."""
    columns = {}
    for name in names:
        column = free_name(name, taken, kind)
        taken.add(column)
        columns[column] = name
    return columns


def free_name(name: str, taken: Container[str], kind: str) -> str:
    """Gives a name for a column that is not taken: with what it is in parentheses, if need be."""
    while name in taken:
        name += f" ({kind})"
    return name


def _label(history: History, row: TrialRow, place: int) -> str:
    """The label of a trial's answer; the answer itself where the journal has no label for it."""
    labels, answer = history.decisions[place].labels, row.genotype[place]
    return labels[answer] if answer < len(labels) else str(answer)
