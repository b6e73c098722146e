"""What runs right now, for the terminal: trials and trainings with their step, loss and time left."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.utils.terminal import duration, show_reward

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    from nas.journal.trials import Trials
    from proxy_tasks.engine.progress import Progress

MOST_ROWS = 10
"""So many rows are shown; the others are counted."""

PLAIN_SECONDS = 60.0
"""How often a line is printed where there is no terminal."""

FIRST_SECONDS = 10.0
"""When the first of these lines is printed: nobody should wonder for a minute whether anything happens."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial or a training that runs.

    Args:
        name: such as "trial 3".
        seconds: how long it has run; None if that is not known.
        progress: the note that it writes; None before the first.
        report: step and reward of its last report.
    """

    name: str
    seconds: float | None = None
    progress: Progress | None = None
    report: tuple[int, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON; what is not known is left out."""
        data: dict[str, Any] = {"name": self.name}
        if self.seconds is not None:
            data["seconds"] = round(self.seconds, 3)
        if self.progress is not None:
            data |= {
                "step": self.progress.step,
                "steps": self.progress.steps,
                "loss": self.progress.loss,
                "learning_rate": self.progress.learning_rate,
                "images_per_second": self.progress.images_per_second,
                "seconds_left": self.progress.seconds_left,
            }
        if self.report is not None:
            data["report"] = {"step": self.report[0], "reward": self.report[1]}
        return data


def trials_left(trials: Trials, budget: int) -> float:
    """How many evaluations a search still needs, those that run included.

    Each proposal that is left counts with as many promotions as each of those before has had.

    Args:
        trials: of the search.
        budget: proposals that it may make.
    """
    over = trials.proposals_over
    return (budget - over) * (1 + trials.promotions / max(1, over)) + trials.running_promotions


def seconds_left(trials: float, taken: Sequence[float], running: Sequence[float], workers: int) -> float:
    """How long a search will take yet, if its trials take as long as those that have ended.

    Args:
        trials: how many have not ended; see `trials_left`.
        taken: seconds of those that have ended, at least one.
        running: seconds for which those that run have run.
        workers: how many are ready.
    """
    return max(0.0, trials * sum(taken) / len(taken) - sum(running)) / max(1, workers)


def read_note(folder: Path) -> Progress | None:
    """The note of a trial, or of a training on an executor, in its folder."""
    # The first imports numpy, the second random numbers for names of files: `nas --help` needs neither.
    from nas.executors.job import CHECKPOINT
    from proxy_tasks.engine.progress import read_progress

    return read_progress(folder / CHECKPOINT)


HEAD = ("", "step", "loss", "images/s", "left", "last report", "running for")


def running_cells(running: Running) -> tuple[str, ...]:
    """The texts of a row below `HEAD`; what is not known is empty."""
    found = running.progress
    step = "" if found is None else f"{found.step}/{found.steps}"
    loss = "" if found is None or found.loss is None else f"{found.loss:.4f}"
    pace = "" if found is None or found.images_per_second is None else f"{found.images_per_second:.1f}"
    left = "" if found is None or found.seconds_left is None else duration(found.seconds_left)
    report = "" if running.report is None else f"{show_reward(running.report[1])} at step {running.report[0]}"
    seconds = "" if running.seconds is None else duration(running.seconds)
    return (running.name, step, loss, pace, left, report, seconds)


def running_line(running: Running) -> str:
    """Says in one phrase how far a trial is, such as "trial 3: step 120/560, loss 1.2345, 40 s left"."""
    name, step, loss, pace, left, report, seconds = running_cells(running)
    known = [f"step {step}"] if step else []
    known += [f"loss {loss}"] if loss else []
    known += [f"{pace} images/s"] if pace else []
    known += [f"{left} left"] if left else []
    known += [f"reward {report}"] if report else []
    known += [f"running for {seconds}"] if seconds and not known else []
    return f"{name}: {', '.join(known)}" if known else name


def running_table(rows: Sequence[Running]) -> Table:
    """A table of the first rows; the others are counted below. Columns that are empty are left out."""
    from rich.table import Table
    from rich.text import Text

    cells = [running_cells(row) for row in rows[:MOST_ROWS]]
    shown = [i for i, name in enumerate(HEAD) if not name or any(row[i] for row in cells)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for i in shown:
        table.add_column(HEAD[i], justify="left" if i == 0 else "right", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(row[i]) for i in shown))
    if len(rows) > MOST_ROWS:
        table.add_row(f"and {len(rows) - MOST_ROWS} more")
    return table


class LiveBoard:
    """Keeps a heading and a table of what runs at the bottom of a terminal; elsewhere prints lines.

    The board is drawn on standard error, so that standard output can be piped.

    Args:
        heading: gives the line above the table.
        running: gives what runs. Both are called from another thread.
        every: seconds between two lines where standard error is no terminal.
        say: prints such a line; None for standard output.
    """

    def __init__(
        self,
        heading: Callable[[], str],
        running: Callable[[], list[Running]],
        every: float = PLAIN_SECONDS,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._heading, self._running, self._every = heading, running, every
        self._say = say if say is not None else partial(print, flush=True)
        self._over = threading.Event()
        self._live: Live | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to show."""
        if not sys.stderr.isatty():
            self._thread = threading.Thread(target=self._print_now_and_then, daemon=True)
            self._thread.start()
            return
        import atexit

        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            get_renderable=self._render,
            console=Console(stderr=True),
            refresh_per_second=1,
            transient=True,
            # What is printed meanwhile appears above the board.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start()
        atexit.register(self._live.stop)  # A board that is cut off must give the cursor back.

    def stop(self) -> None:
        """Takes the board away."""
        self._over.set()
        if self._live is not None:
            import atexit

            self._live.stop()
            atexit.unregister(self._live.stop)
            self._live = None

    def _render(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        rows = self._running()
        heading = Text(self._heading(), no_wrap=True, overflow="ellipsis")
        return Group(heading, running_table(rows)) if rows else Group(heading)

    def _print_now_and_then(self) -> None:
        wait = min(FIRST_SECONDS, self._every)
        while not self._over.wait(wait):
            wait, rows = self._every, self._running()
            more = [f"and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
            with suppress(OSError, ValueError):  # Whoever read has gone.
                self._say("; ".join([self._heading(), *map(running_line, rows[:MOST_ROWS]), *more]))
