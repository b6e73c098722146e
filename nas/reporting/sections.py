"""The sections of a search's report, from top to bottom.

A section is a function that takes the run folder and its history and returns a block, or None where it has
nothing to show. To add one, write such a function and add it to `SECTIONS`.
"""

from __future__ import annotations

import base64
import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import time

import numpy as np
from markupsafe import Markup

from nas.journal.best_so_far import improvements
from nas.journal.budget import read_budget
from nas.journal.history import History, TrialRow
from nas.journal.trials import END_REASONS, finalist_rewards, named_rewards
from nas.reporting.blocks import Block, Command, Commands, Figure, Figures, Note, Table, Tiles
from nas.reporting.charts import Chart, bars, legend, lines, polylines, scatter, time_unit, timeline
from nas.reporting.importance import chance_level, importance
from nas.reporting.short_trainings import show_short_trainings
from nas.reporting.versus import show_versus, show_versus_dots
from nas.utils.files import is_in_use
from nas.utils.run_files import config_file, winner_file
from nas.utils.terminal import counted, describe_pace, duration, show_reward
from proxy_tasks.metrics import is_measured
from search_space import Drawable, Spec
from search_space.utils.parsing import ParseError, read_bounded
from search_space.utils.validation import is_number

Section = Callable[[Path, History], Block | None]

MAX_CONFIG_BYTES = 1 << 18

TOP = 10
"""How many trials and decisions the tables and bars show."""

FRONT = 50
"""How many trials of the Pareto front the table shows."""

METRICS = 4
"""How many metrics besides the costs the table of trials shows."""

COSTS = ("params", "macs", "latency_ms", "memory_mib")
"""Metrics that say what a network costs, not how good it is."""

CURVES = 300
"""How many learning curves are drawn; of more, the latest."""

FEW_CURVES, POINTS = 50, 40
"""Of more curves than this, each has at most so many points."""

NO_VALUE = "\u2013"
"""Stands in a table where there is no number."""


def show_facts(folder: Path, history: History) -> Tiles:
    """How far the search is, what it found, what it took."""
    trials = history.trials
    over = trials.proposals_over
    hits = trials.counts["cached"] / over if over else 0.0
    budget = read_budget(folder) or 0
    whole = max(budget, len(trials.proposed))
    seconds = trials.seconds
    if history.last_at is not None and is_in_use(folder):
        seconds += max(0.0, time() - history.last_at)
    tiles = [
        ("state", describe_state(folder, history)),
        ("trials", f"{over} of {whole} have ended"),
    ]
    if trials.promotions:
        tiles.append(("promotions", str(trials.promotions)))
    if trials.best is not None:
        tiles.append(
            ("best reward", f"{show_reward(_reward(history.rows[trials.best]))} (trial {trials.best})")
        )
    if trials.picked in trials.expected:
        expected = show_reward(trials.expected[trials.picked])
        tiles.append(("winner", f"trial {trials.picked}, expected {expected}"))
    tiles += [
        ("time", duration(seconds)),
        ("workers' time", duration(history.worker_seconds)),
        ("utilization", f"{history.utilization:.0%} of {counted(history.activity.ready, 'worker')}"),
        ("pace", describe_pace(history.activity.trials_an_hour(seconds))),
        ("cache hits", f"{trials.counts['cached']} ({hits:.0%})"),
        ("failed", str(trials.counts["failed"])),
    ]
    return Tiles(tiles=tiles)


def show_why_it_stopped(folder: Path, history: History) -> Note | None:
    """The most frequent failure, where a search with failures stopped before its end."""
    failures = _count_failures(history)
    if not failures or history.trials.finished or is_in_use(folder):
        return None
    counts = history.trials.counts
    over = sum(counts.values()) - counts["running"]
    (kind, message), _ = failures[0]
    return Note(
        text=f"{counts['failed']} of {over} trials failed. The most frequent failure is of the class {kind}: "
        f"{message}"
    )


