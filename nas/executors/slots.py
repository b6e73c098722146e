"""The workers of the Ray executor as it sees them: where each runs, and what it was asked last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.executors.job import Job
from nas.executors.quarantine import Place


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A worker that does not answer.

    Args:
        error: what Ray says.
        until: when it counts as dead, if its node is not known to be gone before.
    """

    error: Exception
    until: float


@dataclass(eq=False)
class Slot:
    """A worker: its actor, what it was asked last, and its job.

    Args:
        actor: of Ray.
        pending: what it was asked last; None if it has answered.
        job: what it runs.
        started: when the job began.
        up: whether the actor may get jobs.
        place: where it runs, once that is known.
        device: name of what it computes on.
        doubt: why it may be lost.
        failed_starts: actors in a row that died before they were up.
        avoids: ids of nodes on which it shall not start.
    """

    actor: Any = None
    pending: Any = None
    job: Job | None = None
    started: float = 0.0
    up: bool = False
    place: Place | None = None
    device: str = ""
    doubt: Doubt | None = None
    failed_starts: int = 0
    avoids: frozenset[str] = frozenset()

    @property
    def idle(self) -> bool:
        """Whether it can take a job now."""
        return self.up and self.job is None
