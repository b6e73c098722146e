"""Which worker may run which job: what failed goes elsewhere, what lacked memory gets a GPU alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nas.executors.job import Job
from nas.executors.on_ray.quarantine import Place
from nas.executors.on_ray.slots import Slot

ELSEWHERE_SECONDS = 60.0
"""So long a trial that has failed waits for a worker at another place."""


class Placement:
    """Remembers where trials have failed.

    Args:
        now: gives seconds.
        has_worked: whether the last trial at a place ended without a fault of the machine.
        is_aside: whether a place is set aside now.
        elsewhere: whether there may be other places than this machine.
    """

    def __init__(
        self,
        now: Callable[[], float],
        has_worked: Callable[[Place], bool],
        is_aside: Callable[[Place], bool],
        elsewhere: bool,
    ) -> None:
        self._now, self._elsewhere = now, elsewhere
        self._has_worked, self._is_aside = has_worked, is_aside
        self._failed_at: dict[int, dict[Place, float]] = {}
        self._alone: dict[int, Place] = {}

    def failed(self, trial: int, place: Place) -> None:
        """Notes that the machine has failed a trial at a place."""
        self._failed_at.setdefault(trial, {})[place] = self._now()

    def lacked_memory(self, trial: int, place: Place) -> bool:
        """Notes that a GPU that several workers share had too little memory left for a trial.

        Returns:
            whether the trial should run once more, with the GPU to itself.
        """
        if trial in self._alone:
            return False
        self._alone[trial] = place
        return True

    def runs_alone(self, trial: int) -> bool:
        """Whether a trial gets a whole GPU, of which it had a share before."""
        return trial in self._alone

    def ended(self, trial: int, *, by_machine: bool = False) -> None:
        """Notes that no attempt at a trial runs or waits any more.

        Args:
            trial: its number.
            by_machine: whether the machine failed it, so that another attempt may follow, elsewhere.
        """
        self._alone.pop(trial, None)
        if not by_machine:
            self._failed_at.pop(trial, None)

    def may_run(self, job: Job, slot: Slot, slots: Sequence[Slot]) -> bool:
        """Whether an idle worker may run a job.

        Args:
            job: what waits.
            slot: the worker.
            slots: all workers.
        """
        assert slot.place is not None
        if self._is_aside(slot.place):
            return False
        alone = self._alone.get(job.trial)
        if alone is not None and (self._is_aside(alone) or not any(other.place == alone for other in slots)):
            self._alone[job.trial] = slot.place  # That GPU is gone or set aside: it gets this one.
        kept_for = self._kept_for(slot.place)
        if kept_for is not None:
            neighbors = [other for other in slots if other.place == slot.place and other is not slot]
            return job.trial == kept_for and not any(other.job for other in neighbors)
        return job.trial not in self._alone and self._may_try(job, slot, slots)

    def _kept_for(self, place: Place) -> int | None:
        """The trial that shall have a GPU to itself; None if there is none."""
        return min((trial for trial, kept in self._alone.items() if kept == place), default=None)

    def _may_try(self, job: Job, slot: Slot, slots: Sequence[Slot]) -> bool:
        """Whether a job may go to a worker.

        One that has failed goes where it has not failed yet, and where another has just ended well, as long
        as there are such workers.
        """
        if not job.attempt or not self._elsewhere:
            return True
        failed = self._failed_at.get(job.trial, {})
        # Workers that still start, or whose place is set aside, may be of use soon, or in hours.
        soon = self._now() - max(failed.values(), default=-math.inf) < ELSEWHERE_SECONDS
        fresh = [other for other in slots if other.place not in failed and (soon or self._is_of_use(other))]
        if not fresh:
            return True
        if slot.place in failed:
            return False
        return self._worked(slot) or not any(other.up and self._worked(other) for other in fresh)

    def _is_of_use(self, slot: Slot) -> bool:
        """Whether a worker gets jobs now or when its own ends."""
        return slot.up and slot.place is not None and not self._is_aside(slot.place)

    def _worked(self, slot: Slot) -> bool:
        return slot.place is not None and self._has_worked(slot.place)