def show_curves(folder: Path, history: History) -> Figures | None:
    """Every scored trial as a point, and the best so far as a line, by trials and by time."""
    rows = history.scored_rows()
    if not rows:
        return None
    unit, scale = time_unit(history.trials.seconds)
    by_end = sorted(rows, key=lambda row: row.ended_after or 0.0)
    by_time = [((row.ended_after or 0.0) / scale, _reward(row)) for row in by_end]
    by_trial = [(float(row.number), _reward(row)) for row in rows]
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


def show_insights(folder: Path, history: History) -> Figures | None:
    """Learning curves, the Pareto front, reward over multiply-adds, and decisions and rewards."""
    learning = show_learning(folder, history)
    figures = [] if learning is None else list(learning.figures)
    figures += [
        figure for figure in (_front(history), _costs(history), _decisions(history)) if figure is not None
    ]
    return Figures(figures=figures) if figures else None


def _front(history: History) -> Figure | None:
    """The first two rewards of every trial, with the trials that no other beats in all rewards in front."""
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


def _costs(history: History) -> Figure | None:
    """Reward over multiply-adds, with the best reward up to each cost."""
    rows = [row for row in history.scored_rows() if _has_macs(row)]
    if not rows:
        return None
    x = [row.metrics["macs"] / 1e9 for row in rows]
    y = [_reward(row) for row in rows]
    front = improvements(sorted(zip(x, y, strict=True), key=lambda point: (point[0], -point[1])))
    chart = Chart("G multiply-adds", "reward", x, y)
    costs, rewards = [step.at for step in front], [step.best for step in front]
    drawn = scatter(chart, x, y) + lines(chart, costs, rewards) + scatter(chart, costs, rewards, "--best")
    key = legend([("--point", "a trial"), ("--best", "best reward up to this cost")])
    return Figure(title="Reward and cost", picture=Markup(chart.drawn(drawn) + key))


def _has_macs(row: TrialRow) -> bool:
    macs = row.metrics.get("macs", 0)
    return is_number(macs) and macs > 0


def _decisions(history: History) -> Figure | None:
    """What the answer to each decision tells of the rewards, each network counted once."""
    found = _own_rewards(history)
    if len(found) < TOP:
        return None
    genotypes, rewards = [genotype for genotype, _ in found], [reward for _, reward in found]
    shares, chance = importance(genotypes, rewards), chance_level(genotypes, rewards)
    order = sorted(range(len(shares)), key=lambda i: -shares[i])[:TOP]
    names = [history.decisions[i].name for i in order]
    return Figure(
        title="Decisions and rewards",
        about="The share of the rewards' variance that each decision explains alone. "
        + (
            "A share left of the dashed mark may be due to chance."
            if max(shares) > chance
            else "All may be due to chance, as none is beyond the dashed mark."
        ),
        picture=Markup(bars(names, [shares[i] for i in order], chance)),
    )


def _own_rewards(history: History) -> list[tuple[tuple[int, ...], float]]:
    """Genotype and mean reward of each network that was evaluated; a score that is shared counts once."""
    rows: dict[str, list[TrialRow]] = {}
    for row in history.scored_rows():
        if row.status == "completed":
            rows.setdefault(row.key, []).append(row)
    return [(found[0].genotype, fmean(map(_reward, found))) for found in rows.values()]


def show_drawings(folder: Path, history: History) -> Figures | None:
    """The winner beside SpineNet-49, where the winner can be drawn."""
    from search_space import published_spec

    spec = _winner(folder)
    if history.trials.best is None or not isinstance(spec, Drawable):
        return None
    figures = [Figure(title="The winner", picture=_drawing(spec))]
    reference = published_spec("spinenet-49")
    if isinstance(spec, type(reference)):
        figures.append(Figure(title="SpineNet-49", picture=_drawing(reference)))
    return Figures(figures=figures)


def _winner(folder: Path) -> Spec | None:
    """The winner's spec, if it is one that our commands can read."""
    from search_space import SpecError, load_spec

    best = winner_file(folder)
    try:
        return load_spec(best) if best.is_file() else None
    except (SpecError, OSError):
        return None


