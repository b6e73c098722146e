"""The best trials of a search and its finalists, as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from nas.journal.history import History, TrialRow
from nas.journal.trials import finalist_rewards
from nas.reporting.blocks import Table
from nas.reporting.values import first_reward, show_value
from nas.utils.terminal import show_reward
from proxy_tasks.metrics import is_measured

TOP = 10
"""How many trials the table shows."""

METRICS = 4
"""How many metrics besides the costs the table of trials shows."""

COSTS = ("params", "macs", "latency_ms", "memory_mib")
"""Metrics that say what a network costs, not how good it is."""


def show_best_trials(folder: Path, history: History) -> Table | None:
    """The best trials with the metrics of their scores, and what is expected of their networks."""
    rows = [row for row in history.scored_rows() if row.status == "completed"]
    rows = sorted(rows, key=lambda row: (-first_reward(row), row.number))[:TOP]
    if not rows:
        return None
    metrics, expected = _shown_metrics(rows), history.trials.expected
    if all(expected.get(row.number) in (None, first_reward(row)) for row in rows):
        expected = {}  # It tells nothing more.
    cells = [
        [
            str(row.number),
            show_reward(first_reward(row)),
            *([show_value(expected.get(row.number))] if expected else []),
            *(show_value(row.metrics.get(name)) for name in metrics),
            row.key[:12],
        ]
        for row in rows
    ]
    head = ["trial", "reward", *(["expected"] if expected else []), *metrics, "key"]
    return Table(title="The best trials", head=head, rows=cells)


def _shown_metrics(rows: Sequence[TrialRow]) -> list[str]:
    """Metrics for a table: the first ones, then the costs; none that only repeats the reward."""
    names = dict.fromkeys(n for row in rows for n, value in row.metrics.items() if is_measured(n, value))
    repeated = {name for name in names if all(row.metrics.get(name) == first_reward(row) for row in rows)}
    qualities = [name for name in names if name not in repeated and name not in COSTS]
    return [*qualities[:METRICS], *(name for name in COSTS if name in names)]


def show_finalists(folder: Path, history: History) -> Table | None:
    """The finalists' rewards in the final evaluations, and what they are expected to give, best first."""
    found = finalist_rewards(history.trials)
    if not found:
        return None
    rows = [
        [
            str(number),
            show_reward(first_reward(history.rows[number])),
            show_reward(fmean(rewards)),
            show_value(history.trials.expected.get(number)),
            ", ".join(map(show_reward, rewards)),
        ]
        for number, rewards in sorted(
            found.items(), key=lambda item: -history.trials.expected.get(item[0], -math.inf)
        )
    ]
    apart = all(trial.apart for trial in history.trials.finalists)
    notes = ["The images are some that no trial of the search was scored on."] if apart else []
    head = ["trial", "reward in the search", "mean of the final evaluations", "expected", "each evaluation"]
    title = f"Finalists, evaluated at fidelity {history.trials.finalists[-1].fidelity:g}"
    return Table(title=title, head=head, rows=rows, notes=notes)
