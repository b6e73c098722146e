"""Progress of a search and of a training. What is redrawn goes to standard error, if that is a terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.live_board import MOST_ROWS, LiveBoard, Running, read_note, seconds_left, trials_left
from nas.journal.activity import Activity
from nas.utils.run_folder import short_path
from nas.utils.terminal import counted, duration, paint, show_reward, visible
from proxy_tasks.engine.progress import Progress, read_progress

if TYPE_CHECKING:
    from nas.journal.event import Event
    from nas.journal.trials import Trial, Trials

STATUS_COLORS = {"failed": "red", "pruned": "yellow", "paused": "yellow", "cached": "dim"}

TRAINING_SECONDS = 30.0
"""How often `nas train` prints a line where there is no terminal."""

BAR_SECONDS = 0.5
"""How often its bar looks for news."""


@dataclass
class _Begun:
    """A trial that runs: when it began, by this process's clock, and its last report."""

    at: float
    report: tuple[int, float] | None = None


class SearchProgress:
    """Prints one line a trial on standard output, and keeps what runs in sight.

    Args:
        budget: of the search, in trials.
        folder: of the run.
        resumed: whether the search was cut off before.
    """

    def __init__(self, budget: int, folder: Path, resumed: bool) -> None:
        self.budget, self.folder, self.resumed = budget, folder, resumed
        self.started, self.first, self.over = time.monotonic(), -1, 0
        self._activity, self._taken = Activity(), list[float]()
        self._best = self._finalists = ""
        self._trials_left = float(budget)
        self._begun: dict[int, _Begun] = {}
        self._lock = threading.Lock()
        self._board = LiveBoard(self._heading, self._running)

    def on_event(self, event: Event, trials: Trials) -> None:
        """Prints the beginning of a session, which failed trials it runs again and the end of a trial."""
        self._activity.apply(event, trials.seconds)
        self._trials_left = trials_left(trials, self.budget)
        if event.kind == "session":
            _print(f"{'resuming' if self.resumed else 'searching'} in {short_path(self.folder)}")
            if event.data.get("recalled"):
                _print(_describe_recalled(event.data["recalled"]))
            self.over = trials.proposals_over
            self._board.start()
            return
        if event.kind == "retried":
            _print(_describe_retried(event.data["trials"]))
            return
        number = event.trial
        if number is None:
            return
        with self._lock:
            if event.kind == "submitted":
                self._begun[number] = _Begun(time.monotonic())
            elif event.kind == "reported" and number in self._begun:
                self._begun[number].report = (event.data["step"], event.data["reward"])
            elif event.kind == "ended":
                self._begun.pop(number, None)
                if event.data.get("seconds"):
                    self._taken.append(event.data["seconds"])
        if event.kind == "ended" and not event.data["retry"]:
            trial = trials.all[number]
            describe = _describe_trial if trial.finalist_of is None else _describe_finalist
            self.over = trials.proposals_over
            if self.first < 0:
                self.first = self.over - 1
            self._best, self._finalists = _describe_best(trials), _count_finalists(trials)
            _print(describe(trial, event.data, trials))

    def close(self) -> None:
        """Takes away what is kept in sight."""
        self._board.stop()

    def _heading(self) -> str:
        passed = time.monotonic() - self.started
        if self.first < 0:
            done, more = f"{self.over}/{self.budget} done", "further " if self.over else ""
            if self.over >= self.budget:
                return done
            return f"{done}, no {more}trial has ended yet in {duration(passed)}"
        if self._finalists != "0/0":
            return f"evaluating the finalists, {self._finalists} done"
        rate = (self.over - self.first) / max(passed, 1e-9)
        left = self._left()
        best = self._best or "no score"
        return (
            f"{self.over}/{self.budget} done, {len(self._begun)} running, {best}, "
            f"{rate * 3600:.0f} trials/h, {left} left"
        )

    def _left(self) -> str:
        if not self._taken:
            return "unknown time"
        now = time.monotonic()
        with self._lock:
            running = [now - found.at for found in self._begun.values()]
        return duration(seconds_left(self._trials_left, self._taken, running, self._activity.ready))

    def _running(self) -> list[Running]:
        now = time.monotonic()
        with self._lock:
            begun = sorted(self._begun.items())
        return [
            Running(
                name=f"trial {number}",
                seconds=now - found.at,
                # No more are shown, and with hundreds of workers there would be much to read.
                progress=read_note(self.folder / "trials" / str(number)) if i < MOST_ROWS else None,
                report=found.report,
            )
            for i, (number, found) in enumerate(begun)
        ]


