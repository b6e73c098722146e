"""The workers of a search at a moment: how many run on which machines, and what is set aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True, order=True)
class Workers:
    """Workers of one machine that are alike.

    Args:
        node: name of the machine.
        device: name of what they compute on, such as "CPU" or "NVIDIA H100 80GB HBM3".
        count: how many there are.
    """

    node: str
    device: str
    count: int


@dataclass(frozen=True, kw_only=True, order=True)
class Aside:
    """A machine, or some GPUs of it, that gets no trial for a while.

    Args:
        node: name of the machine.
        gpus: ids of the GPUs; none for the whole machine.
        seconds: how long it is set aside in all.
        why: the fault that was the reason.
    """

    node: str
    gpus: tuple[str, ...]
    seconds: float
    why: str

    def describe(self) -> str:
        """Names what is set aside, such as "gpu-07 (ab12cd34), GPU 3"."""
        return f"{self.node}, GPU {', '.join(self.gpus)}" if self.gpus else self.node


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """All workers that are ready, and all that is set aside."""

    workers: tuple[Workers, ...] = field(default=())
    aside: tuple[Aside, ...] = field(default=())

    @property
    def count(self) -> int:
        """The number of workers that are ready."""
        return sum(group.count for group in self.workers)

    def describe(self) -> str:
        """Says how many workers there are of each kind, such as "16 NVIDIA H100 on 2 machines"."""
        found = []
        for device in sorted({group.device for group in self.workers}):
            alike = [group for group in self.workers if group.device == device]
            machines = len({group.node for group in alike})
            where = "1 machine" if machines == 1 else f"{machines} machines"
            found.append(f"{sum(group.count for group in alike)} {device} on {where}")
        return ", ".join(found)

    def to_dict(self) -> dict[str, Any]:
        """Gives the data of the journal's event."""
        return {
            "workers": [asdict(group) for group in self.workers],
            "aside": [{**asdict(one), "gpus": list(one.gpus)} for one in self.aside],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Fleet:
        """Reads what `to_dict` gives."""
        aside: Sequence[Mapping[str, Any]] = data["aside"]
        return Fleet(
            workers=tuple(Workers(**group) for group in data["workers"]),
            aside=tuple(Aside(**{**one, "gpus": tuple(one["gpus"])}) for one in aside),
        )


@runtime_checkable
class Spreads(Protocol):
    """An executor whose workers may be on several machines."""

    @property
    def workers_differ(self) -> bool:
        """Whether they are, so that some may be slower than others, or get lost."""


@runtime_checkable
class HasFleet(Protocol):
    """An executor whose workers come and go."""

    def fleet(self) -> Fleet:
        """The workers now."""
