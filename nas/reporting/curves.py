"""Curves of a search: the best reward so far, and what trials reported on their way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup

from nas.journal.history import History
from nas.reporting.blocks import Figure, Figures
from nas.reporting.charts import Chart, legend, lines, polylines, scatter, time_unit
from nas.reporting.values import first_reward

CURVES = 300
"""How many learning curves are drawn; of more, the latest."""

FEW_CURVES, POINTS = 50, 40
"""Of more curves than this, each has at most so many points."""


def show_curves(folder: Path, history: History) -> Figures | None:
    """Every scored trial as a point, and the best so far as a line, by trials and by time."""
    rows = history.scored_rows()
    if not rows:
        return None
    unit, scale = time_unit(history.trials.seconds)
    by_end = sorted(rows, key=lambda row: row.ended_after or 0.0)
    by_time = [((row.ended_after or 0.0) / scale, first_reward(row)) for row in by_end]
    by_trial = [(float(row.number), first_reward(row)) for row in rows]
    return Figures(
        figures=[_best_so_far("trial", "trials", by_trial, True), _best_so_far(unit, "time", by_time, False)]
    )


def _best_so_far(axis: str, what: str, points: list[tuple[float, float]], whole: bool) -> Figure:
    x, y = [point[0] for point in points], [point[1] for point in points]
    chart = Chart(axis, "reward", [0.0, *([1.0] if whole else []), *x], y, whole)
    picture = chart.drawn(scatter(chart, x, y) + lines(chart, x, np.maximum.accumulate(y).tolist()))
    key = legend([("--point", "a trial's reward"), ("--best", "best so far")])
    return Figure(title=f"Best so far, by {what}", picture=Markup(picture + key))


def show_learning(folder: Path, history: History) -> Figures | None:
    """What the trials reported on their way, with the best trial's curve in front."""
    curves = {
        row.number: sorted(row.reports.items()) for row in history.search_rows() if len(row.reports) > 1
    }
    if not curves:
        return None
    best, shown = history.trials.best, sorted(curves)[-CURVES:]
    if best in curves and best not in shown:
        shown.append(best)
    points = [point for number in shown for point in curves[number]]
    chart = Chart("step", "reported reward", [0.0, *(p[0] for p in points)], [p[1] for p in points], True)
    ended_early = [n for n in shown if history.rows[n].status in ("pruned", "paused") and n != best]
    others = [n for n in shown if n not in ended_early and n != best]
    faint = 0.55 if len(shown) < 50 else 0.25
    drawn, key = "", []
    for color, numbers, width, opacity, what in (
        ("--point", others, 1.3, faint, "a trial"),
        ("--cut", ended_early, 1.3, faint, "pruned or paused"),
        ("--best", [best] if best in shown else [], 2.2, 1.0, f"the best, trial {best}"),
    ):
        if numbers:
            paths = [curves[n] if len(shown) <= FEW_CURVES else _thin(curves[n]) for n in numbers]
            drawn += polylines(chart, paths, color, width, opacity)
            key.append((color, what))
    more = f": the last {CURVES} of {len(curves)} trials" if len(curves) > CURVES else ""
    title = f"Learning curves{more}"
    return Figures(figures=[Figure(title=title, picture=Markup(chart.drawn(drawn) + legend(key)))])


def _thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `POINTS` points of a curve, evenly spread, with the first and the last."""
    if len(points) <= POINTS:
        return points
    last = len(points) - 1
    return [points[round(i * last / (POINTS - 1))] for i in range(POINTS)]
