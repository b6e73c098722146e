"""Several searches side by side on one page: best-so-far curves by controller, and tables with intervals."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nas.analysis.mean_intervals import mean, mean_interval
from nas.analysis.ranking import curve
from nas.journal.best_so_far import BestSoFar, improvements
from nas.journal.history import History, read_history
from nas.reporting.blocks import Block, Commands, Figure, Figures, Note, Table, Tiles
from nas.reporting.charts import Chart, area, legend, lines, scatter, series_style, time_unit
from nas.reporting.facts import describe_state
from nas.reporting.values import NO_VALUE
from nas.utils.files import replace_file
from nas.utils.run_files import winner_file
from nas.utils.templates import render
from nas.utils.terminal import counted, duration, show_reward

Floats = NDArray[np.float64]

POINTS = 200
"""A curve has at most this number of points."""


class ComparisonError(ValueError):
    """Searches that cannot be compared: says why."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One of the searches.

    Args:
        folder: its run folder.
        history: what its journal tells.
        by_trial: best so far by places among the search's trials, from 0. The evaluations of finalists have
            numbers too, so that a number may be greater than the place.
        by_time: best so far by seconds of the search.
        best_trial: number of the trial with the best first reward, see `nas.journal.trials.Trials.best`; None
            without one.
    """

    folder: Path
    history: History
    by_trial: BestSoFar
    by_time: BestSoFar
    best_trial: int | None

    @property
    def controller(self) -> str:
        """Its name, as the journal tells it."""
        return self.history.controller or "unknown controller"

    @property
    def best(self) -> float | None:
        """The best first reward; None without one."""
        return self.by_trial.last

    @property
    def trials(self) -> int:
        """How many trials were asked for."""
        return len(self.history.trials.search)


def write_comparison(folders: Sequence[Path], output: Path) -> Path:
    """Writes a page that compares the searches of several run folders.

    Args:
        folders: at least two.
        output: the HTML file.

    Raises:
        JournalError: if a folder has no journal, or a damaged one.
        ComparisonError: if there are fewer than two folders, or one comes twice.
        OSError: if the file cannot be written.
    """
    replace_file(output, comparison_page(folders))
    return output


def comparison_page(folders: Sequence[Path]) -> str:
    """The whole HTML text; see `write_comparison`."""
    if len(folders) < 2:
        raise ComparisonError("a comparison needs at least two run folders")
    resolved = [folder.resolve() for folder in folders]
    for place, folder in enumerate(resolved):
        if folder in resolved[:place]:
            raise ComparisonError(f"{folders[place]} is given twice")
    runs = [read_run(folder) for folder in folders]
    groups = group_runs(runs)
    blocks: list[Block | None] = [
        _facts(runs, groups),
        *map(_note, [*incomparable(runs), *scoreless(groups)]),
        _curves(groups),
        _controllers(groups),
        _searches(groups),
        _next(runs),
    ]
    title = f"{len(runs)} searches compared"
    shown = [block for block in blocks if block]
    return render("nas.reporting", "report.html.j2", title=title, about="", blocks=shown)


def read_run(folder: Path) -> Run:
    """Reads one search.

    Raises:
        JournalError: if the folder has no journal, or a damaged one.
    """
    history = read_history(folder)
    rows = history.scored_rows()
    # Evaluations of finalists have numbers too, between those of the search where it was continued.
    trials = history.search_rows()
    place = {row.number: float(place) for place, row in enumerate(trials)}
    by_trial = [(place[row.number], row.rewards[0]) for row in rows if row.rewards]
    by_time = sorted((row.ended_after or 0.0, row.rewards[0]) for row in rows if row.rewards)
    return Run(
        folder=folder,
        history=history,
        by_trial=BestSoFar(steps=improvements(by_trial), end=len(trials) - 1.0),
        by_time=BestSoFar(steps=improvements(by_time), end=history.trials.seconds),
        best_trial=history.trials.best,
    )


def group_runs(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The searches by controller, in the order in which they are given."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.controller, []).append(run)
    return groups


def incomparable(runs: Sequence[Run]) -> list[str]:
    """Why rewards of these searches must not be compared, one sentence for each reason."""
    found = []
    objectives = {repr(run.history.objective) for run in runs}
    if len(objectives) > 1:
        found.append("The searches have different objectives, so their rewards mean different things.")
    fidelities = {max((r.fidelity for r in run.history.scored_rows()), default=None) for run in runs} - {None}
    if len(fidelities) > 1:
        shown = ", ".join(f"{fidelity:g}" for fidelity in sorted(f for f in fidelities if f is not None))
        found.append(f"The searches trained for different lengths: their fidelities are {shown}.")
    if len({run.history.decisions for run in runs if run.history.rows}) > 1:
        found.append("The searches ran in different spaces.")
    return found


def scoreless(groups: dict[str, list[Run]]) -> list[str]:
    """Which searches have no score and are left out of means and curves, one sentence for each controller."""
    found = []
    for name, runs in groups.items():
        missing = sum(run.best is None for run in runs)
        if missing:
            of = counted(len(runs), "search", "searches")
            verb = ("has", "is") if missing == 1 else ("have", "are")
            found.append(
                f"{missing} of {of} of {name} {verb[0]} no score and {verb[1]} left out of its mean."
            )
    return found


def _facts(runs: Sequence[Run], groups: dict[str, list[Run]]) -> Tiles:
    tiles = [
        ("searches", str(len(runs))),
        ("controllers", str(len(groups))),
        ("trials", str(sum(run.trials for run in runs))),
        ("time of all", duration(sum(run.history.trials.seconds for run in runs))),
    ]
    leader = max((run for run in runs if run.best is not None), key=lambda run: run.best or 0, default=None)
    if leader is not None:
        tiles.append(("best reward", f"{show_reward(leader.best or 0)} ({leader.folder.name})"))
    return Tiles(tiles=tiles)


def _note(text: str) -> Note:
    return Note(text=text)


def _curves(groups: dict[str, list[Run]]) -> Figures | None:
    """Best so far over trials and over time."""
    if not any(run.best is not None for runs in groups.values() for run in runs):
        return None
    unit, size = time_unit(max(run.by_time.end for runs in groups.values() for run in runs))
    by_trial = {name: [run.by_trial for run in runs] for name, runs in groups.items()}
    by_time = {name: [run.by_time.in_units(size) for run in runs] for name, runs in groups.items()}
    return Figures(
        figures=[
            _figure("Best so far, by trials", "trial", by_trial, 1.0, True),
            _figure("Best so far, by time", unit, by_time, 1e-9, False),
        ]
    )


def _figure(
    title: str, axis: str, groups: Mapping[str, Sequence[BestSoFar]], least: float, whole: bool
) -> Figure:
    """Draws the searches of each controller.

    Args:
        title: of the figure.
        axis: what the positions are.
        groups: the searches by controller.
        least: the axis reaches this far at least.
        whole: whether positions are whole numbers.
    """
    end = max(least, *(run.end for runs in groups.values() for run in runs))
    at = np.unique(np.round(np.linspace(0, end, POINTS))) if whole else np.linspace(0, end, POINTS)
    bands = {name: _band(runs, at) for name, runs in groups.items()}
    shown = [values[~np.isnan(values)] for band in bands.values() for values in band]
    chart = Chart(axis, "reward", [0.0, end], np.concatenate(shown).tolist() or [0.0, 1.0], whole)
    drawn, key, dashed = "", [], []
    for place, (name, (middle, low, high)) in enumerate(bands.items()):
        (color, dashes), there = series_style(place), ~np.isnan(middle)
        x, runs = at[there].tolist(), sum(bool(run.steps) for run in groups[name])
        if len(x) > 1 and runs > 1:
            drawn += area(chart, x, low[there].tolist(), high[there].tolist(), color)
        if len(x) == 1:
            drawn += scatter(chart, x, middle[there].tolist(), color)
        elif x:
            drawn += lines(chart, x, middle[there].tolist(), color, dashes)
        if x:
            key.append((color, f"{name}, {counted(runs, 'search', 'searches')}"))
            dashed.append(dashes)
    return Figure(title=title, picture=Markup(chart.drawn(drawn) + legend(key, dashed)))


def _band(runs: Sequence[BestSoFar], at: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, least and greatest best-so-far of the searches; NaN before all have a score or after all ended.

    A search that ended keeps its last best while others go on.
    """
    scored = [run for run in runs if run.steps]
    if not scored:
        nothing = np.full(len(at), np.nan)
        return nothing, nothing, nothing
    values = np.array([curve(run.steps, at) for run in scored])
    values[:, at > max(run.end for run in scored) + 1e-9] = np.nan
    return values.mean(0), values.min(0), values.max(0)


