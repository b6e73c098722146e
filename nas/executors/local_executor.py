"""Jobs one after the other in this process: for tests, debugging and quick tasks."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from nas.executors.job import Job, JobResult, OnReport, run_job
from nas.plugins.faults import reraise_as
from proxy_tasks.task import AdaptedTask

NAME = "this process"
"""Name of the one worker of a `LocalExecutor`."""


@dataclass
class LocalExecutor:
    """Runs one job at a time, where it is waited for."""

    workers: int = 1
    _queue: deque[Job] = field(default_factory=deque, init=False)

    def open(self, task: AdaptedTask, on_report: OnReport) -> None:
        """Keeps the task."""
        with reraise_as(f"{task.name}.open"):
            task.open()
        self._task, self._on_report = task, on_report

    def submit(self, job: Job) -> None:
        """Puts the job at the end of the queue."""
        self._queue.append(job)

    def wait(self, timeout: float) -> list[JobResult]:
        """Runs the first job of the queue to its end."""
        if not self._queue:
            return []
        return [run_job(self._task, self._queue.popleft(), self._on_report, NAME)]

    def now(self) -> float:
        """Seconds of the machine's clock."""
        return time.monotonic()

    def close(self) -> None:
        """Forgets what has not begun."""
        self._queue.clear()
