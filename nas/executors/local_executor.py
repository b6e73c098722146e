"""Jobs one after the other in this process: for tests, debugging and quick tasks."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from nas.executors.job import Job, JobResult, OnReport
from nas.executors.opened import OpenTask, require_open
from proxy_tasks.adapted_task import AdaptedTask

NAME = "this process"
"""Name of the one worker of a `LocalExecutor`."""


@dataclass
class LocalExecutor:
    """Runs one job at a time, where it is waited for."""

    workers: int = 1
    _task: OpenTask | None = field(default=None, init=False)
    _queue: deque[Job] = field(default_factory=deque, init=False)

    def open(self, task: AdaptedTask, on_report: OnReport) -> None:
        """Opens the task, and keeps it."""
        self._task = OpenTask(task, on_report)

    def submit(self, job: Job) -> None:
        """Puts the job at the end of the queue.

        Raises:
            RuntimeError: if the executor is not open.
        """
        require_open(self._task, self)
        self._queue.append(job)

    def wait(self, timeout: float) -> list[JobResult]:
        """Runs the first job of the queue to its end.

        Raises:
            RuntimeError: if the executor is not open.
        """
        task = require_open(self._task, self)
        return [task.run(self._queue.popleft(), NAME)] if self._queue else []

    def now(self) -> float:
        """Seconds of the machine's clock."""
        return time.monotonic()

    def close(self) -> None:
        """Forgets the task, and what has not begun."""
        self._task = None
        self._queue.clear()