def _drawing(spec: Drawable) -> Markup:
    """The drawing as an image, whose ids and styles cannot meet those of the page."""
    with TemporaryDirectory() as made:
        text = spec.draw(Path(made) / "spec.svg").read_bytes()
    source = f"data:image/svg+xml;base64,{base64.b64encode(text).decode()}"
    return Markup('<div class="wide"><img alt="blocks and connections" src="{}"></div>').format(source)


def show_best_trials(folder: Path, history: History) -> Table | None:
    """The best trials with the metrics of their scores, and what is expected of their networks."""
    rows = [row for row in history.scored_rows() if row.status == "completed"]
    rows = sorted(rows, key=lambda row: (-_reward(row), row.number))[:TOP]
    if not rows:
        return None
    metrics, expected = _shown_metrics(rows), history.trials.expected
    if all(expected.get(row.number) in (None, _reward(row)) for row in rows):
        expected = {}  # It tells nothing more.
    cells = [
        [
            str(row.number),
            show_reward(_reward(row)),
            *([_number(expected.get(row.number))] if expected else []),
            *(_number(row.metrics.get(name)) for name in metrics),
            row.key[:12],
        ]
        for row in rows
    ]
    head = ["trial", "reward", *(["expected"] if expected else []), *metrics, "key"]
    return Table(title="The best trials", head=head, rows=cells)


def _shown_metrics(rows: Sequence[TrialRow]) -> list[str]:
    """Metrics for a table: the first ones, then the costs; none that only repeats the reward."""
    names = dict.fromkeys(n for row in rows for n, value in row.metrics.items() if is_measured(n, value))
    repeated = {name for name in names if all(row.metrics.get(name) == _reward(row) for row in rows)}
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
            show_reward(_reward(history.rows[number])),
            show_reward(fmean(rewards)),
            _number(history.trials.expected.get(number)),
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


def show_workers(folder: Path, history: History) -> Figures | None:
    """When each worker was in a trial."""
    if not history.attempts:
        return None
    names = sorted({attempt.worker for attempt in history.attempts})
    index = {name: i for i, name in enumerate(names)}
    spans = [(index[run.worker], run.began, run.ended, run.status) for run in history.attempts]
    picture = timeline(names, spans, history.trials.seconds)
    title = f"Workers: {history.utilization:.0%} of their time in trials"
    about = "Each row is a worker's process; a resume starts new ones."
    return Figures(figures=[Figure(title=title, about=about, picture=Markup(picture))])


def show_machines(folder: Path, history: History) -> Table | None:
    """Which machines the workers were on last, and what was set aside."""
    fleet = history.activity.fleet
    if fleet is None or (len(fleet.workers) < 2 and not fleet.aside):
        return None
    rows = [[group.node, group.device, str(group.count)] for group in fleet.workers]
    rows += [
        [one.describe(), f"set aside for {duration(one.seconds)}: {one.why}", "0"] for one in fleet.aside
    ]
    return Table(title="Machines", head=["machine", "device", "workers"], rows=rows)


def show_failures(folder: Path, history: History) -> Table | None:
    """What went wrong, most frequent first."""
    failures = _count_failures(history)
    if not failures:
        return None
    rows = [[kind, str(count), message] for (kind, message), count in failures[:20]]
    more = [f"{len(failures) - 20} rarer messages are not shown."] if len(failures) > 20 else []
    return Table(title="Failures", head=["class", "trials", "message"], rows=rows, notes=more)


def _count_failures(history: History) -> list[tuple[tuple[str, str], int]]:
    """Class and message of every failure with the number of its trials, most frequent first."""
    failed = [(str(row.failure), str(row.message)) for row in history.rows if row.status == "failed"]
    return Counter(failed).most_common()


