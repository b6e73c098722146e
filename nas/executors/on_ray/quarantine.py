"""Which machines and GPUs are set aside: they fail whatever they are given, and would eat up the trials."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field

IN_A_ROW = 2
"""Faults of different trials, with no success between, after which a place is set aside."""

FIRST_SECONDS, MOST_SECONDS = 60.0, 3600.0
"""How long a place is set aside: at first, and at most. The time doubles with each further fault."""


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """Where a worker runs.

    Args:
        node: id of the node.
        gpus: ids of its GPUs there; none for a worker without.
    """

    node: str
    gpus: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _State:
    """What is known of a place: the trials that failed there in a row, and until when it is set aside.

    Args:
        failed: the trials, and the tries to start a worker.
        worked: whether the last trial ended there without a fault.
        until: when the time ends for which it is set aside.
        seconds: how long it is set aside the next time.
    """

    failed: list[str] = field(default_factory=list)
    worked: bool = False
    until: float | None = None
    seconds: float = field(default_factory=lambda: FIRST_SECONDS)


class Quarantine:
    """Counts faults by place. A trial that fails again and again counts once, so that it condemns no machine.

    Args:
        now: gives seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._places: dict[Place, _State] = {}

    def fault(self, place: Place, trial: str) -> float | None:
        """Notes a fault.

        Args:
            place: where it happened.
            trial: what failed there; each try to start a worker is one of its own.

        Returns:
            for how many seconds the place is set aside, if this fault is the reason; else None.
        """
        state = self._places.setdefault(place, _State())
        state.worked = False
        if trial not in state.failed:
            state.failed.append(trial)
        if len(state.failed) < IN_A_ROW or self.is_aside(place):
            return None
        seconds, state.seconds = state.seconds, min(2 * state.seconds, MOST_SECONDS)
        state.until = self._now() + seconds
        return seconds

    def success(self, place: Place) -> None:
        """Notes that a trial has ended there without a fault of the machine."""
        self._places[place] = _State(worked=True)

    def has_worked(self, place: Place) -> bool:
        """Whether the last trial ended there without a fault of the machine."""
        state = self._places.get(place)
        return state is not None and state.worked

    def is_aside(self, place: Place) -> bool:
        """Whether a place is set aside now. Later it is tried again, and one more fault suffices."""
        state = self._places.get(place)
        return state is not None and state.until is not None and self._now() < state.until

    def forget_others(self, nodes: Container[str]) -> None:
        """Forgets all places except those on these nodes."""
        self._places = {place: state for place, state in self._places.items() if place.node in nodes}

    @property
    def aside(self) -> tuple[Place, ...]:
        """All places that are set aside now."""
        return tuple(sorted(place for place in self._places if self.is_aside(place)))
