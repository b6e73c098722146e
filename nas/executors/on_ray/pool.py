"""The workers of a search: each is started, and replaced when it is gone or its place is set aside.

A search ends with an error if no worker can be started, or none can run the task.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from nas.executors.fleet import Fleet, Workers
from nas.executors.on_ray.machines import Machines
from nas.executors.on_ray.quarantine import Place
from nas.executors.on_ray.room import RoomWatch
from nas.executors.on_ray.slots import Slot
from nas.executors.on_ray.worker import Located, Started

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
        nodes: gives what each node that is alive has, by its id.
        room: tells the user if no worker starts.

    Attributes:
        slots: the workers.
        machines: as given.
    """

    def __init__(
        self,
        workers: int,
        actors: Actors,
        machines: Machines,
        now: Callable[[], float],
        nodes: Callable[[], Mapping[str, Mapping[str, float]]],
        room: RoomWatch,
    ) -> None:
        self.slots = tuple(Slot() for _ in range(workers))
        self.machines = machines
        self._actors, self._now, self._nodes, self._room = actors, now, nodes, room
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
        slot.pending = slot.actor.locate.remote()

    def restart(self, slot: Slot) -> None:
        """Kills a worker and starts another one in its slot."""
        self._actors.kill(slot.actor)
        self.start(slot)

    def locate(self, slot: Slot, located: Located) -> None:
        """Takes in where a worker is: it opens the task there, unless the place is set aside.

        Args:
            slot: the worker's.
            located: what the worker says of itself.
        """
        slot.place = located.place
        self.machines.meet(located.place, located.host)
        if self._is_aside(located.place):
            self._leave(slot, located.place)
        else:
            slot.pending = slot.actor.start.remote()

    def admit(self, slot: Slot, started: Started) -> None:
        """Takes in a worker that has started: it gets jobs, keeps a GPU that is set aside, or is replaced.

        Args:
            slot: of a worker that is located.
            started: what the worker says of itself.
        """
        assert slot.place is not None
        slot.device = started.device
        self.machines.tell(slot.place, started.notices)
        if started.fault:
            self._note_failed_open(slot.place, started.fault)
        if self._is_aside(slot.place):
            self._leave(slot, slot.place)
        elif started.fault:
            self.restart(slot)
        else:
            self._bring_up(slot)

    def remove(self, slot: Slot, why: str) -> None:
        """Ends a worker that is gone or must go; its slot stays empty until `start`.

        One that was opening the task counts as a fault of its place.

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
        # Without another place, this machine would be set aside under those of its workers that run.
        if slot.place is not None and self.machines.has_another(slot.place):
            self._note_failed_open(slot.place, why)
        # A node that comes and goes takes some with it; only if all of them die it is not the nodes.
        if all(not other.up and other.failed_starts >= STARTS for other in self.slots):
            raise OSError(f"no worker can be started: {why}")

    def lose_node(self, slot: Slot) -> int:
        """Replaces the idle workers of a node that is gone; a busy one ends when it does not answer.

        Args:
            slot: of the worker that has shown it, which may have been opening the task. It has no place any
                more that could be at fault, and the caller replaces it.

        Returns:
            how many workers are left on other nodes.
        """
        node = None if slot.place is None else slot.place.node
        others = [
            other
            for other in self.slots
            if other.up and other.place is not None and other.place.node == node and other is not slot
        ]
        left = sum(other.up for other in self.slots if other is not slot) - len(others)
        for other in others:
            if other.job is None:
                self.start(other)
        slot.place = None
        return left

    def lift_quarantines(self) -> None:
        """Has workers use the places whose time is over; tells the user if none has room.

        Raises:
            OSError: if no worker can run the task: this machine is the only one and set aside, or all places
                have been set aside for `GIVE_UP_SECONDS`.
        """
        for parked in [one for one in self._parked if one.place and not self._is_aside(one.place)]:
            self._actors.kill(parked.actor)
            self._parked.remove(parked)
        avoided = self.machines.nodes_aside
        for slot in self.slots:
            if slot.place is None and not slot.avoids <= avoided:
                self.restart(slot)
        self._check_usable()
        # Of what is set aside the user knows.
        self._room.look(found=bool(self.machines.aside) or any(slot.place for slot in self.slots))

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

    def _is_aside(self, place: Place) -> bool:
        return self.machines.quarantine.is_aside(place)

    def _note_failed_open(self, place: Place, why: str) -> None:
        """Counts a worker that could not open the task at a place."""
        self._failed_opens += 1
        self.machines.fault(place, f"start {self._failed_opens}", why)

    def _leave(self, slot: Slot, place: Place) -> None:
        """Has a worker start elsewhere; the one at this place, which is set aside, goes or keeps its GPU."""
        if place.gpus:
            self._parked.append(Slot(actor=slot.actor, place=place))
            self.start(slot)
        else:
            self.restart(slot)

    def _bring_up(self, slot: Slot) -> None:
        """Notes that a worker can get jobs."""
        slot.up, self._stuck_since = True, None
        self._compare_devices(slot.device)
        for other in self.slots:
            other.failed_starts = 0

    def _check_usable(self) -> None:
        """Raises OSError if no worker has a place that is not set aside, and waiting is of no use.

        Opening the task may take hours, so that a worker that does it counts.
        """
        usable = (slot.place and not self._is_aside(slot.place) for slot in self.slots)
        if any(usable) or not self.machines.aside:
            self._stuck_since = None
            return
        now = self._now()
        self._stuck_since = now if self._stuck_since is None else self._stuck_since
        # This machine alone has no other place to wait for, and its user sits in front of it.
        only_machine = not self.machines.several and bool(self.machines.nodes_aside)
        if not only_machine and now - self._stuck_since <= GIVE_UP_SECONDS:
            return
        self.machines.quarantine.forget_others(self._nodes().keys())
        if self.machines.aside:
            raise OSError(f"no worker can run the task; the last fault: {self.machines.last_fault}")
        self._stuck_since = None  # What was set aside is gone: the search waits for a new node.

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
