"""What executors have while they are open, and at no other time."""

from __future__ import annotations

from typing import TypeVar

from nas.executors.job import Job, JobResult, OnReport, run_job
from nas.plugins.faults import reraise_as
from proxy_tasks.adapted_task import AdaptedTask

Part = TypeVar("Part")


class OpenTask:
    """A task that was opened in this process, and runs jobs here.

    Args:
        task: what to open.
        on_report: answers the reports of its jobs.

    Raises:
        Exception: of our own kinds, as the task's `open` raises them.
        FaultError: for everything else that it raises.
    """

    def __init__(self, task: AdaptedTask, on_report: OnReport) -> None:
        with reraise_as(f"{task.name}.open"):
            task.open()
        self._task, self._on_report = task, on_report

    def run(self, job: Job, worker: str) -> JobResult:
        """Evaluates a job; see `nas.executors.job.run_job`."""
        return run_job(self._task, job, self._on_report, worker)


def require_open(part: Part | None, executor: object) -> Part:
    """Gives a part that an executor has while it is open.

    Raises:
        RuntimeError: if the part is None, as the executor is not open.
    """
    if part is None:
        raise RuntimeError(f"{type(executor).__name__} is not open: call its open before it gets jobs")
    return part
