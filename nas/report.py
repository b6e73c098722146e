"""`report.html`: what a search has found and what it took, as one static file that opens anywhere.

Everything is read from the journal and the configuration, so that running, killed and failed searches have a
report too. No script, no network: charts are SVG, drawings are images inside the file.
"""

from __future__ import annotations

import base64
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from nas.charts import Chart, bars, lines, scatter, time_unit, timeline
from nas.files import is_in_use, replace_file
from nas.importance import chance_level, importance
from nas.journal import look_where_it_began, read_events
from nas.progress import duration
from nas.trials import Trials, trained_again
from proxy_tasks.task import is_number

TOP = 10


@dataclass
class Run:
    """What a report needs of one attempt at a trial.

    Args:
        trial: its number.
        worker: where it ran.
        began, ended: seconds of the search's own time, which stands still while no session runs.
        status: how it ended.
    """

    trial: int
    worker: str
    began: float
    ended: float
    status: str


@dataclass
class History:
    """A search as its journal tells it.

    Args:
        trials: the state that follows from all events.
        rewards: first reward by trial, of those that have one, in the order of their ends.
        ended_at: seconds of the search's own time at which each of them ended.
        metrics: of every score, by trial.
        runs: attempts on workers.
        failures: (class, message) of the failed.
        workers: most at a time, as the sessions tell.
        versions: of the last session.
    """

    trials: Trials = field(default_factory=Trials)
    rewards: dict[int, float] = field(default_factory=dict)
    ended_at: dict[int, float] = field(default_factory=dict)
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    workers: int = 1
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        """Seconds of the workers in trials."""
        return sum(run.ended - run.began for run in self.runs)


def read_history(folder: Path) -> History:
    """The history of a run folder.

    Raises:
        JournalError: if it has no journal, or a damaged one.
    """
    found = History()
    submitted: dict[int, float] = {}
    events = read_events(folder)
    look_where_it_began(events)  # The space may be of the user's own.
    for event in events:
        found.trials.apply(event)
        now, data = found.trials.seconds, event.data
        if event.kind == "session":
            found.workers = max(found.workers, int(data.get("workers", 1)))
            found.versions = {"python": data.get("python", "?"), **data.get("versions", {})}
            submitted.clear()
        elif event.trial is None:
            continue
        elif event.kind == "submitted":
            submitted[event.trial] = now
        elif event.kind == "ended":
            if event.trial in submitted:
                seconds = float(data.get("seconds") or 0.0)
                began = max(submitted.pop(event.trial), now - seconds) if seconds else now
                status = "again" if data["again"] else data["status"]
                found.runs.append(Run(event.trial, str(data.get("worker") or "?"), began, now, status))
            if data["again"]:
                continue
            if data["status"] == "failed":
                found.failures.append((str(data.get("failure")), str(data.get("message"))))
            source = found.trials.all[event.trial].source
            pruned = source is not None and found.trials.all[source].status == "pruned"
            if data.get("rewards") and not pruned and data["status"] in ("completed", "cached"):
                found.rewards[event.trial] = float(data["rewards"][0])
                found.ended_at[event.trial] = now
                found.metrics[event.trial] = data.get("metrics") or {}
    return found


def write_report(folder: Path) -> Path:
    """Writes `report.html` into a run folder.

    Raises:
        JournalError: if it has no journal, or a damaged one.
        OSError: if it cannot be written.
    """
    history = read_history(folder)
    path = folder / "report.html"
    replace_file(path, page(folder, history))
    return path


def page(folder: Path, history: History) -> str:
    """The whole HTML text."""
    trials = history.trials
    state = (
        f"finished by {trials.finished}"
        if trials.finished
        else "running"
        if is_in_use(folder)
        else "stopped before its end"
    )
    config = _text(folder / "config.yaml")
    sections = [
        _facts(folder, history, state),
        _grid(_curve(history, by_time=False), _curve(history, by_time=True)),
        _grid(_costs(history), _decisions(folder, history)),
        _drawings(folder, history),
        _best(history),
        _again(history),
        _workers(history),
        _failures(history),
        _reproduce(folder, history, config),
    ]
    title = escape(f"Search {folder.resolve().name}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{title}</h1>\n" + "\n".join(filter(None, sections)) + "\n</main></body></html>\n"
    )