def _controllers(groups: dict[str, list[Run]]) -> Table | None:
    """The searches' bests after as many trials as all of them had."""
    scored = {name: [run for run in runs if run.best is not None] for name, runs in groups.items()}
    scored = {name: runs for name, runs in scored.items() if runs}
    if not scored:
        return None
    common = min(run.trials for runs in scored.values() for run in runs)
    rows = []
    for name, runs in scored.items():
        at = np.array([common - 1.0])
        ends = [float(curve(run.by_trial.steps, at)[0]) for run in runs]
        bests = [best for best in ends if not np.isnan(best)]
        if not bests:
            rows.append((-np.inf, [name, str(len(runs)), NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE]))
            continue
        center, found = mean(bests), mean_interval(bests)
        interval = NO_VALUE if len(bests) > 1 else "needs two searches"
        if found is not None:
            interval = " to ".join(map(show_reward, found))
        reach = [show_reward(min(bests)), show_reward(max(bests))]
        rows.append((center, [name, str(len(bests)), show_reward(center), interval, *reach]))
    return Table(
        title=f"Controllers: the best reward after {counted(common, 'trial')}",
        head=["controller", "searches", "mean", "95 % interval of the mean", "lowest", "highest"],
        rows=[cells for _, cells in sorted(rows, key=lambda row: -row[0])],
    )


def _searches(groups: dict[str, list[Run]]) -> Table:
    rows = []
    for name, runs in groups.items():
        for run in runs:
            trials = run.history.trials
            best = NO_VALUE if run.best is None else f"{show_reward(run.best)} (trial {run.best_trial})"
            seed = NO_VALUE if run.history.seed is None else str(run.history.seed)
            rows.append(
                [
                    str(run.folder),
                    name,
                    seed,
                    describe_state(run.folder, run.history),
                    str(run.trials),
                    best,
                    duration(trials.seconds),
                    str(trials.counts["failed"]),
                ]
            )
    head = ["run folder", "controller", "seed", "state", "trials", "best reward", "time", "failed"]
    return Table(title="The searches", head=head, rows=rows)


def _next(runs: Sequence[Run]) -> Commands:
    leader = max(runs, key=lambda run: -np.inf if run.best is None else run.best)
    folder = shlex.quote(str(leader.folder))
    winner = shlex.quote(str(winner_file(leader.folder)))
    steps = [("Look at the search with the best reward:", f"nas report {folder}")]
    if leader.best is not None:
        steps.append(("Train its winner in full:", f"nas train spec={winner}"))
    return Commands(title="What you can do next", commands=steps)
