"""How a search's result shows itself in a notebook: its curve, and its best trials."""

from __future__ import annotations

from itertools import accumulate

from markupsafe import Markup

from nas.journal.trials import END_REASONS, Trial, Trials, best_by_reward
from nas.reporting.charts import Chart, lines, scatter
from nas.utils.templates import render
from nas.utils.terminal import show_reward

TOP = 5


def result_html(trials: Trials, reason: str | None, winner: Trial | None) -> str:
    """The best-so-far curve and a table of the best trials, as a piece of HTML that needs nothing else.

    Args:
        trials: all trials of the search.
        reason: why it stopped; None if it has not come to its end.
        winner: the best trial, or None.
    """
    counts = ", ".join(f"{count} {status}" for status, count in trials.counts.items() if count)
    rows = [
        (
            f"{number} (winner)" if winner is not None and number == winner.number else str(number),
            show_reward(trials.first_reward(number)),
            trials.all[number].key[:12],
        )
        for number in best_by_reward(trials, TOP)
    ]
    return render(
        "nas.reporting",
        "notebook.html.j2",
        summary=f"{_describe_end(reason)}: {counts or 'no trial'}.",
        chart=_curve(trials),
        rows=rows,
    )


def _describe_end(reason: str | None) -> str:
    if reason is None:
        return "The search has not finished"
    return f"Finished, because {END_REASONS.get(reason, reason)}"


def _curve(trials: Trials) -> Markup:
    """Rewards and the best so far; nothing without a reward. Text takes the notebook's own color."""
    points = [(float(t.number), t.rewards[0]) for t in trials.search if t.status == "completed" and t.rewards]
    if not points:
        return Markup()
    x, y = [p[0] for p in points], [p[1] for p in points]
    chart = Chart("trial", "reward", [0.0, 1.0, *x], y, whole=True)
    drawn = chart.drawn(scatter(chart, x, y) + lines(chart, x, list(accumulate(y, max))))
    return Markup(drawn.replace("<text ", '<text fill="currentColor" '))
