"""Many workers on a virtual clock: a search of weeks on a cluster, simulated in minutes.

A job's score is computed at once, and its end lies as far ahead as the score's metric "seconds" says, as
recorded in a journal or a table: the time of the evaluation from its beginning. One that goes on from a
pause takes the rest. Time jumps from end to end.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

from nas.executors.job import Job, JobResult, OnReport
from nas.executors.opened import OpenTask, require_open
from proxy_tasks.adapted_task import AdaptedTask
from proxy_tasks.task import Score
from search_space.utils.validation import AtLeast, is_number, validate


@dataclass
class SimulatedExecutor:
    """Simulates workers.

    Args:
        workers: how many.
        seconds: length of a job whose score does not tell its "seconds", as a number of at least 0.

    Attributes:
        busy: simulated seconds of all jobs so far, those that still run included.

    Raises:
        ValueError: if a value is out of its range.
    """

    workers: Annotated[int, AtLeast(1)] = 100
    seconds: Annotated[float, AtLeast(0)] = 1.0
    workers_differ: ClassVar[bool] = True
    busy: float = field(default=0.0, init=False)
    _task: OpenTask | None = field(default=None, init=False)
    _clock: float = field(default=0.0, init=False)
    _running: list[tuple[float, int, JobResult]] = field(default_factory=list, init=False)
    _idle: list[int] = field(default_factory=list, init=False)
    _waiting: deque[Job] = field(default_factory=deque, init=False)
    _count: int = field(default=0, init=False)
    _reached: dict[int, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        validate(self)

    def open(self, task: AdaptedTask, on_report: OnReport) -> None:
        """Opens the task, and keeps it; all workers are idle."""
        self._task = OpenTask(task, on_report)
        self._idle = list(range(self.workers))
        heapq.heapify(self._idle)

    def submit(self, job: Job) -> None:
        """Starts the job on an idle worker, or has it wait for one.

        Raises:
            RuntimeError: if the executor is not open.
        """
        task = require_open(self._task, self)
        if not self._idle:
            self._waiting.append(job)
            return
        worker = heapq.heappop(self._idle)
        ended = task.run(job, f"virtual {worker}")
        told = (ended.score or Score(0.0)).metrics.get("seconds")
        seconds = self.seconds if told is None or not is_number(told) or told < 0 else told
        if ended.status == "paused":
            self._reached[job.trial] = seconds
        if job.resumed_trial is not None:  # What was trained before the pause is not trained again.
            seconds = max(0.0, seconds - self._reached.get(job.resumed_trial, 0.0))
        ended = self.happen(worker, replace(ended, seconds=seconds))
        self.busy += ended.seconds
        self._count += 1
        heapq.heappush(self._running, (self._clock + ended.seconds, self._count, ended))

    def happen(self, worker: int, ended: JobResult) -> JobResult:
        """Says how a job ends on a worker; for subclasses whose workers are slow, or get lost."""
        return ended

    def wait(self, timeout: float) -> list[JobResult]:
        """Jumps to the next end.

        Raises:
            RuntimeError: if the executor is not open.
        """
        require_open(self._task, self)
        if not self._running:
            return []
        self._clock, _, ended = heapq.heappop(self._running)
        heapq.heappush(self._idle, int(ended.worker.split()[1]))
        if self._waiting:
            self.submit(self._waiting.popleft())
        return [ended]

    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._clock

    def close(self) -> None:
        """Forgets the task, and what runs."""
        self._task = None
        self._running.clear()
        self._waiting.clear()

    @property
    def utilization(self) -> float:
        """Share of the workers' time that was spent in jobs."""
        return self.busy / (self._clock * self.workers) if self._clock else 0.0
