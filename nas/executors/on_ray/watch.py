"""Whether Ray itself still runs: without its own processes it would wait a minute, then end the search."""

from __future__ import annotations

import time

from nas.executors.on_ray.address import can_connect
from nas.executors.on_ray.runtime import find_dead_process

SECONDS_BETWEEN = 5.0
"""So often a cluster is asked for a sign of life."""

SECONDS_TO_RETURN = 40.0
"""So long a cluster may be away; a minute later Ray would end this process."""


class RayWatch:
    """Watches the Ray that a search uses.

    Args:
        address: HOST:PORT of the cluster or its proxy; None if Ray was started by this process, or nothing
            tells one.

    Attributes:
        fault: what is wrong, as soon as it is known; "" before.
    """

    def __init__(self, address: str | None) -> None:
        self.fault = ""
        self._address = address
        self._asked = time.monotonic()
        self._refused_since: float | None = None

    def look(self) -> str:
        """What is wrong with Ray, in a few words; "" if it runs."""
        if self.fault:
            return self.fault
        dead = find_dead_process()
        if dead:
            self.fault = f"Ray's own process {dead} has ended, perhaps it was killed"
        elif self._address is not None:
            self._ask(self._address)
        return self.fault

    def check(self) -> None:
        """Raises OSError if something is wrong with Ray; it says what."""
        if fault := self.look():
            raise OSError(fault)

    def _ask(self, address: str) -> None:
        now = time.monotonic()
        if now - self._asked < SECONDS_BETWEEN:
            return
        self._asked = now
        if can_connect(address, timeout=2.0):
            self._refused_since = None
            return
        # Nobody asks while the search is busy elsewhere, so that the last answer may be of long ago.
        self._refused_since = now if self._refused_since is None else self._refused_since
        if now - self._refused_since > SECONDS_TO_RETURN:
            self.fault = f"the Ray at {address} has not answered for {now - self._refused_since:.0f} s"
