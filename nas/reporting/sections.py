"""The sections of a search's report, from top to bottom.

A section is a function that takes the run folder and its history and returns a block, or None where it has
nothing to show. To add one, write such a function and add it to `SECTIONS`.
"""

from __future__ import annotations

import base64
import math
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
from markupsafe import Markup

from nas.journal.history import History, TrialRow
from nas.journal.trials import finalist_rewards
from nas.reporting.blocks import Block, Command, Figure, Figures, Table, Tiles
from nas.reporting.charts import Chart, bars, lines, scatter, time_unit, timeline
from nas.reporting.importance import chance_level, importance
from nas.utils.files import is_in_use
from nas.utils.terminal import duration
from search_space import Drawable
from search_space.utils.validation import is_number

Section = Callable[[Path, History], Block | None]

TOP = 10
"""How many trials and decisions the tables and bars show."""


def show_facts(folder: Path, history: History) -> Tiles:
    """How far the search is, what it found, what it took."""
    trials = history.trials
    over = sum(trials.counts.values()) - trials.counts["running"]
    hits = trials.counts["cached"] / over if over else 0.0
    tiles = [("state", _state(folder, history)), ("trials", f"{over} of {len(trials.search)} asked")]
    if trials.best is not None:
        tiles.append(("best reward", f"{_reward(history.rows[trials.best]):.4f} (trial {trials.best})"))
    tiles += [
        ("time", duration(trials.seconds)),
        ("workers' time", duration(history.worker_seconds)),
        ("utilization", f"{history.utilization:.0%} of {history.workers}"),
        ("cache hits", f"{trials.counts['cached']} ({hits:.0%})"),
        ("failed", str(trials.counts["failed"])),
    ]
    return Tiles(tiles=tiles)


def show_curves(folder: Path, history: History) -> Figures | None:
    """Every scored trial as a point, and the best so far as a line, by trials and by time."""
    rows = history.scored_rows()
    if not rows:
        return None
    unit, scale = time_unit(history.trials.seconds)
    by_end = sorted(rows, key=lambda row: row.ended_after or 0.0)
    by_time = [((row.ended_after or 0.0) / scale, _reward(row)) for row in by_end]
    by_trial = [(row.number + 1.0, _reward(row)) for row in rows]
    return Figures(figures=[_best_so_far("trial", "trials", by_trial), _best_so_far(unit, unit, by_time)])


def _best_so_far(axis: str, what: str, points: list[tuple[float, float]]) -> Figure:
    x, y = [point[0] for point in points], [point[1] for point in points]
    chart = Chart(axis, "reward", [0.0, *x], y)
    picture = chart.drawn(scatter(chart, x, y) + lines(chart, x, np.maximum.accumulate(y).tolist()))
    return Figure(title=f"Best so far, by {what}", picture=Markup(picture))


def show_costs_and_decisions(folder: Path, history: History) -> Figures | None:
    """Reward over multiply-adds, and the decisions that mattered."""
    figures = [figure for figure in (_costs(history), _decisions(history)) if figure is not None]
    return Figures(figures=figures) if figures else None


def _costs(history: History) -> Figure | None:
    """Reward over multiply-adds, with the Pareto front."""
    rows = [row for row in history.scored_rows() if _has_macs(row)]
    if not rows:
        return None
    x = [row.metrics["macs"] / 1e9 for row in rows]
    y = [_reward(row) for row in rows]
    front: list[tuple[float, float]] = []
    for cost, reward in sorted(zip(x, y, strict=True), key=lambda point: (point[0], -point[1])):
        if not front or reward > front[-1][1]:
            front.append((cost, reward))
    chart = Chart("G multiply-adds", "reward", x, y)
    drawn = scatter(chart, x, y) + lines(chart, [c for c, _ in front], [r for _, r in front])
    return Figure(title="Reward and cost, with the Pareto front", picture=Markup(chart.drawn(drawn)))


def _has_macs(row: TrialRow) -> bool:
    macs = row.metrics.get("macs", 0)
    return is_number(macs) and macs > 0


def _decisions(history: History) -> Figure | None:
    rows = history.scored_rows()
    if len(rows) < TOP:
        return None
    genotypes, rewards = [row.genotype for row in rows], [_reward(row) for row in rows]
    shares, chance = importance(genotypes, rewards), chance_level(genotypes, rewards)
    order = sorted(range(len(shares)), key=lambda i: -shares[i])[:TOP]
    names = [history.decisions[i].name for i in order]
    return Figure(
        title="Decisions that mattered: share of the rewards' variance that each explains alone; "
        "below the dashed line, what chance shows",
        picture=Markup(bars(names, [shares[i] for i in order], chance)),
    )


