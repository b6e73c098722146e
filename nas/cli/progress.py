"""Progress on a terminal. What is redrawn goes to standard error, and nowhere if that is no terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.utils.terminal import CLEAR, duration, paint

if TYPE_CHECKING:
    from nas.journal.store import Event
    from nas.journal.trials import Trial, Trials

STATUS_COLORS = {"failed": "red", "pruned": "yellow", "paused": "yellow", "cached": "dim"}


class SearchProgress:
    """Prints one line a trial on standard output; on a terminal it also keeps a line up to date.

    Args:
        budget: of the search, in trials.
        folder: of the run.
        resumed: whether the search was cut off before.
    """

    def __init__(self, budget: int, folder: Path, resumed: bool) -> None:
        self.budget, self.folder, self.resumed = budget, folder, resumed
        self.started, self.first = time.monotonic(), -1
        self._trials: Trials | None = None
        self._drawing, self._over = threading.Lock(), threading.Event()

    def on_event(self, event: Event, trials: Trials) -> None:
        """Prints the beginning of a session, and the end of a trial."""
        if event.kind == "session":
            self._print(f"{'resuming' if self.resumed else 'searching'} in {self.folder}")
            if sys.stderr.isatty():
                threading.Thread(target=self._keep_drawing, daemon=True).start()
        elif event.kind == "ended" and event.trial is not None and not event.data["retry"]:
            self._trials = trials
            trial = trials.all[event.trial]
            describe = _describe_trial if trial.finalist_of is None else _describe_finalist
            if self.first < 0:
                self.first = _count_over(trials) - 1
            self._print(describe(trial, event.data, trials))

    def close(self) -> None:
        """Takes the line away that is kept up to date."""
        with self._drawing:
            self._over.set()
            if sys.stderr.isatty():
                print(CLEAR, end="", file=sys.stderr, flush=True)

    def _print(self, line: str) -> None:
        with self._drawing:
            if sys.stderr.isatty():
                print(CLEAR, end="", file=sys.stderr, flush=True)
            try:
                print(line.rstrip(), flush=True)
            except BrokenPipeError:  # Whoever read has gone; the search goes on.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _keep_drawing(self) -> None:
        while not self._over.wait(1.0):
            with self._drawing:
                if not self._over.is_set():
                    print(f"{CLEAR}{self._line()}", end="", file=sys.stderr, flush=True)

    def _line(self) -> str:
        trials, passed = self._trials, time.monotonic() - self.started
        if trials is None:
            return f"0/{self.budget} done, waiting for the first for {duration(passed)}"
        over = _count_over(trials)
        if trials.finalists:
            return f"evaluating the finalists, {_count_finalists(trials)} done"
        rate = (over - self.first) / max(passed, 1e-9)
        left = duration((self.budget - over) / rate) if rate > 0 else "unknown time"
        return (
            f"{over}/{self.budget} done, {trials.counts['running']} running, "
            f"{_describe_best(trials) or 'no score'}, {rate * 3600:.0f} trials/h, {left} left"
        )


def _describe_trial(trial: Trial, ended: dict[str, Any], trials: Trials) -> str:
    reward = "" if trial.rewards is None else " ".join(f"{r:.4f}" for r in trial.rewards)
    what = reward or ended["message"]
    seconds = f"{ended['seconds']:.0f} s" if ended["seconds"] else ""
    status = paint(f"{trial.status:<9}", STATUS_COLORS.get(trial.status, ""), sys.stdout)
    best = paint(_describe_best(trials), "green" if trials.best == trial.number else "", sys.stdout)
    return f"trial {trial.number:<5} {status} {what:<12} {seconds:>7}  {best}"


def _describe_finalist(trial: Trial, ended: dict[str, Any], trials: Trials) -> str:
    what = ended["message"] if trial.rewards is None else f"{trial.rewards[0]:.4f}"
    seconds = f"{ended['seconds']:.0f} s"
    return f"trial {trial.finalist_of:<5} finalist  {what:<12} {seconds:>7}  {_count_finalists(trials)}"


def _describe_best(trials: Trials) -> str:
    if trials.best is None:
        return ""
    rewards = trials.all[trials.best].rewards or (0.0,)
    return f"best {rewards[0]:.4f} (trial {trials.best})"


def _count_over(trials: Trials) -> int:
    return len(trials.search) - trials.counts["running"]


def _count_finalists(trials: Trials) -> str:
    """Gives how many finalists are over, and of how many, such as "2/6"."""
    over = sum(trial.status != "running" for trial in trials.finalists)
    return f"{over}/{len(trials.finalists)}"
