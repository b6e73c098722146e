"""`report.html`: what a search has found and what it took, as one static file that opens anywhere.

Everything is read from the journal and the configuration, so that running, killed and failed searches have a
report too. The page has no script and loads nothing: charts are SVG, drawings are images inside the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from nas.journal.history import History, read_history
from nas.reporting.sections import SECTIONS, Section
from nas.utils.files import replace_file
from nas.utils.templates import render
from nas.utils.terminal import counted


def write_report(folder: Path, output: Path | None = None) -> Path:
    """Writes the report of a run folder and returns the file's path.

    Args:
        folder: the run folder.
        output: the file; None for `report.html` in the run folder.

    Raises:
        JournalError: if the folder has no journal, or a damaged one.
        OSError: if the file cannot be written.
    """
    path = folder / "report.html" if output is None else output
    replace_file(path, page(folder, read_history(folder)))
    return path


def page(folder: Path, history: History, sections: Sequence[Section] = SECTIONS) -> str:
    """The whole HTML text.

    Args:
        folder: the run folder.
        history: what its journal tells.
        sections: the parts of the page, from top to bottom.
    """
    blocks = [block for section in sections if (block := section(folder, history)) is not None]
    title = f"Search {folder.resolve().name}"
    return render("nas.reporting", "report.html.j2", title=title, about=_describe(history), blocks=blocks)


def _describe(history: History) -> str:
    """Which search this is, in one line; "" if the journal does not say it."""
    if not history.controller or history.began_at is None:
        return ""
    began = datetime.fromtimestamp(history.began_at, UTC)
    seed = "" if history.seed is None else f", seed {history.seed}"
    workers = counted(history.workers, "worker")
    return f"{history.controller}{seed}, {workers}. Begun on {began:%Y-%m-%d at %H:%M} UTC."
