"""The trainings of a study in the terminal: those that run, those that have ended, and how long all take."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.live_board import LiveBoard, Running, read_note
from nas.cli.pace import SHORT_SECONDS, Pace
from nas.utils.terminal import complain, counted, duration, show_reward

if TYPE_CHECKING:
    from nas.analysis.trainings import StudyTraining
    from nas.executors.job import JobResult

CONTINUES = "the same command continues with what is missing"


class TrainingsBoard:
    """Shows the trainings that run, and prints a line for each that has ended.

    It is a `nas.analysis.trainings.Watch`.

    Args:
        say: prints a line.
        folder: of the study.
        workers: trainings at a time.
    """

    def __init__(self, say: Callable[[str], None], folder: Path, workers: int) -> None:
        self._say, self._folder, self._workers = say, folder, workers
        self._done = self._total = 0
        self._missing: Sequence[StudyTraining] = ()
        self._pace = Pace(self._say_length)
        self._begun: dict[str, tuple[float, Path]] = {}
        self._reports: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._board = LiveBoard(self._heading, self._running, say=say)
        self._failures: list[str] = []

    def __enter__(self) -> TrainingsBoard:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pace.close()
        self._board.stop()
        if kind is KeyboardInterrupt:
            print(f"\n{CONTINUES}", file=sys.stderr)

    def start(self, missing: Sequence[StudyTraining], total: int) -> None:
        """Says what is done already."""
        self._done, self._total, self._missing = total - len(missing), total, missing
        if self._done:
            self._say(f"{self._done} of {total} trainings are in {self._folder} already")
        self._board.start()

    def begin(self, training: StudyTraining, folder: Path) -> None:
        """Notes a training that a worker has."""
        with self._lock:
            self._begun[training.label] = (time.monotonic(), folder)
        self._pace.begin(folder)

    def report(self, training: StudyTraining, step: int, reward: float) -> None:
        """Notes a report."""
        with self._lock:
            self._reports[training.label] = (step, reward)

    def end(self, training: StudyTraining, ended: JobResult, done: int, total: int) -> None:
        """Prints how a training has ended."""
        with self._lock:
            self._begun.pop(training.label, None)
            self._reports.pop(training.label, None)
            self._done = done
        if ended.score is None:
            self._failures.append(f"{training.label}: {ended.failure}: {ended.message}")
            what = f"failed: {ended.message}"
        else:
            what = show_reward(ended.score.reward)
            self._pace.end(ended.seconds * self._missing[0].fidelity / training.fidelity)
        self._say(f"{training.label}: {what}, {duration(ended.seconds)}, {done} of {total}")

    def tell_failures(self) -> int:
        """Says on standard error how many trainings failed; gives the status of the command."""
        if not self._failures:
            return 0
        count = counted(len(self._failures), "training")
        complain(f"{count} failed, and the same command tries them again; {self._failures[0]}")
        return 1

    def _say_length(self, seconds: float) -> None:
        """Says how long all will take, from the seconds of the first."""
        first = self._missing[0].fidelity
        lengths = [training.fidelity / first for training in self._missing]
        whole = seconds * max(ceil(sum(lengths) / self._workers), *lengths, 1)
        if whole < SHORT_SECONDS:
            return
        which = "a" if set(lengths) == {1} else "the first"
        what = counted(len(lengths), "training takes", "trainings take")
        self._say(f"{which} training takes about {duration(seconds)}: {what} about {duration(whole)}")

    def _heading(self) -> str:
        return f"{self._done} of {self._total} trainings done"

    def _running(self) -> list[Running]:
        now = time.monotonic()
        with self._lock:
            begun, reports = list(self._begun.items()), dict(self._reports)
        return [
            Running(
                name=label,
                seconds=now - at,
                progress=read_note(folder),
                report=reports.get(label),
            )
            for label, (at, folder) in begun
        ]
