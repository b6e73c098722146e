"""Executors run jobs: in this process, on Ray, or on a virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nas.executors.job import Decision, Job, JobResult, OnReport, run_job
from proxy_tasks.adapted_task import AdaptedTask
from search_space.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from nas.executors.local_executor import LocalExecutor
    from nas.executors.on_ray.executor import RayExecutor
    from nas.executors.simulated_executor import SimulatedExecutor

__all__ = [
    "Decision",
    "Executor",
    "Job",
    "JobResult",
    "KeepsEnds",
    "LocalExecutor",
    "OnReport",
    "RayExecutor",
    "SimulatedExecutor",
    "run_job",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "LocalExecutor": "nas.executors.local_executor",
        "RayExecutor": "nas.executors.on_ray.executor",
        "SimulatedExecutor": "nas.executors.simulated_executor",
    },
)


class Executor(Protocol):
    """Runs jobs of one task. Jobs beyond `workers` wait their turn."""

    workers: int

    def open(self, task: AdaptedTask, on_report: OnReport) -> None:
        """Gets ready to run jobs of the task, and calls the task's `open` once on each worker."""

    def submit(self, job: Job) -> None:
        """Takes a job."""

    def wait(self, timeout: float) -> list[JobResult]:
        """Jobs that ended, as soon as there is one; none if nothing ended within `timeout` seconds."""

    def now(self) -> float:
        """Seconds on the executor's clock."""

    def close(self) -> None:
        """Ends what still runs."""


@runtime_checkable
class KeepsEnds(Protocol):
    """An executor whose `wait` may raise after it has found ends of jobs."""

    def ended_before_error(self) -> list[JobResult]:
        """Gives the ends that `wait` had found when it raised."""
