"""Executors run jobs: in this process, on Ray, or on a virtual clock."""

from __future__ import annotations

from typing import Protocol

from nas.jobs import Ended, Job, OnReport
from proxy_tasks.task import Task


class Executor(Protocol):
    """Runs jobs of one task. Jobs beyond `workers` wait their turn."""

    workers: int

    def open(self, task: Task, on_report: OnReport) -> None:
        """Gets ready to run jobs of the task."""

    def submit(self, job: Job) -> None:
        """Takes a job."""

    def wait(self, timeout: float) -> list[Ended]:
        """Jobs that ended, as soon as there is one; none if nothing ended within `timeout` seconds."""

    def now(self) -> float:
        """Seconds on the executor's clock."""

    def close(self) -> None:
        """Ends what still runs."""
