"""The trials of several objectives that no other beats in all rewards, as a figure and as a table."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from nas.journal.history import History
from nas.journal.trials import named_rewards
from nas.reporting.blocks import Figure, Table
from nas.reporting.charts import Chart, legend, scatter
from nas.utils.terminal import show_reward

FRONT = 50
"""How many trials of the Pareto front the table shows."""


def draw_front(history: History) -> Figure | None:
    """Draws the first two rewards of every trial, and in front the trials that no other beats in all rewards.

    Args:
        history: of the search.

    Returns:
        The figure; None if the search has one objective, or if no trial has completed.
    """
    names = objective_names(history)
    rows = [row for row in history.scored_rows() if row.status == "completed" and row.rewards is not None]
    if len(names) < 2 or not rows:
        return None
    points = [(row.rewards[1], row.rewards[0]) for row in rows if row.rewards is not None]
    front = [rewards for n in history.trials.front if (rewards := history.trials.all[n].rewards) is not None]
    x, y = [point[0] for point in points], [point[1] for point in points]
    chart = Chart(names[1], names[0], x, y)
    best = scatter(chart, [r[1] for r in front], [r[0] for r in front], "--best")
    key = legend([("--point", "a trial"), ("--best", "on the Pareto front")])
    more = f" The front is that of all {len(names)} objectives." if len(names) > 2 else ""
    return Figure(
        title="Pareto front",
        about=f"More is better on both axes.{more}",
        picture=Markup(chart.drawn(scatter(chart, x, y) + best) + key),
    )


def objective_names(history: History) -> list[str]:
    """What each reward of a trial is, such as "reward" and "-latency_ms", in the order of the rewards."""
    rewards = next((row.rewards for row in history.rows if row.rewards is not None), ())
    given = (history.objective.get(name) for name in ("maximize", "minimize"))
    maximized, minimized = (found if isinstance(found, list | tuple) else () for found in given)
    names = [*map(str, maximized), *(f"-{name}" for name in minimized)]
    if len(names) == len(rewards):
        return names
    return list(named_rewards(rewards))  # The journal does not tell them.


def show_front(folder: Path, history: History) -> Table | None:
    """The trials of the Pareto front with all their rewards, where a search has several objectives."""
    names, trials = objective_names(history), history.trials
    if len(names) < 2 or not trials.front:
        return None
    rows = [
        [str(number), *map(show_reward, trials.all[number].rewards or ()), trials.all[number].key[:12]]
        for number in trials.front[:FRONT]
    ]
    more = len(trials.front) - FRONT
    notes = ["A minus before a name stands for an objective that is minimized: its reward is the negative."]
    return Table(
        title="Pareto front: trials that no other beats in all rewards",
        head=["trial", *names, "key"],
        rows=rows,
        notes=[*notes, *([f"{more} more are in winners/pareto.json."] if more > 0 else [])],
    )
