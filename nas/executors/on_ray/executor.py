"""Jobs on Ray actors: on the cores of this machine, or on a cluster.

Each worker is one actor, see `nas.executors.on_ray.pool`. One that dies, on its own or with its node, costs
one attempt and is replaced, see `nas.executors.on_ray.dispatcher`. So is one that had a fault of its machine,
and the new one must open the task before it gets a job. A node or a GPU with two such faults in a row is set
aside for a while, see `nas.executors.on_ray.quarantine`. Workers that have nothing else to do try what takes
long a second time, see `nas.executors.on_ray.second_copy`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from nas.executors.fleet import Fleet
from nas.executors.job import Job, JobResult, OnReport
from nas.executors.on_ray.actors import WorkerActors
from nas.executors.on_ray.dispatcher import Dispatcher
from nas.executors.on_ray.machines import Machines
from nas.executors.on_ray.nodes import nodes_alive
from nas.executors.on_ray.patience import Patience
from nas.executors.on_ray.placement import Placement
from nas.executors.on_ray.pool import WorkerPool
from nas.executors.on_ray.room import RoomWatch
from nas.executors.on_ray.runtime import abandon_ray, start_ray, watched_address
from nas.executors.on_ray.setup import set_up_on_node
from nas.executors.on_ray.watch import RayWatch
from nas.executors.opened import require_open
from nas.executors.resources import memory_gib
from nas.executors.sending import check_sent
from nas.executors.setup import call_setup
from nas.utils.terminal import counted
from proxy_tasks.adapted_task import AdaptedTask
from search_space.utils.validation import Above, AtLeast, validate

NOTICES = logging.getLogger("nas.notices")

MAX_LOADED = 1 << 28
"""Bytes of the largest task that is loaded for a test; a larger one might not find room a second time."""


@dataclass(frozen=True, kw_only=True)
class _Connection:
    """The Ray that a search uses.

    Args:
        started: whether this executor has connected or started it, and has to end it.
        watch: tells whether it still runs.
        room: tells the user if it has no room for a worker.
    """

    started: bool
    watch: RayWatch
    room: RoomWatch


@dataclass
class RayExecutor:
    """Runs jobs on Ray actors.

    Args:
        workers: jobs at a time.
        cpus, gpus: of each worker; fractions of a GPU share one.
        address: "auto" or the address of a cluster; None starts Ray on this machine.
        fresh_process: whether every job gets a new process.
        time_limit: seconds after which a job is ended; None for no limit.
        patience: factor; a job counts as hung if it takes longer than this factor times the median time of
            the jobs of its kind (see `Patience`) at its fidelity, and longer than a minute. It does not count
            as hung if it has reported something, or its checkpoint has told of progress, in the last minute.
            None waits for ever. A trial that is ended for its time runs once more, and may then take four
            times as long. A job that takes twice the median time is also tried by a second worker, if one is
            idle.
        memory_gib: memory of a worker's process beyond which it fails, on machines without GPU; None for
            its share of the machine's, or of the container's if that is less.
    """

    workers: Annotated[int, AtLeast(1)] = 2
    cpus: Annotated[float, AtLeast(0)] = 1
    gpus: Annotated[float, AtLeast(0)] = 0
    address: str | None = None
    fresh_process: bool = False
    time_limit: Annotated[float, Above(0)] | None = None
    patience: Annotated[float, Above(0)] | None = 5.0
    memory_gib: Annotated[float, Above(0)] | None = None
    _connection: _Connection | None = field(default=None, init=False)
    _dispatcher: Dispatcher | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        validate(self)

    def check_sending(self, task: Any, spec: Any) -> None:
        """Checks that a task and a spec can be sent to the workers; this starts nothing.

        Raises:
            SendingError: if one cannot; it says which attribute is to blame.
        """
        from ray import cloudpickle

        def send(thing: Any) -> None:
            pickled = cloudpickle.dumps(thing)  # type: ignore[no-untyped-call]
            if len(pickled) <= MAX_LOADED:
                cloudpickle.loads(pickled)

        for thing, name in ((task, type(task).__name__), (spec, f"the spec, a {type(spec).__name__},")):
            check_sent(thing, name, "cannot be sent to workers", send, "executor=in_process works")

    def set_up(self, task: AdaptedTask, folder: Path) -> AdaptedTask:
        """Sets the task up on a node that a worker could have; in this process if Ray is of this machine.

        Raises:
            OSError: if Ray cannot be reached, or the worker dies.
            Exception: see `nas.executors.setup.set_up`.
        """
        if self.address is None or not task.needs_setup:
            call_setup(task, folder)
            return task
        NOTICES.info("preparing the task on Ray%s", self._where)
        connection = self._connect()
        return set_up_on_node(task, folder, self._share, connection.watch.check, connection.room)

    def open(self, task: AdaptedTask, on_report: OnReport) -> None:
        """Connects to Ray, or starts it, and starts the workers.

        Raises:
            OSError: if Ray cannot be reached or started, or finds no GPU for workers that need one.
        """
        NOTICES.info("starting %s on Ray%s", counted(self.workers, "worker"), self._where)
        connection = self._connect()
        self._check_gpus()
        machines = Machines(time.monotonic, several=self.workers_differ)
        actors = WorkerActors(task, self._share, self._memory_limit)
        pool = WorkerPool(self.workers, actors, machines, time.monotonic, nodes_alive, connection.room)
        quarantine = machines.quarantine
        self._dispatcher = Dispatcher(
            pool=pool,
            placement=Placement(
                time.monotonic, quarantine.has_worked, quarantine.is_aside, self.workers_differ
            ),
            patience=Patience(self.time_limit, self.patience),
            on_report=on_report,
            check_ray=connection.watch.check,
            fresh_process=self.fresh_process,
            shares_gpus=0 < self.gpus < 1,
        )
        pool.start_all()

    def submit(self, job: Job) -> None:
        """Gives the job to an idle worker, or has it wait for one.

        Raises:
            RuntimeError: if the executor is not open.
        """
        self._opened.submit(job)

    def wait(self, timeout: float) -> list[JobResult]:
        """Gives ends of jobs, as soon as there is one; reports are passed on while waiting.

        Args:
            timeout: seconds after which it gives none.

        Raises:
            OSError: if Ray itself is gone, or no worker can be started or run the task.
            RuntimeError: if the executor is not open.
        """
        return self._opened.wait(timeout)

    def ended_before_error(self) -> list[JobResult]:
        """Gives the ends that `wait` had found when it raised.

        Raises:
            RuntimeError: if the executor is not open.
        """
        return self._opened.take_ended()

    def now(self) -> float:
        """Seconds of the machine's clock."""
        return time.monotonic()

    @property
    def workers_differ(self) -> bool:
        """Whether they are on a cluster."""
        return self.address is not None

    def fleet(self) -> Fleet:
        """Gives the workers that are ready, by machine, and what is set aside.

        Raises:
            RuntimeError: if the executor is not open.
        """
        return self._opened.pool.fleet()

    def close(self) -> None:
        """Kills the workers, and Ray if it was started here."""
        connection, self._connection = self._connection, None
        dispatcher, self._dispatcher = self._dispatcher, None
        if connection is not None and connection.watch.fault:
            abandon_ray()
            return
        if dispatcher is not None:
            dispatcher.close()
        if connection is not None and connection.started:
            import ray

            ray.shutdown()

    @property
    def _opened(self) -> Dispatcher:
        return require_open(self._dispatcher, self)

    @property
    def _where(self) -> str:
        return f" at {self.address}" if self.address else ""

    @property
    def _share(self) -> dict[str, Any]:
        """What each worker asks Ray for."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "scheduling_strategy": "SPREAD"}

    def _connect(self) -> _Connection:
        """Connects to Ray, or starts it, unless that is done."""
        if self._connection is None:
            started = start_ray(self.address, int(self.workers * self.cpus + 0.999))
            watch = RayWatch(None if self.address is None else watched_address(self.address))
            room = RoomWatch(self.cpus, self.gpus, nodes_alive, time.monotonic)
            self._connection = _Connection(started=started, watch=watch, room=room)
        return self._connection

    def _check_gpus(self) -> None:
        """Raises OSError if workers of this machine need a GPU, and it has none."""
        import ray

        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if self.gpus and self.address is None and there.get("GPU", 0.0) < self.gpus:
            self.close()
            raise OSError(f"executor.gpus={self.gpus:g}, but Ray finds no GPU on this machine")

    def _memory_limit(self) -> float | None:
        """GiB of a worker's process beyond which it fails; None for no limit."""
        if self.gpus:
            return None
        if self.memory_gib is None and self.address is None:
            return 0.9 * memory_gib() / self.workers
        return self.memory_gib
