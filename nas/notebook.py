"""How a search's result shows itself in a notebook: its curve, and its best trials."""

from __future__ import annotations

from html import escape
from itertools import accumulate

from nas.charts import Chart, lines, scatter
from nas.trials import Trials, best_by_reward

COLOURS = "--point:#4c78a8;--best:#d1495b;--line:#8885;font:12px system-ui,sans-serif;max-width:480px"
TOP = 5


def result_html(trials: Trials, reason: str, winner: int | None) -> str:
    """The best-so-far curve and a table of the best trials, as HTML that stands alone.

    Args:
        trials: all of a search.
        reason: why it stopped.
        winner: number of the best, or None.
    """
    told = ", ".join(f"{count} {status}" for status, count in trials.counts.items() if count)
    parts = [f"<p>Stopped by {escape(reason)}: {escape(told)}.</p>"]
    points = [(t.number + 1.0, t.rewards[0]) for t in trials.all if t.status == "completed" and t.rewards]
    if points:
        x, y = [p[0] for p in points], [p[1] for p in points]
        chart = Chart("trial", "reward", x, y)
        drawn = scatter(chart, x, y) + lines(chart, x, list(accumulate(y, max)))
        parts.append(chart.drawn(drawn).replace("<text ", '<text fill="currentColor" '))
    rows = [
        f"<tr><td>{number}{' (winner)' if number == winner else ''}</td>"
        f"<td>{(trials.all[number].rewards or (0.0,))[0]:.4f}</td>"
        f"<td>{escape(trials.all[number].key[:12])}</td></tr>"
        for number in best_by_reward(trials, TOP)
    ]
    if rows:
        head = "<tr><th>trial</th><th>reward</th><th>key</th></tr>"
        parts.append(f"<table>{head}{''.join(rows)}</table>")
    return f'<div style="{COLOURS}">{"".join(parts)}</div>'
