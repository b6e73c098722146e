"""What went wrong in a search: its failures by how frequent they are, and why it stopped."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from nas.journal.history import History
from nas.reporting.blocks import Note, Table
from nas.utils.files import is_in_use


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