@contextmanager
def training_progress(folder: Path, every: float = TRAINING_SECONDS) -> Iterator[None]:
    """Shows for a block where a folder's training is: a bar on a terminal, elsewhere a line now and then.

    It reads the note that the training writes, so that it works for trainings in other processes too.

    Args:
        folder: of the training.
        every: seconds between two lines where standard error is no terminal.
    """
    terminal, over = sys.stderr.isatty(), threading.Event()
    last = read_progress(folder)  # An earlier session may have left it.

    def follow(show: Callable[[Progress], None], seconds: float) -> None:
        nonlocal last
        while not over.wait(seconds):
            found = read_progress(folder)
            if found is not None and found != last:
                last = found
                show(found)

    with ExitStack() as stack:
        how = (stack.enter_context(_bar()), BAR_SECONDS) if terminal else (_print_progress, every)
        threading.Thread(target=follow, args=how, daemon=True).start()
        stack.callback(over.set)
        yield


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """A progress bar on standard error; what is printed meanwhile appears above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[more]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    with bars:
        task = bars.add_task("", total=None, more="the first steps")

        def show(found: Progress) -> None:
            bars.update(task, completed=found.step, total=found.steps, more=", ".join(_describe(found)))

        yield show


def _print_progress(found: Progress) -> None:
    with suppress(OSError, ValueError):  # Whoever read has gone.
        print(", ".join([f"step {found.step}/{found.steps}", *_describe(found)]), flush=True)


def _describe(found: Progress) -> list[str]:
    """What is known of a training besides its step."""
    values = (
        (found.loss, "loss {:.4f}"),
        (found.learning_rate, "learning rate {:.3g}"),
        (found.images_per_second, "{:.1f} images/s"),
    )
    left = [] if found.seconds_left is None else [f"{duration(found.seconds_left)} left"]
    return [*(text.format(value) for value, text in values if value is not None), *left]


def _print(line: str) -> None:
    try:
        print(line.rstrip(), flush=True)
    except BrokenPipeError:  # Whoever read has gone; the search goes on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe_recalled(count: int) -> str:
    what = counted(count, "recorded proposal or promotion", "recorded proposals and promotions")
    why = "another processor, other versions of packages, or another table of a prior"
    return f"{what} would be chosen otherwise now ({why}); the search goes on from the record"


def _describe_retried(numbers: list[int]) -> str:
    listed = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return f"running {counted(len(numbers), 'failed trial')} again: {listed}"


def _describe_trial(trial: Trial, ended: dict[str, Any], trials: Trials) -> str:
    reward = "" if trial.rewards is None else " ".join(map(show_reward, trial.rewards))
    what = reward or visible(ended["message"])
    seconds = f"{ended['seconds']:.0f} s" if ended["seconds"] else ""
    status = paint(f"{trial.status:<9}", STATUS_COLORS.get(trial.status, ""), sys.stdout)
    best = paint(_describe_best(trials), "green" if trials.best == trial.number else "", sys.stdout)
    return f"trial {trial.number:<5} {status} {what:<12} {seconds:>7}  {best}"


def _describe_finalist(trial: Trial, ended: dict[str, Any], trials: Trials) -> str:
    what = visible(ended["message"]) if trial.rewards is None else show_reward(trial.rewards[0])
    seconds = f"{ended['seconds']:.0f} s"
    return f"trial {trial.finalist_of:<5} finalist  {what:<12} {seconds:>7}  {_count_finalists(trials)}"


def _describe_best(trials: Trials) -> str:
    if trials.best is None:
        return ""
    return f"best {show_reward(trials.first_reward(trials.best))} (trial {trials.best})"


def _count_finalists(trials: Trials) -> str:
    """Gives how many finalists are over, and of how many, such as "2/6"."""
    over = sum(trial.status != "running" for trial in trials.finalists)
    return f"{over}/{len(trials.finalists)}"
