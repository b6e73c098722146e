"""Whether a cluster has room for a worker: each may ask for more than any node has, or others use it all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

NOTICES = logging.getLogger("nas.notices")

NOTICE_SECONDS = 60.0
"""So long no worker may have started before the user is told."""


class RoomWatch:
    """Tells the user once if no worker starts, which Ray itself passes over.

    The search goes on waiting, since a cluster may grow.

    Args:
        cpus, gpus: that each worker asks for.
        nodes: gives what each node that is alive has, by its id.
        now: gives seconds.
    """

    def __init__(
        self,
        cpus: float,
        gpus: float,
        nodes: Callable[[], Mapping[str, Mapping[str, float]]],
        now: Callable[[], float],
    ) -> None:
        self._asked = {"CPU": cpus, "GPU": gpus}
        self._nodes, self._now = nodes, now
        self._since: float | None = None
        self._told = False

    def look(self, *, found: bool) -> None:
        """Notes whether a worker has found room, or none needs it now."""
        now = self._now()
        self._since = None if found else now if self._since is None else self._since
        if self._told or self._since is None or now - self._since < NOTICE_SECONDS:
            return
        self._told = True
        NOTICES.warning("%s", explain_wait(self._asked, self._nodes().values()))


def explain_wait(asked: Mapping[str, float], nodes: Iterable[Mapping[str, float]]) -> str:
    """Says why no worker may have started.

    Args:
        asked: what each worker needs, by Ray's names "CPU" and "GPU".
        nodes: what each node has in all.
    """
    by_size = sorted(nodes, key=lambda node: _fit(asked, node))
    enough = sum(_fit(asked, node) >= 1 for node in by_size)
    wait = f"no worker has started in {NOTICE_SECONDS:g} s: each needs {_words(asked, 'executor.')}"
    if enough:
        which = "one node has" if enough == 1 else f"{enough} nodes have"
        return f"{wait}, which {which}, perhaps in use by others; the search waits for room"
    largest = by_size[-1] if by_size else {}
    return f"{wait}, but the largest node has {_words(largest)}; the search waits for a larger one"


def _fit(asked: Mapping[str, float], node: Mapping[str, float]) -> float:
    """The least share of what is asked for that a node has."""
    return min((node.get(name, 0.0) / count for name, count in asked.items() if count), default=1.0)


def _words(resources: Mapping[str, float], prefix: str = "") -> str:
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    return f"{prefix}cpus={cpus:g} and {prefix}gpus={gpus:g}"
