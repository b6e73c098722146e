"""The files of a study of controllers: a page, the same numbers as JSON, all improvements, and a picture."""

from __future__ import annotations

import csv
import io
import platform
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.analysis.controller_plan import ControllerStudy
from nas.analysis.controller_summary import ControllerSummary, StudySummary
from nas.analysis.ranking import band, curve
from nas.reporting.charts import time_unit
from nas.reporting.figures import figure_file, series_style
from nas.utils.files import replace_file
from nas.utils.templates import render
from nas.utils.terminal import counted
from search_space.utils.strict_json import to_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

FEW_TRIALS = 3
"""Curves of fewer trials have a dot at each."""

SMALLEST_REGRET = 1e-12
"""A regret of 0 has no place on a logarithmic axis."""

MOMENTS = 200
"""A curve by time has this number of points."""


def write_report(study: ControllerStudy, summary: StudySummary, folder: Path, command: str) -> str:
    """Writes `comparison.md`, `.json`, `.csv` and `.png`, and returns the page.

    Args:
        study: what was compared.
        summary: what it came to.
        folder: where the files are written.
        command: the command line that asked for the study, which is recorded with the results.

    Raises:
        OSError: if a file cannot be written.
    """
    page = _page(study, summary)
    replace_file(folder / "comparison.json", to_json(_as_data(study, summary, command), indent=1) + "\n")
    replace_file(folder / "comparison.md", page)
    replace_file(folder / "comparison.csv", _improvements(summary))
    _plot(study, summary, folder / "comparison.png")
    return page


def _page(study: ControllerStudy, summary: StudySummary) -> str:
    counts = (
        counted(len(summary.controllers), "controller"),
        counted(study.seeds, "seed"),
        counted(study.trials, "trial"),
    )
    return render(
        "nas.analysis",
        "controller_study.md.j2",
        title=", ".join(counts),
        known=summary.best_is_known,
        best=summary.best,
        points=summary.points,
        rows=summary.by_rank(),
        overall_p=summary.ranking.overall_p,
    )


def _as_data(study: ControllerStudy, summary: StudySummary, command: str) -> dict[str, Any]:
    ranking = summary.ranking
    return {
        "common": study.common,
        "controllers": study.controllers,
        "seeds": study.seeds,
        "best": summary.best,
        "best_is_known": summary.best_is_known,
        "regret": {each.name: each.regret for each in summary.controllers},
        "standard_error": {each.name: each.error for each in summary.controllers},
        "failed": {each.name: each.failed for each in summary.controllers},
        "kruskal_p": ranking.overall_p,
        "ranks": dict(ranking.ranks),
        "pairs": [
            {"better": a, "worse": b, "p": p, "superiority": ranking.superiority[a, b]}
            for (a, b), p in ranking.pairs.items()
        ],
        "against_random": dict(ranking.against),
        "command": command,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _improvements(summary: StudySummary) -> str:
    """Every improvement of every search, as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["controller", "seed", "trials", "seconds", "best"])
    for each in sorted(summary.controllers, key=lambda controller: controller.name):
        for seed, search in each.searches.items():
            rows.writerows([each.name, seed, n, f"{seconds:.6g}", best] for n, seconds, best in search.steps)
    return text.getvalue()


def _plot(study: ControllerStudy, summary: StudySummary, path: Path) -> None:
    styles = {each.name: series_style(i) for i, each in enumerate(summary.controllers)}
    with figure_file(path, 12, 3.9) as figure:
        by_trial, by_time, ends = figure.subplots(1, 3, width_ratios=(4, 4, 3))
        _plot_curves(by_trial, by_time, study, summary, styles)
        _plot_ends(ends, summary, styles)


def _plot_curves(
    by_trial: Axes,
    by_time: Axes,
    study: ControllerStudy,
    summary: StudySummary,
    styles: Mapping[str, dict[str, Any]],
) -> None:
    """Draws the mean regret of each controller with its band, by trials and by virtual time."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    means = [each.regrets.mean(0) for each in summary.controllers]
    top, lowest = max(float(m.max()) for m in means), min(float(m.min()) for m in means)
    floor = max(top * 1e-3, lowest / 2, SMALLEST_REGRET)
    few = "o" if study.trials < FEW_TRIALS else ""  # A line of one point is not seen.
    longest = max(search.seconds for each in summary.controllers for search in each.searches.values())
    unit, size = time_unit(longest)
    times = np.linspace(0, longest / size, MOMENTS)
    trials = np.arange(1, study.trials + 1)
    for each in summary.by_rank():
        in_time = _regrets_in_time(each, summary.best, times, size)
        for axes, x, values, marker in ((by_trial, trials, each.regrets, few), (by_time, times, in_time, "")):
            style = styles[each.name]
            mean, low, high = (np.maximum(v, floor) for v in band(values))
            axes.plot(x, mean, lw=1.5, drawstyle="steps-post", marker=marker, **style)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0, step="post")
    on = f"{unit} on {counted(study.workers, 'worker')}"
    for axes, what in ((by_trial, "trials"), (by_time, on)):
        if top > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(bottom=floor)
        axes.set_xlabel(what)
    by_trial.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    by_time.set_ylim(by_trial.get_ylim())  # Before a first score the regret has no meaning.
    by_trial.set_ylabel("regret")
    by_trial.set_title("Mean regret, 95 % band")
    by_time.set_title("The same by virtual time")


def _regrets_in_time(controller: ControllerSummary, best: float, times: Floats, size: float) -> Floats:
    """The regrets at given times, [seeds, times].

    Args:
        controller: whose searches these are.
        best: the reward from which regrets are counted.
        times: in units of `size` seconds.
        size: seconds of a unit.
    """
    steps = [search.steps for search in controller.searches.values()]
    bests = np.array([curve([(t / size, b) for _, t, b in some], times) for some in steps])
    worst = best - float(controller.regrets.max())
    regrets: Floats = best - np.nan_to_num(bests, nan=worst)
    return regrets


def _plot_ends(axes: Axes, summary: StudySummary, styles: Mapping[str, dict[str, Any]]) -> None:
    """Draws how the final regrets of each controller spread over the seeds, the best controller on top."""
    shown = summary.by_rank()[::-1]
    finals = [np.maximum(each.regrets[:, -1], 0) for each in shown]
    boxes = axes.boxplot(finals, orientation="horizontal", widths=0.55, patch_artist=True, sym=".")
    for box, each in zip(boxes["boxes"], shown, strict=True):
        style = styles[each.name]
        box.set(facecolor=style["color"], alpha=0.35, edgecolor=style["color"])
        box.set_linestyle(style["linestyle"])
    for median in boxes["medians"]:
        median.set_color("#222222")
    labels = [textwrap.fill(f"{each.name} ({each.rank:.1f})", 24) for each in shown]
    axes.set_yticks(range(1, len(shown) + 1), labels)
    for label, each in zip(axes.get_yticklabels(), shown, strict=True):
        label.set_color(styles[each.name]["color"])  # In place of a legend, with the line of the box.
    axes.set_xlabel("regret at the end, by seed")
    axes.set_title("Spread (mean rank)")
