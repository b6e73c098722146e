"""The machines that workers are on: by the names that people know, and which of them are set aside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from nas.executors.fleet import Aside
from nas.executors.on_ray.quarantine import Place, Quarantine
from nas.utils.terminal import duration

NOTICES = logging.getLogger("nas.notices")


class Machines:
    """Names machines, tells users what happens there, and sets those aside that fail.

    Args:
        now: gives seconds.
        several: whether there may be more machines than this one; then lines for the user name the machine.

    Attributes:
        several: as given.
        quarantine: which places are set aside.
        last_fault: what the latest fault was; "" before any.
    """

    def __init__(self, now: Callable[[], float], *, several: bool) -> None:
        self.quarantine, self.last_fault = Quarantine(now), ""
        self.several = several
        self._names: dict[str, str] = {}
        self._aside: dict[Place, Aside] = {}
        self._told: set[str] = set()

    def meet(self, place: Place, host: str) -> None:
        """Notes what the machine of a place is called."""
        self._names[place.node] = f"{host} ({place.node[:8]})"

    def name(self, place: Place | None) -> str:
        """What people call the machine of a place."""
        return "?" if place is None else self._names[place.node]

    def tell(self, place: Place | None, notices: Iterable[str]) -> None:
        """Logs lines for the user, once for each machine."""
        where = f"{self.name(place)}: " if self.several else ""
        for notice in notices:
            if where + notice not in self._told:
                self._told.add(where + notice)
                NOTICES.warning("%s%s", where, notice)

    def fault(self, place: Place, trial: str, message: str) -> None:
        """Counts a fault, and says it if the place is set aside for it; see `Quarantine.fault`."""
        self.last_fault = message
        seconds = self.quarantine.fault(place, trial)
        if seconds is not None:
            found = Aside(node=self.name(place), gpus=place.gpus, seconds=seconds, why=message)
            self._aside[place] = found
            NOTICES.warning("node %s is set aside for %s: %s", found.describe(), duration(seconds), message)

    def has_another(self, place: Place) -> bool:
        """Whether work can go on elsewhere if a place is set aside: on another machine, or another GPU."""
        return self.several or bool(place.gpus)

    @property
    def aside(self) -> tuple[Aside, ...]:
        """What is set aside now."""
        return tuple(self._aside[place] for place in self.quarantine.aside)

    @property
    def nodes_aside(self) -> frozenset[str]:
        """Ids of nodes on which no worker shall start; a GPU is kept by a worker that stands idle there."""
        return frozenset(place.node for place in self.quarantine.aside if not place.gpus)
