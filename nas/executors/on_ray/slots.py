"""The workers of the Ray executor as it sees them: where each runs, and what it was asked last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nas.executors.job import CHECKPOINT, Job
from nas.executors.on_ray.patience import LEAST_SECONDS
from nas.executors.on_ray.quarantine import Place
from proxy_tasks.engine.progress import read_progress


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A worker that does not answer.

    Args:
        error: what Ray says.
        until: when it is asked again or counts as dead, if its node is not known to be gone before.
    """

    error: Exception
    until: float


@dataclass(eq=False)
class Slot:
    """A worker: its actor, what it was asked last, and its job.

    Args:
        actor: of Ray.
        pending: what it was asked last; None if it has answered.
        call: asks that again.
        calls: number of that call.
        tries: how often it was asked that again.
        receipt: the call that is answered as soon as the worker has received its job.
        job: what it runs.
        started: when the job began, later by the time that it has waited for the search's answers.
        waits_from: since when it may wait for the search: before, it was at work.
        step: how far the job had come when it was last looked at.
        alive_until: until when the job is known not to hang.
        up: whether the actor may get jobs.
        place: where it runs; None until Ray has found room for it, and when its node is gone.
        device: name of what it computes on.
        doubt: why it may be lost.
        failed_starts: actors in a row that died before they were up.
        avoids: ids of nodes on which it shall not start.
    """

    actor: Any = None
    pending: Any = None
    call: Callable[[], Any] | None = None
    calls: int = 0
    tries: int = 0
    receipt: Any = None
    job: Job | None = None
    started: float = 0.0
    waits_from: float = 0.0
    step: int = -1
    alive_until: float = 0.0
    up: bool = False
    place: Place | None = None
    device: str = ""
    doubt: Doubt | None = None
    failed_starts: int = 0
    avoids: frozenset[str] = frozenset()

    def clear(self, avoids: frozenset[str]) -> None:
        """Forgets the worker that was here; the next one starts on none of the nodes with these ids."""
        self.place, self.up, self.doubt, self.job, self.avoids = None, False, None, None, avoids

    def ask(self, method: Any, *args: Any) -> None:
        """Asks the worker's job for its next answer.

        Args:
            method: of the actor; its first argument is the number of the call.
            args: the others.
        """
        self.calls, self.tries = self.calls + 1, 0
        self.call = partial(method.remote, self.calls, *args)
        self.pending = self.call()

    def ask_again(self) -> None:
        """Asks the same once more, as Ray could not reach the worker."""
        assert self.call is not None
        self.tries, self.doubt = self.tries + 1, None
        self.pending = self.call()

    def begin(self, job: Job, now: float) -> None:
        """Takes a job."""
        self.job, self.started, self.waits_from, self.alive_until = job, now, now, now
        self.step = _step_of(job)

    def is_alive(self, now: float) -> bool:
        """Whether its job has told of another step since the last look, or was heard in the last minute."""
        if now < self.alive_until or self.job is None:
            return True
        before, self.step = self.step, _step_of(self.job)
        # An attempt may begin at an earlier step than the last one had reached.
        if self.step != before:
            self.heard(now)
        return self.step != before

    def answered(self, now: float) -> None:
        """Notes that its report is answered; the time that it has waited for that is not the job's."""
        self.started += now - self.waits_from
        self.waits_from = now
        self.heard(now)

    def heard(self, now: float) -> None:
        """Notes a sign of life."""
        self.alive_until = now + LEAST_SECONDS

    @property
    def idle(self) -> bool:
        """Whether it can take a job now."""
        return self.up and self.job is None


def _step_of(job: Job) -> int:
    """The step that a job's checkpoint folder tells; -1 if it tells none."""
    found = None if job.folder is None else read_progress(Path(job.folder) / CHECKPOINT)
    return -1 if found is None else found.step