def _facts(folder: Path, history: History, state: str) -> str:
    trials = history.trials
    over = sum(trials.counts.values()) - trials.counts["running"]
    hits = trials.counts["cached"] / over if over else 0.0
    tiles = [("state", state), ("trials", f"{over} of {len(trials.all)} asked")]
    if trials.best is not None:
        reward = (trials.all[trials.best].rewards or (0.0,))[0]
        tiles.append(("best reward", f"{reward:.4f} (trial {trials.best})"))
    tiles += [
        ("time", duration(trials.seconds)),
        ("workers' time", duration(history.spent)),
        ("utilisation", f"{_utilisation(history):.0%} of {history.workers}"),
        ("cache hits", f"{trials.counts['cached']} ({hits:.0%})"),
        ("failed", str(trials.counts["failed"])),
    ]
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in tiles)
    return f"<dl>{cells}</dl>"


def _utilisation(history: History) -> float:
    """Share of the workers' time that went into trials."""
    whole = history.trials.seconds * history.workers
    return min(1.0, history.spent / whole) if whole > 0 else 0.0


def _curve(history: History, by_time: bool) -> str:
    """Every scored trial as a point, and the best so far as a line."""
    numbers = list(history.rewards) if by_time else sorted(history.rewards)
    if not numbers:
        return ""
    unit, scale = time_unit(history.trials.seconds)
    x = [history.ended_at[n] / scale if by_time else n + 1.0 for n in numbers]
    y = [history.rewards[n] for n in numbers]
    best = np.maximum.accumulate(y).tolist()
    chart = Chart(unit if by_time else "trial", "reward", [0.0, *x], y)
    drawn = scatter(chart, x, y) + lines(chart, x, best)
    return _figure(f"Best so far, by {unit if by_time else 'trials'}", chart.drawn(drawn))


def _costs(history: History) -> str:
    """Reward over multiply-adds, with the Pareto front."""
    numbers = [n for n, m in history.metrics.items() if is_number(m.get("macs")) and m["macs"] > 0]
    if not numbers:
        return ""
    x = [history.metrics[n]["macs"] / 1e9 for n in numbers]
    y = [history.rewards[n] for n in numbers]
    front: list[tuple[float, float]] = []
    for cost, reward in sorted(zip(x, y, strict=True), key=lambda point: (point[0], -point[1])):
        if not front or reward > front[-1][1]:
            front.append((cost, reward))
    chart = Chart("G multiply-adds", "reward", x, y)
    drawn = scatter(chart, x, y) + lines(chart, [c for c, _ in front], [r for _, r in front])
    return _figure("Reward and cost, with the Pareto front", chart.drawn(drawn))


def _decisions(folder: Path, history: History) -> str:
    from nas.config import ConfigError, build, read_config

    numbers = sorted(history.rewards)
    if len(numbers) < TOP:
        return ""
    try:
        config = read_config(folder / "config.yaml")
        names = [decision.name for decision in build(config.space, "space").decisions]
    except (ConfigError, AttributeError, ValueError):
        names = [f"decision {i}" for i in range(len(history.trials.genotype(numbers[0])))]
    genotypes = [history.trials.genotype(n) for n in numbers]
    rewards = [history.rewards[n] for n in numbers]
    shares, chance = importance(genotypes, rewards), chance_level(genotypes, rewards)
    order = sorted(range(len(shares)), key=lambda i: -shares[i])[:TOP]
    drawn = bars([names[i] for i in order], [shares[i] for i in order], chance)
    title = "Decisions that mattered: share of the rewards' variance each explains alone; "
    return _figure(f"{title}below the dashed line, what chance shows", drawn)


def _drawings(folder: Path, history: History) -> str:
    """The winner beside SpineNet-49."""
    from search_space import SpecError, load_spec, published_spec

    best = folder / "winners" / "best.json"
    if history.trials.best is None or not best.is_file():
        return ""
    try:
        spec = load_spec(str(best))
    except (SpecError, OSError):
        return ""
    pictures = ("The winner", spec), ("SpineNet-49", published_spec("spinenet-49"))
    return _grid(*(_figure(name, _image(part)) for name, part in pictures))


