"""Jobs on Ray actors: on the cores of this machine, or on a cluster.

Each worker is one actor. It answers a job with the first report or the end, and a decision on a report with
the next one; an actor that dies, on its own or with its node, costs one attempt and is replaced. So is one
that had a fault of its machine, and the new one must open the task before it gets a job. A node or a GPU
with two such faults in a row is set aside for a while, see `nas.executors.on_ray.quarantine`. Workers that
have nothing else to do try what takes long a second time, see `nas.executors.on_ray.second_copy`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from nas.executors.fleet import Fleet, Workers
from nas.executors.job import NODE_LOST, Job, JobResult, OnReport
from nas.executors.on_ray.death import explain_death, is_node_lost
from nas.executors.on_ray.machines import Machines
from nas.executors.on_ray.patience import Patience
from nas.executors.on_ray.placement import Placement
from nas.executors.on_ray.quarantine import Place
from nas.executors.on_ray.runtime import abandon_ray, cluster_address, start_ray
from nas.executors.on_ray.second_copy import SecondCopies
from nas.executors.on_ray.setup import set_up_on_node
from nas.executors.on_ray.slots import Doubt, Slot
from nas.executors.on_ray.watch import RayWatch
from nas.executors.on_ray.worker import RayWorker, Started
from nas.executors.resources import memory_gib
from nas.executors.sending import check_sent
from nas.executors.setup import call_setup
from nas.plugins.faults import one_line
from proxy_tasks.task import AdaptedTask, FailureKind
from search_space.utils.validation import Above, AtLeast, validate

NOTICES = logging.getLogger("nas.notices")

MAX_LOADED = 1 << 28
"""Bytes of the largest task that is loaded for a test; a larger one might not find room a second time."""

STARTS = 3
"""Actors in a row that may die before they are up."""

NODE_SECONDS, DOUBT_SECONDS = 5.0, 0.2
"""So long Ray may take to record that a node is gone, and how often it is asked."""

GIVE_UP_SECONDS = 600.0
"""So long a search waits at a time for a cluster whose workers are all set aside."""


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
    _slots: list[Slot] = field(default_factory=list, init=False)
    _waiting: deque[Job] = field(default_factory=deque, init=False)
    _started_ray: bool = field(default=False, init=False)
    _watch: RayWatch | None = field(default=None, init=False)
    _parked: list[Slot] = field(default_factory=list, init=False)
    _devices: set[str] = field(default_factory=set, init=False)
    _copies: SecondCopies = field(default_factory=SecondCopies, init=False)

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
        self._connect()
        return set_up_on_node(task, folder, self._share, self._check_ray)

    @property
    def _where(self) -> str:
        return f" at {self.address}" if self.address else ""

    def open(self, task: AdaptedTask, on_report: OnReport) -> None:
        """Connects to Ray, or starts it, and starts the workers.

        Raises:
            OSError: if Ray cannot be reached or started.
        """
        NOTICES.info("starting %d worker%s on Ray%s", self.workers, "s" * (self.workers != 1), self._where)
        self._connect()
        import ray
        from ray import cloudpickle

        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if self.gpus and self.address is None and there.get("GPU", 0.0) < self.gpus:
            self.close()
            raise OSError(f"executor.gpus={self.gpus:g}, but Ray finds no GPU on this machine")
        self._on_report = on_report
        # Once: Ray keeps every class that is made remote until the search ends.
        self._worker: Any = ray.remote(RayWorker)
        self._task = ray.put(cloudpickle.dumps(task))  # type: ignore[no-untyped-call]
        self._machines, self._starts = Machines(time.monotonic, several=self.address is not None), 0
        self._patience = Patience(self.time_limit, self.patience)
        quarantine, elsewhere = self._machines.quarantine, self.address is not None
        self._placement = Placement(time.monotonic, quarantine.has_worked, quarantine.is_aside, elsewhere)
        self._stuck_since: float | None = None
        self._slots, self._parked, self._devices = [Slot() for _ in range(self.workers)], [], set()
        for slot in self._slots:
            self._start(slot)

    def submit(self, job: Job) -> None:
        """Gives the job to an idle worker, or has it wait for one."""
        self._waiting.append(job)
        self._give_out()

    def wait(self, timeout: float) -> list[JobResult]:
        """Ends of jobs; reports are passed on while waiting.

        Raises:
            OSError: if Ray itself is gone.
        """
        import ray

        deadline = time.monotonic() + timeout
        self._try_twice()
        while True:
            self._check_ray()
            self._lift_quarantines()
            asked = [slot for slot in self._slots if slot.pending is not None]
            if not asked and not self._waiting:
                return []
            pending = {slot.pending: slot for slot in asked if slot.doubt is None}
            longest = 1.0 if len(pending) == len(asked) else DOUBT_SECONDS
            left = max(0.0, min(deadline - time.monotonic(), longest))
            try:
                ready = _ready(list(pending), left)
            except ray.exceptions.RayError as error:
                self._check_ray()
                raise OSError(f"Ray is gone: {one_line(error)}") from None
            # A worker that was replaced meanwhile, as its trial has ended elsewhere, owes another answer.
            ended = [
                end for ref in ready if pending[ref].pending is ref and (end := self._next(pending[ref]))
            ]
            ended += [end for slot in asked if slot.doubt and (end := self._settle(slot))]
            ended += [end for slot in self._slots if (end := self._over_time(slot))]
            self._give_out()
            if ended or time.monotonic() >= deadline:
                return ended

    def now(self) -> float:
        """Seconds of the machine's clock."""
        return time.monotonic()

    @property
    def workers_differ(self) -> bool:
        """Whether they are on a cluster."""
        return self.address is not None

    def fleet(self) -> Fleet:
        """The workers that are ready, by machine, and what is set aside."""
        ready = [
            (self._machines.name(slot.place), slot.device) for slot in self._slots if slot.up and slot.place
        ]
        groups = sorted(Counter(ready).items())
        return Fleet(
            workers=tuple(Workers(node=node, device=device, count=count) for (node, device), count in groups),
            aside=self._machines.aside,
        )

    def close(self) -> None:
        """Kills the workers, and Ray if it was started here."""
        import ray

        self._waiting.clear()
        slots, self._slots, self._parked = [*self._slots, *self._parked], [], []
        watch, self._watch = self._watch, None
        if watch is not None and watch.fault:
            abandon_ray()
            self._started_ray = False
            return
        for slot in slots:
            self._kill(slot)
        self._copies.close()
        if self._started_ray:
            ray.shutdown()
            self._started_ray = False

    def _connect(self) -> None:
        """Connects to Ray, or starts it, unless that is done."""
        if self._watch is None:
            self._started_ray = start_ray(self.address, int(self.workers * self.cpus + 0.999))
            self._watch = RayWatch(None if self.address is None else cluster_address())

    @property
    def _share(self) -> dict[str, Any]:
        """What each worker asks Ray for."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "scheduling_strategy": "SPREAD"}

    def _check_ray(self) -> None:
        if self._watch is not None and (fault := self._watch.look()):
            raise OSError(fault)

    def _start(self, slot: Slot) -> None:
        slot.avoids = self._machines.nodes_aside
        options = dict(self._share)
        if slot.avoids:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(slot.avoids))})"}
        actor = self._worker.options(max_restarts=0, **options)
        memory = self.memory_gib
        if memory is None and self.gpus == 0 and self.address is None:
            memory = 0.9 * memory_gib() / self.workers
        limit = None if self.gpus else memory
        slot.place, slot.up, slot.doubt, slot.job = None, False, None, None
        slot.actor = actor.remote(self._task, self.gpus, limit, str(Path.cwd()), list(sys.path))
        # Answered as soon as there is room for the actor: on a cluster that has lost a node, perhaps never.
        slot.pending = slot.actor.start.remote()

    def _give_out(self) -> None:
        for slot in [slot for slot in self._slots if slot.idle]:
            job = next(
                (job for job in self._waiting if self._placement.may_run(job, slot, self._slots)), None
            )
            if job is not None:
                self._waiting.remove(job)
                self._run(slot, job)

    def _run(self, slot: Slot, job: Job) -> None:
        slot.begin(job, time.monotonic())
        slot.pending = slot.actor.run.remote(job, self._placement.runs_alone(job.trial))

    def _try_twice(self) -> None:
        """Gives the slowest jobs to workers for which the search has nothing else."""
        self._give_out()
        idle = [slot for slot in self._slots if slot.idle]
        busy = [slot for slot in self._slots if slot.job is not None] if idle else []
        for first in sorted(busy, key=lambda slot: slot.started):
            job = first.job
            if job is None or not self._is_worth_two(job, time.monotonic() - first.started):
                continue
            other = next((slot for slot in idle if self._may_try_too(slot, first, job)), None)
            copied = None if other is None else self._copies.begin(job)
            if other is not None and copied is not None:
                idle.remove(other)
                self._run(other, copied)

    def _is_worth_two(self, job: Job, seconds: float) -> bool:
        """Whether a job that has run for so long should be tried by a second worker."""
        may = self._copies.may_begin(job.trial) and not self._placement.runs_alone(job.trial)
        return may and self._patience.is_slow(job, seconds)

    def _may_try_too(self, slot: Slot, first: Slot, job: Job) -> bool:
        """Whether an idle worker may try a job that another one has: only where things go well."""
        if slot.place is None or slot.place == first.place:
            return False
        worked = self._machines.quarantine.has_worked(slot.place)
        return worked and self._placement.may_run(job, slot, self._slots)

    def _next(self, slot: Slot) -> JobResult | None:
        """What a worker answered: its end, or None after a report was passed on."""
        import ray

        job = slot.job
        try:
            answer = ray.get(slot.pending)
        except ray.exceptions.OutOfMemoryError as error:
            return self._lost(slot, "out of memory", one_line(error))
        except ray.exceptions.RayError as error:
            self._check_ray()
            # A node that dies closes its sockets at once, and Ray's records follow a moment later.
            unavailable = isinstance(error, ray.exceptions.ActorUnavailableError)
            slot.doubt = Doubt(error=error, until=time.monotonic() + (NODE_SECONDS if unavailable else 0.0))
            return self._settle(slot)
        if job is None:
            slot.pending = None
            self._put_in_place(slot, answer)
            return None
        if isinstance(answer, JobResult):
            slot.job, slot.pending, place = None, None, slot.place
            self._machines.tell(place, answer.notices)
            self._learn(slot, job, answer)
            return self._conclude(job, answer, place)
        step, score = answer
        slot.heard(time.monotonic())
        decision = self._copies.decide(job.trial, step, partial(self._on_report, job.trial, step, score))
        slot.pending = slot.actor.go_on.remote(decision)
        return None

    def _conclude(self, job: Job, ended: JobResult, place: Place | None) -> JobResult | None:
        """The end of a trial's attempt; None if the trial goes on, with another worker or later.

        Args:
            job: what has ended.
            ended: how.
            place: where; None if the worker is gone.
        """
        others = [other for other in self._slots if other.job is not None and other.job.trial == job.trial]
        twice = self._copies.of(job.trial)
        if ended.status == "failed":
            if others and twice is not None:
                self._copies.pass_over(job, ended)
                return None
            if twice is not None:
                ended = twice.outcome(ended)
            shared = 0 < self.gpus < 1 and ended.failure == "out of memory"
            if shared and place is not None and self._placement.lacked_memory(job.trial, place):
                alone = f"trial {job.trial} needs more than its share of a GPU: it gets one alone"
                self._machines.tell(place, [alone])
                self._waiting.appendleft(job)
                return None
        for other in others:
            if twice is not None and other.job is twice.first and other.place is not None:
                quicker = "a worker elsewhere was twice as quick"
                self._machines.fault(other.place, f"trial {job.trial}", quicker)
            self._kill(other)
            self._start(other)
        self._placement.ended(job.trial, by_machine=ended.failure == "infrastructure")
        self._copies.end(job, ended)
        return ended

    def _settle(self, slot: Slot) -> JobResult | None:
        """The end of the job of a worker that does not answer, once it is known what happened to it.

        Meanwhile the other workers go on.
        """
        doubt = slot.doubt
        assert doubt is not None
        if slot.place is not None and is_node_lost(doubt.error, slot.place.node):
            return self._lost_node(slot)
        if time.monotonic() < doubt.until:
            return None
        return self._lost(slot, "infrastructure", explain_death(doubt.error))

    def _put_in_place(self, slot: Slot, started: Started) -> None:
        """Takes a worker that has a place: to work, to stand idle where nobody shall work, or not at all."""
        slot.place, slot.device = started.place, started.device
        self._machines.meet(started.place, started.host)
        self._machines.tell(started.place, started.notices)
        if started.fault:
            self._starts += 1
            self._machines.fault(started.place, f"start {self._starts}", started.fault)
        is_aside = self._machines.quarantine.is_aside(started.place)
        if not started.fault and not is_aside:
            slot.up, self._stuck_since = True, None
            self._compare_devices(started.device)
            for other in self._slots:
                other.failed_starts = 0
            return
        if started.place.gpus and is_aside:
            self._parked.append(Slot(actor=slot.actor, place=slot.place))
        else:
            self._kill(slot)
        self._start(slot)

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

    def _learn(self, slot: Slot, job: Job, ended: JobResult) -> None:
        """Notes how a job went for the worker's place and for the time that jobs take."""
        assert slot.place is not None
        twice = self._copies.of(job.trial)
        if ended.status in ("completed", "paused") and (twice is None or job is twice.first):
            # A second copy begins later than its job, and tells nothing of the time that one takes.
            self._patience.learn(job, ended.seconds, whole=ended.status == "completed")
        if ended.failure == "infrastructure":
            self._note_failure(slot.place, job, ended.message)
        else:
            self._machines.quarantine.success(slot.place)
        # A broken CUDA context, say, stays in the process and fails all later jobs.
        if self.fresh_process or ended.failure == "infrastructure":
            self._kill(slot)
            self._start(slot)

    def _note_failure(self, place: Place, job: Job, message: str) -> None:
        """Counts a job that a place has failed; without another place, the trial alone is to blame."""
        self._placement.failed(job.trial, place)
        if self.address is not None or place.gpus:
            self._machines.fault(place, f"trial {job.trial}", message)

    def _lift_quarantines(self) -> None:
        """Has workers use the places whose time is over; raises OSError if there is no other place."""
        quarantine = self._machines.quarantine
        for parked in [one for one in self._parked if one.place and not quarantine.is_aside(one.place)]:
            self._kill(parked)
            self._parked.remove(parked)
        avoided = self._machines.nodes_aside
        for slot in self._slots:
            if slot.place is None and not slot.avoids <= avoided:
                self._kill(slot)
                self._start(slot)
        usable = (slot.up and slot.place and not quarantine.is_aside(slot.place) for slot in self._slots)
        if any(usable) or not quarantine.aside:
            self._stuck_since = None
            return
        now = time.monotonic()
        self._stuck_since = now if self._stuck_since is None else self._stuck_since
        # This machine alone has no other place to wait for, and its user sits in front of it.
        if (self.address is None and avoided) or now - self._stuck_since > GIVE_UP_SECONDS:
            raise OSError(f"no worker can run the task; the last fault: {self._machines.last_fault}")

    def _kill(self, slot: Slot) -> None:
        import ray

        with contextlib.suppress(Exception):
            ray.kill(slot.actor)

    def _over_time(self, slot: Slot) -> JobResult | None:
        """The end of a job that takes too long: the first time another worker may try."""
        job = slot.job
        if job is None:
            return None
        limit = self._patience.limit(job)
        if limit is None or slot.doubt is not None or time.monotonic() - slot.started <= limit:
            return None
        if _ready([slot.pending], 0):  # It has answered, and only we are late.
            return None
        if not self._patience.is_fixed and slot.is_alive(time.monotonic()):
            return None  # It is slow, as others work on its machine too, and does not hang.
        failure: FailureKind = "infrastructure" if self._patience.end(job) else "error"
        return self._lost(slot, failure, f"over the time limit of {limit:g} s")

    def _lost_node(self, slot: Slot) -> JobResult | None:
        """The end of the job of a worker whose node is gone; idle workers of that node are replaced too."""
        node = None if slot.place is None else slot.place.node
        others = [
            other
            for other in self._slots
            if other.up and other.place is not None and other.place.node == node and other is not slot
        ]
        left = sum(other.up for other in self._slots) - len(others) - 1
        for other in others:
            if other.job is None:
                self._start(other)
        workers = "1 worker" if left == 1 else f"{left} workers"
        slot.place = None  # There is no such place any more that could be at fault.
        return self._lost(slot, "infrastructure", f"{NODE_LOST}, {workers} left")

    def _lost(self, slot: Slot, failure: FailureKind, message: str) -> JobResult | None:
        """The end of the job, if there was one, whose worker is gone or must go; another takes its place."""
        job, seconds = slot.job, time.monotonic() - slot.started
        self._kill(slot)
        if not slot.up:
            slot.failed_starts += 1
            # A node that comes and goes takes some with it; only if all of them die it is not the nodes.
            if all(not other.up and other.failed_starts >= STARTS for other in self._slots):
                raise OSError(f"no worker can be started: {message}")
        if job is not None and slot.place is not None and failure == "infrastructure":
            self._note_failure(slot.place, job, message)
        self._start(slot)
        if job is None:
            return None
        ended = JobResult(job.trial, job.attempt, "failed", None, failure, message, "", seconds)
        return self._conclude(job, ended, None)


def _ready(answers: list[Any], timeout: float) -> list[Any]:
    """The answers that are there, as soon as there is one."""
    import ray

    if not answers:
        time.sleep(timeout)
        return []
    ready, _ = ray.wait(answers, num_returns=1, timeout=timeout)
    if ready and len(answers) > 1:  # Those that came at the same time are taken together.
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=0)
    return list(ready)
