"""How busy the workers of a search are, as the events of its journal tell it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from nas.executors.fleet import Fleet
from nas.journal.event import Event

LATELY = 3600.0
"""Seconds of a search from which its pace is told."""


@dataclass(kw_only=True)
class Activity:
    """The workers that were ready, and their time in trials; it takes one event after the other.

    All times are those of the search, which stand still while no session runs.

    Args:
        fleet: the workers that were ready last; None where the executor does not tell.
        wanted: workers of the session.
        ready_seconds: sum over the workers of the time for which they were ready.
        busy_seconds: sum over the attempts that have ended of the time that they took.
    """

    fleet: Fleet | None = None
    wanted: int = 1
    ready_seconds: float = 0.0
    busy_seconds: float = 0.0
    _open: dict[int, float] = field(default_factory=dict)
    _ends: deque[float] = field(default_factory=deque)
    _now: float = 0.0

    def apply(self, event: Event, now: float) -> None:
        """Takes an event.

        Args:
            event: the next one; its data must be checked.
            now: time of the search.
        """
        if event.kind == "session":  # What passed since the session before is no time of the search.
            self.wanted, self.fleet, self._now = event.data.get("workers", 1), None, now
            self._open.clear()
            return
        self._pass(now)
        if event.kind == "workers":
            self.fleet = Fleet.from_dict(event.data)
        elif event.trial is not None and event.kind == "submitted":
            self._open[event.trial] = now
        elif event.trial is not None and event.kind == "ended":
            began = self._open.pop(event.trial, None)
            if began is not None:
                self.busy_seconds += min(event.data.get("seconds") or 0.0, now - began)
            if not event.data["retry"]:
                self._ends.append(now)
                while self._ends[0] < now - LATELY:
                    self._ends.popleft()

    @property
    def ready(self) -> int:
        """The workers that are ready; all that are wanted, where the executor does not tell."""
        return self.wanted if self.fleet is None else self.fleet.count

    def utilization(self, now: float) -> float:
        """Share of the time of the workers that were ready which went into trials, from 0 to 1."""
        ready = self.ready_seconds + self.ready * max(0.0, now - self._now)
        running = sorted(self._open.values())[: self.ready]  # The others wait for a worker.
        busy = self.busy_seconds + sum(now - began for began in running)
        return min(1.0, busy / ready) if ready > 0 else 0.0

    def trials_an_hour(self, now: float) -> float:
        """Trials that end in an hour at the pace of the last one, or of the whole search if it is shorter."""
        span = min(now, LATELY)
        ended = sum(end >= now - span for end in self._ends)
        return 3600 * ended / span if span > 0 else 0.0

    def _pass(self, now: float) -> None:
        self.ready_seconds += self.ready * max(0.0, now - self._now)
        self._now = now