def _image(spec: Any) -> str:
    from search_space.drawing import draw_spec

    with TemporaryDirectory() as made:
        text = draw_spec(spec, Path(made) / "spec.svg", "").read_bytes()
    code = base64.b64encode(text).decode()
    return f'<img alt="blocks and connections" src="data:image/svg+xml;base64,{code}">'


def _best(history: History) -> str:
    numbers = sorted(history.rewards, key=lambda n: (-history.rewards[n], n))
    numbers = [n for n in numbers if history.trials.all[n].status == "completed"][:TOP]
    if not numbers:
        return ""
    names = list(history.metrics[numbers[0]])[:6]
    head = ["trial", "reward", *names, "key"]
    rows = [
        [
            str(n),
            f"{history.rewards[n]:.4f}",
            *(_number(history.metrics[n].get(name)) for name in names),
            history.trials.all[n].key[:12],
        ]
        for n in numbers
    ]
    return f"<h2>The best trials</h2>{_table(head, rows)}"


def _again(history: History) -> str:
    """The best trials' rewards when trained again, best first: the first row is the winner."""
    found = trained_again(history.trials)
    if not found:
        return ""
    rows = [
        [
            str(number),
            f"{history.rewards[number]:.4f}",
            f"{fmean(rewards):.4f}",
            ", ".join(f"{reward:.4f}" for reward in rewards),
        ]
        for number, rewards in found.items()
    ]
    fidelity = history.trials.retrained[0]["fidelity"]
    head = ["trial", "reward in the search", "mean again", "each time"]
    return f"<h2>The best, trained again at fidelity {fidelity:g}</h2>{_table(head, rows)}"


def _workers(history: History) -> str:
    if not history.runs:
        return ""
    names = sorted({run.worker for run in history.runs})
    spans = [(names.index(run.worker), run.began, run.ended, run.status) for run in history.runs]
    drawn = timeline(names, spans, history.trials.seconds)
    return _figure(f"Workers: {_utilisation(history):.0%} of their time in trials", drawn)


def _failures(history: History) -> str:
    if not history.failures:
        return ""
    counted = Counter(history.failures).most_common(20)
    rows = [[kind, str(count), message] for (kind, message), count in counted]
    return f"<h2>Failures</h2>{_table(['class', 'trials', 'message'], rows)}"


def _reproduce(folder: Path, history: History, config: str) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in history.versions.items())
    command = f"nas search --config-dir {shlex.quote(str(folder))} --config-name config run_dir=NEW"
    again = f"<p>The same search again: <code>{escape(command)}</code>, with {escape(versions)}.</p>"
    shown = f"<details><summary>Configuration</summary><pre>{escape(config)}</pre></details>"
    return f"<h2>To reproduce</h2>{again}{shown if config else ''}"


def _figure(title: str, inner: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{inner}</figure>"


def _grid(*figures: str) -> str:
    shown = "".join(figures)
    return f'<div class="grid">{shown}</div>' if shown else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return (
        f'<div class="wide"><table><thead>{row(head, "th")}</thead>'
        f"<tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table></div>"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5b6875;--line:#d7dde3;--paper:#fff;--panel:#f6f8fa;
--point:#4c78a8;--best:#d1495b;--ok:#4c78a8;--bad:#d1495b;--cut:#e0a030}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ee;--soft:#9aa7b3;--line:#37424d;--paper:#14191f;
--panel:#1c232b;--point:#7fa8d6;--best:#ff7b8a;--ok:#7fa8d6;--bad:#ff7b8a;--cut:#f0bd5a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1100px;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:1.5rem 0 .5rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.6rem;margin:0 0 1rem}
dl div{background:var(--panel);border-radius:8px;padding:.6rem .8rem}
dt{color:var(--soft);font-size:.8rem}dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:1rem}
figure{margin:0 0 1rem;background:var(--panel);border-radius:8px;padding:.8rem;min-width:0}
figcaption{font-weight:600;margin-bottom:.4rem}
svg,img{display:block;width:100%;max-width:640px;margin:0 auto;height:auto}
img{background:#fff;border-radius:4px}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
.wide{overflow-x:auto;margin-bottom:1rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td{max-width:40rem}
th{color:var(--soft);font-weight:500}
pre{overflow-x:auto;background:var(--panel);padding:.8rem;border-radius:8px}
code{overflow-wrap:anywhere}
"""