def show_drawings(folder: Path, history: History) -> Figures | None:
    """The winner beside SpineNet-49, where the winner can be drawn."""
    from search_space import SpecError, load_spec, published_spec

    best = folder / "winners" / "best.json"
    if history.trials.best is None or not best.is_file():
        return None
    try:
        spec = load_spec(best)
    except (SpecError, OSError):
        return None
    if not isinstance(spec, Drawable):
        return None
    figures = [Figure(title="The winner", picture=_drawing(spec))]
    reference = published_spec("spinenet-49")
    if isinstance(spec, type(reference)):
        figures.append(Figure(title="SpineNet-49", picture=_drawing(reference)))
    return Figures(figures=figures)


def _drawing(spec: Drawable) -> Markup:
    """The drawing as an image, whose ids and styles cannot meet those of the page."""
    with TemporaryDirectory() as made:
        text = spec.draw(Path(made) / "spec.svg").read_bytes()
    source = f"data:image/svg+xml;base64,{base64.b64encode(text).decode()}"
    return Markup('<img alt="blocks and connections" src="{}">').format(source)


def show_best_trials(folder: Path, history: History) -> Table | None:
    """The best trials with the metrics of their scores."""
    rows = [row for row in history.scored_rows() if row.status == "completed"]
    rows = sorted(rows, key=lambda row: (-_reward(row), row.number))[:TOP]
    if not rows:
        return None
    metrics = list(rows[0].metrics)[:6]
    cells = [
        [
            str(row.number),
            f"{_reward(row):.4f}",
            *(_number(row.metrics.get(name)) for name in metrics),
            row.key[:12],
        ]
        for row in rows
    ]
    return Table(title="The best trials", head=["trial", "reward", *metrics, "key"], rows=cells)


def show_finalists(folder: Path, history: History) -> Table | None:
    """The finalists' rewards in the final evaluations, best first: the first row is the winner."""
    found = finalist_rewards(history.trials)
    if not found:
        return None
    rows = [
        [
            str(number),
            f"{_reward(history.rows[number]):.4f}",
            f"{fmean(rewards):.4f}",
            ", ".join(f"{reward:.4f}" for reward in rewards),
        ]
        for number, rewards in found.items()
    ]
    fidelity = history.trials.finalists[0].fidelity
    head = ["trial", "reward in the search", "mean of the final evaluations", "each evaluation"]
    return Table(title=f"Finalists, evaluated at fidelity {fidelity:g}", head=head, rows=rows)


def show_workers(folder: Path, history: History) -> Figures | None:
    """When each worker was in a trial."""
    if not history.attempts:
        return None
    names = sorted({attempt.worker for attempt in history.attempts})
    index = {name: i for i, name in enumerate(names)}
    spans = [(index[run.worker], run.began, run.ended, run.status) for run in history.attempts]
    picture = timeline(names, spans, history.trials.seconds)
    title = f"Workers: {history.utilization:.0%} of their time in trials"
    return Figures(figures=[Figure(title=title, picture=Markup(picture))])


def show_failures(folder: Path, history: History) -> Table | None:
    """What went wrong, most frequent first."""
    failed = [(str(row.failure), str(row.message)) for row in history.rows if row.status == "failed"]
    if not failed:
        return None
    rows = [[kind, str(count), message] for (kind, message), count in Counter(failed).most_common(20)]
    return Table(title="Failures", head=["class", "trials", "message"], rows=rows)


def show_command(folder: Path, history: History) -> Command:
    """How to repeat the search."""
    versions = ", ".join(f"{name} {number}" for name, number in history.versions.items())
    config = folder / "config.yaml"
    return Command(
        title="To reproduce",
        text=f"This command repeats the search with {versions}:",
        command=f"nas search --config-dir {shlex.quote(str(folder))} --config-name config run_dir=NEW",
        config=config.read_text() if config.is_file() else "",
    )


SECTIONS: tuple[Section, ...] = (
    show_facts,
    show_curves,
    show_costs_and_decisions,
    show_drawings,
    show_best_trials,
    show_finalists,
    show_workers,
    show_failures,
    show_command,
)


def _state(folder: Path, history: History) -> str:
    if history.trials.finished:
        return f"finished by {history.trials.finished}"
    return "running" if is_in_use(folder) else "stopped before its end"


def _reward(row: TrialRow) -> float:
    """The first reward; -inf for none, which no scored row has."""
    return -math.inf if row.rewards is None else row.rewards[0]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
