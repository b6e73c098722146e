"""The workers of a search: when each was in a trial, and which machines they were on."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from nas.journal.history import History
from nas.reporting.blocks import Figure, Figures, Table
from nas.reporting.charts import timeline
from nas.utils.terminal import duration


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
