"""The workers of a search: each is started, and replaced when it is gone or its place is set aside.

A search ends with an error if no worker can be started, or none can run the task.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from nas.executors.fleet import Fleet, Workers
from nas.executors.on_ray.machines import Machines
from nas.executors.on_ray.slots import Slot
from nas.executors.on_ray.worker import Started

NOTICES = logging.getLogger("nas.notices")

STARTS = 3
"""Actors in a row that may die before they are up."""

GIVE_UP_SECONDS = 600.0
"""So long a search waits at a time for a cluster whose workers are all set aside."""


class Actors(Protocol):
    """Starts and kills the actors of workers; see `nas.executors.on_ray.actors.WorkerActors`."""

    def start(self, avoids: frozenset[str]) -> Any:
        """Gives a new actor that starts on none of these nodes."""

    def kill(self, actor: Any) -> None:
        """Ends an actor."""


class WorkerPool:
    """Starts the workers of a search and replaces those that are gone.

    Args:
        workers: how many there are.
        actors: starts and kills their actors.
        machines: what is known of the machines on which they run.
        now: gives seconds.

    Attributes:
        slots: the workers.
        machines: as given.
    """

    def __init__(self, workers: int, actors: Actors, machines: Machines, now: Callable[[], float]) -> None:
        self.slots = tuple(Slot() for _ in range(workers))
        self.machines = machines
        self._actors, self._now = actors, now
        self._parked: list[Slot] = []
        self._devices: set[str] = set()
        self._failed_opens = 0
        self._stuck_since: float | None = None

    def start_all(self) -> None:
        """Starts all workers."""
        for slot in self.slots:
            self.start(slot)

    def start(self, slot: Slot) -> None:
        """Starts a worker in a slot from which the one before is gone."""
        slot.clear(avoids=self.machines.nodes_aside)
        slot.actor = self._actors.start(slot.avoids)
        # Answered as soon as there is room for the actor: on a cluster that has lost a node, perhaps never.
        slot.pending = slot.actor.start.remote()

    def restart(self, slot: Slot) -> None:
        """Kills a worker and starts another one in its slot."""
        self._actors.kill(slot.actor)
        self.start(slot)

    def admit(self, slot: Slot, started: Started) -> None:
        """Takes in a worker that has started: it gets jobs, keeps a GPU that is set aside, or is replaced.

        Args:
            slot: the worker's.
            started: what the worker says of itself.
        """
        slot.place, slot.device = started.place, started.device
        self.machines.meet(started.place, started.host)
        self.machines.tell(started.place, started.notices)
        if started.fault:
            self._failed_opens += 1
            self.machines.fault(started.place, f"start {self._failed_opens}", started.fault)
        is_aside = self.machines.quarantine.is_aside(started.place)
        if not started.fault and not is_aside:
            self._bring_up(slot)
        elif started.place.gpus and is_aside:
            self._parked.append(Slot(actor=slot.actor, place=slot.place))
            self.start(slot)
        else:
            self.restart(slot)

    def remove(self, slot: Slot, why: str) -> None:
        """Ends a worker that is gone or must go; its slot stays empty until `start`.

        Args:
            slot: the worker's.
            why: what happened to it.

        Raises:
            OSError: if no worker can be started.
        """
        self._actors.kill(slot.actor)
        if slot.up:
            return
        slot.failed_starts += 1
        # A node that comes and goes takes some with it; only if all of them die it is not the nodes.
        if all(not other.up and other.failed_starts >= STARTS for other in self.slots):
            raise OSError(f"no worker can be started: {why}")

    def lose_node(self, slot: Slot) -> int:
        """Replaces the idle workers of a node that is gone; a busy one ends when it does not answer.

        Args:
            slot: of the worker that has shown it. It has no place any more that could be at fault, and the
                caller replaces it.

        Returns:
            how many workers are left on other nodes.
        """
        node = None if slot.place is None else slot.place.node
        others = [
            other
            for other in self.slots
            if other.up and other.place is not None and other.place.node == node and other is not slot
        ]
        left = sum(other.up for other in self.slots) - len(others) - 1
        for other in others:
            if other.job is None:
                self.start(other)
        slot.place = None
        return left

    def lift_quarantines(self) -> None:
        """Has workers use the places whose time is over.

        Raises:
            OSError: if no worker can run the task: this machine is the only one and set aside, or all places
                have been set aside for `GIVE_UP_SECONDS`.
        """
        quarantine = self.machines.quarantine
        for parked in [one for one in self._parked if one.place and not quarantine.is_aside(one.place)]:
            self._actors.kill(parked.actor)
            self._parked.remove(parked)
        avoided = self.machines.nodes_aside
        for slot in self.slots:
            if slot.place is None and not slot.avoids <= avoided:
                self.restart(slot)
        self._check_usable()

    def fleet(self) -> Fleet:
        """Gives the workers that are ready, by machine, and what is set aside."""
        ready = [
            (self.machines.name(slot.place), slot.device) for slot in self.slots if slot.up and slot.place
        ]
        groups = sorted(Counter(ready).items())
        return Fleet(
            workers=tuple(Workers(node=node, device=device, count=count) for (node, device), count in groups),
            aside=self.machines.aside,
        )

    def close(self) -> None:
        """Kills all workers."""
        for slot in (*self.slots, *self._parked):
            self._actors.kill(slot.actor)

    def _bring_up(self, slot: Slot) -> None:
        """Notes that a worker can get jobs."""
        slot.up, self._stuck_since = True, None
        self._compare_devices(slot.device)
        for other in self.slots:
            other.failed_starts = 0

    def _check_usable(self) -> None:
        """Raises OSError if no worker has a place that is not set aside, and waiting is of no use."""
        quarantine = self.machines.quarantine
        usable = (slot.up and slot.place and not quarantine.is_aside(slot.place) for slot in self.slots)
        if any(usable) or not quarantine.aside:
            self._stuck_since = None
            return
        now = self._now()
        self._stuck_since = now if self._stuck_since is None else self._stuck_since
        # This machine alone has no other place to wait for, and its user sits in front of it.
        only_machine = not self.machines.several and bool(self.machines.nodes_aside)
        if only_machine or now - self._stuck_since > GIVE_UP_SECONDS:
            raise OSError(f"no worker can run the task; the last fault: {self.machines.last_fault}")

    def _compare_devices(self, device: str) -> None:
        """Tells the user once if workers compute on different kinds of devices."""
        known = len(self._devices)
        self._devices.add(device)
        if known == 1 and len(self._devices) == 2:
            NOTICES.warning(
                "the workers compute on different devices (%s): scores, and which networks find enough "
                "memory, depend on where a trial runs; give a search devices of one kind",
                " and ".join(sorted(self._devices)),
            )