def show_next(folder: Path, history: History) -> Commands:
    """What one types next: it depends on how the search stands, and on who started it."""
    run, can_resume = shlex.quote(str(folder)), is_of_command_line(folder)
    steps = []
    if _winner(folder) is not None:
        winner = shlex.quote(str(winner_file(folder)))
        train = " ".join(["nas train", f"spec={winner}", *_task_words(folder)])
        steps.append(("Train the winner in full. Give changed settings of the search's task again:", train))
        steps.append(("Look at the winner's blocks:", f"nas spec show {winner}"))
    over = len(history.trials.proposed)
    if history.trials.finished and can_resume:
        steps.append(("Continue with twice as many trials:", f"nas resume {run} trials={2 * max(1, over)}"))
    elif not history.trials.finished and is_in_use(folder):
        steps.insert(0, ("See how far the search is:", f"nas status {run}"))
    elif not history.trials.finished and can_resume:
        steps.insert(0, ("Continue where the search stopped:", f"nas resume {run}"))
    if history.rows:
        steps.append(("Write all trials into a table:", f"nas trials {run} trials.csv"))
    return Commands(title="What you can do next", commands=steps)


PLAIN_ROOT = re.compile(r"^ {4}root: ([\w./-]+)$", re.MULTILINE)
"""The folder of the images in a configuration, if it needs no quotes anywhere."""


def _task_words(folder: Path) -> list[str]:
    """What names the task and the images of a search again, as far as its configuration tells.

    The configuration may come from elsewhere, so that it is not parsed but looked at.
    """
    _, _, task = ("\n" + _shown_config(config_file(folder))).partition("\ntask:\n")
    task = re.split(r"^\S", task, maxsplit=1, flags=re.MULTILINE)[0]
    root = PLAIN_ROOT.search(task)
    if root is None:
        return []
    named = {
        "proxy_tasks.LabeledImages": "task=classification",
        "search_space.MaskRCNNHead": "task=mask-rcnn-cpu",
        "search_space.FCOSHead": "task.head=fcos-small",
    }
    words = [word for target, word in named.items() if f"_target_: {target}\n" in task]
    return [*words[:1], *([] if root[1] == "null" else [f"task.data.root={root[1]}"])]


def show_command(folder: Path, history: History) -> Command:
    """How to repeat the search."""
    versions = ", ".join(f"{name} {number}" for name, number in history.versions.items())
    if not is_of_command_line(folder):
        return Command(
            title="To reproduce",
            text=f"This search was started from Python with {versions}. The same call in another folder "
            "repeats it; in the same folder, resume=True continues it:",
            command="nas.run_search(space, controller, task, executor, trials, folder, config=config)",
        )
    config = config_file(folder)
    return Command(
        title="To reproduce",
        text=f"This command repeats the search with {versions}:",
        command=f"nas search --config-dir {shlex.quote(str(folder))} --config-name config run_dir=NEW",
        config=_shown_config(config),
    )


def _shown_config(path: Path) -> str:
    """The configuration as a text; "" if it cannot be shown, or is only a link to a file of somebody's."""
    if path.is_symlink():
        return ""
    try:
        return read_bounded(path, MAX_CONFIG_BYTES)
    except (OSError, ParseError):
        return ""


SECTIONS: tuple[Section, ...] = (
    show_facts,
    show_why_it_stopped,
    show_curves,
    show_insights,
    show_drawings,
    show_best_trials,
    show_front,
    show_finalists,
    show_short_trainings,
    show_versus_dots,
    show_versus,
    show_workers,
    show_machines,
    show_failures,
    show_next,
    show_command,
)


def is_of_command_line(folder: Path) -> bool:
    """Whether `nas search` made the folder, so that commands can continue and repeat the search."""
    return config_file(folder).is_file()


def describe_state(folder: Path, history: History) -> str:
    """How a search stands: finished and why, running, or stopped before its end."""
    if history.trials.finished:
        return f"finished: {END_REASONS.get(history.trials.finished, history.trials.finished)}"
    return "running" if is_in_use(folder) else "stopped before its end"


def _reward(row: TrialRow) -> float:
    """The first reward; -inf for none, which no scored row has."""
    return -math.inf if row.rewards is None else row.rewards[0]


def _number(value: float | None) -> str:
    if value is None or not is_number(value):
        return NO_VALUE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
