"""A Ray without processes: a test says what each call is answered, and moves the clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from nas.executors.job import Decision, Job, OnReport
from nas.executors.on_ray import dispatcher
from nas.executors.on_ray.dispatcher import Dispatcher
from nas.executors.on_ray.machines import Machines
from nas.executors.on_ray.nodes import nodes_alive
from nas.executors.on_ray.patience import Patience
from nas.executors.on_ray.placement import Placement
from nas.executors.on_ray.pool import WorkerPool
from nas.executors.on_ray.quarantine import Place
from nas.executors.on_ray.room import RoomWatch
from nas.executors.on_ray.worker import Located, Started

UNANSWERED = object()


@dataclass(eq=False)
class Call:
    """A call of an actor's method.

    Args:
        method, args: what was called.
        answer: what it gives, or an exception that it raises; `UNANSWERED` before.
    """

    method: str
    args: tuple[Any, ...]
    answer: Any = UNANSWERED


class Actor:
    """An actor. It answers `locate` and `receive` at once.

    Args:
        place: where it runs.
        starts: whether it comes up at once.

    Attributes:
        dead: what all further calls raise; None while it lives.
        calls: what it was asked.
    """

    def __init__(self, place: Place, starts: bool) -> None:
        self.place, self.starts = place, starts
        self.dead: Exception | None = None
        self.calls: list[Call] = []

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(remote=lambda *args: self._call(method, args))

    def _call(self, method: str, args: tuple[Any, ...]) -> Call:
        call = Call(method, args)
        if method not in ("locate", "start") and self.dead is not None:
            call.answer = self.dead
        elif method == "locate":
            call.answer = Located(place=self.place, host=f"host-{self.place.node}")
        elif method == "receive":
            call.answer = None
        self.calls.append(call)
        if method == "start" and self.starts:
            self.come_up()
        return call

    def come_up(self) -> None:
        """Answers the call of `start`."""
        self.last.answer = Started()

    @property
    def last(self) -> Call:
        """What it was asked last."""
        return self.calls[-1]


@dataclass
class FakeRay:
    """Workers of a search, one on each node.

    Args:
        nodes: names of the nodes on which actors start, in turn.
        gone: nodes that Ray knows to be dead.
        now: seconds of the clock.
        starts: whether actors come up at once.
        actors: all that were started.
        killed: those that were killed.
    """

    nodes: str
    gone: set[str] = field(default_factory=set)
    now: float = 0.0
    starts: bool = True
    actors: list[Actor] = field(default_factory=list)
    killed: list[Actor] = field(default_factory=list)

    def start(self, _avoids: frozenset[str]) -> Actor:
        """Starts an actor on the next node."""
        node = self.nodes[len(self.actors) % len(self.nodes)]
        self.actors.append(Actor(Place(node=node), self.starts))
        return self.actors[-1]

    def kill(self, actor: Actor) -> None:
        """Notes that an actor was killed."""
        self.killed.append(actor)

    def move(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds

    def wait(self, calls: list[Call], num_returns: int, timeout: float) -> tuple[list[Call], list[Call]]:
        """As `ray.wait`; the time passes if there is nothing."""
        ready = [call for call in calls if call.answer is not UNANSWERED][:num_returns]
        if not ready:
            self.move(timeout)
        return ready, [call for call in calls if call not in ready]

    def get(self, call: Call) -> Any:
        """As `ray.get`."""
        assert call.answer is not UNANSWERED, call
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def list_nodes(self) -> list[dict[str, Any]]:
        """As `ray.nodes`."""
        return [{"NodeID": node, "Alive": node not in self.gone, "Resources": {}} for node in self.nodes]


def dispatch(
    patch: pytest.MonkeyPatch,
    nodes: str,
    *,
    time_limit: float | None = None,
    patience: float | None = None,
    on_report: OnReport = lambda *_: Decision.CONTINUE,
) -> tuple[Dispatcher, FakeRay]:
    """A dispatcher whose workers are up, one on each node.

    Args:
        patch: puts the fake Ray in the place of the real one.
        nodes: their names, a letter each.
        time_limit, patience: see `Patience`.
        on_report: answers the reports.
    """
    import ray

    fake = FakeRay(nodes=nodes)
    clock = SimpleNamespace(monotonic=lambda: fake.now, sleep=fake.move)
    patch.setattr(dispatcher, "time", clock)
    for name, replacement in (("wait", fake.wait), ("get", fake.get), ("nodes", fake.list_nodes)):
        patch.setattr(ray, name, replacement)
    machines = Machines(clock.monotonic, several=True)
    room = RoomWatch(1, 0, nodes_alive, clock.monotonic)
    pool = WorkerPool(len(nodes), fake, machines, clock.monotonic, nodes_alive, room)
    quarantine = machines.quarantine
    found = Dispatcher(
        pool=pool,
        placement=Placement(clock.monotonic, quarantine.has_worked, quarantine.is_aside, True),
        patience=Patience(time_limit, patience),
        on_report=on_report,
        check_ray=lambda: None,
        fresh_process=False,
        shares_gpus=False,
    )
    pool.start_all()
    found.wait(0.0)  # They say where they are,
    found.wait(0.0)  # and open the task.
    return found, fake


def job(trial: int, attempt: int = 0) -> Job:
    """An attempt at a trial."""
    return Job(trial, attempt, "spec", 1.0, 0)
