"""Progress on a terminal. What is redrawn goes to standard error, and nowhere if that is no terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.colours import paint

if TYPE_CHECKING:
    from nas.jobs import Ended
    from nas.trials import Trial, Trials

CLEAR = "\r\033[K"


def counter(what: str) -> Callable[[int, int], None] | None:
    """A line that counts (done, all) and tells the time left; None where there is no terminal."""
    if not sys.stderr.isatty():
        return None
    started = shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if done < total and now - shown < 0.2:
            return
        shown = now
        left = (now - started) / max(done, 1) * (total - done)
        print(
            f"\r{what} {done}/{total}, {left:.0f} s left   ",
            end="\n" if done == total else "",
            file=sys.stderr,
            flush=True,
        )

    return show


STATUS_COLOURS = {"failed": "red", "pruned": "yellow", "cached": "dim"}


class SearchProgress:
    """One line a trial on standard output; on a terminal also a line that is kept up to date.

    Args:
        budget: of the search, in trials.
        folder: of the run.
        resumed: whether the search was cut off before.
    """

    def __init__(self, budget: int, folder: Path, resumed: bool) -> None:
        self.budget, self.folder, self.resumed = budget, folder, resumed
        self.started, self.first = time.monotonic(), -1
        self._trials: Trials | None = None
        self._again = ""
        self._drawing, self._over = threading.Lock(), threading.Event()

    def __enter__(self) -> SearchProgress:
        if sys.stderr.isatty():
            threading.Thread(target=self._keep_drawing, daemon=True).start()
        return self

    def begun(self) -> None:
        """Tells that the folder is ours."""
        self._print(f"{'resuming' if self.resumed else 'searching'} in {self.folder}")

    def __exit__(self, *_: object) -> None:
        with self._drawing:
            self._over.set()
            if sys.stderr.isatty():
                print(CLEAR, end="", file=sys.stderr, flush=True)

    def ended(self, trial: Trial, ended: Ended, trials: Trials) -> None:
        """Tells of a trial's end."""
        self._trials = trials
        if self.first < 0:
            self.first = _over(trials) - 1
        reward = "" if trial.rewards is None else " ".join(f"{r:.4f}" for r in trial.rewards)
        what = reward or ended.message
        seconds = f"{ended.seconds:.0f} s" if ended.seconds else ""
        status = paint(f"{trial.status:<9}", STATUS_COLOURS.get(trial.status, ""), sys.stdout)
        best = paint(_best(trials), "green" if trials.best == trial.number else "", sys.stdout)
        line = f"trial {trial.number:<5} {status} {what:<12} {seconds:>7}  {best}"
        self._print(line)

    def trained_again(self, entry: dict[str, Any], done: int, wanted: int) -> None:
        """Tells of the end of a top trial's training again."""
        self._again = f"{done}/{wanted}"
        what = entry["message"] if entry["reward"] is None else f"{entry['reward']:.4f}"
        line = (
            f"trial {entry['trial_number']:<5} again     {what:<12} {entry['seconds']:>5.0f} s  {self._again}"
        )
        self._print(line)

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
        over = _over(trials)
        if self._again:
            return f"training the best again, {self._again} done"
        rate = (over - self.first) / max(passed, 1e-9)
        return (
            f"{over}/{self.budget} done, {trials.counts['running']} running, {_best(trials) or 'no score'}, "
            f"{rate * 3600:.0f} trials/h, {duration((self.budget - over) / rate)} left"
        )


def _over(trials: Trials) -> int:
    return sum(trials.counts.values()) - trials.counts["running"]


def _best(trials: Trials) -> str:
    if trials.best is None:
        return ""
    rewards = trials.all[trials.best].rewards or (0.0,)
    return f"best {rewards[0]:.4f} (trial {trials.best})"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
