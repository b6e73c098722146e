"""Jobs on Ray actors: on the cores of this machine, or on a cluster.

Each worker is one actor. It answers a job with the first report or the end, and a decision on a report with
the next one; an actor that dies, on its own or with its node, costs one attempt and is replaced.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from nas.executors.job import LOG, NODE_LOST, Decision, Job, JobResult, OnReport, run_job
from nas.executors.ray_runtime import abandon_ray, ray_place, start_ray
from nas.executors.ray_setup import join_search, set_up_on_node
from nas.executors.ray_watch import RayWatch
from nas.executors.sending import check_sent
from nas.executors.setup import call_setup
from nas.plugins import one_line
from nas.utils.logging import tasks_log_to
from nas.utils.signals import end_children_quietly
from proxy_tasks.engine.memory import keep_freed_memory, release_memory
from proxy_tasks.task import AdaptedTask, FailureKind, Score

MAX_LOADED = 1 << 28
"""Bytes of the largest task that is loaded for a test; a larger one might not find room a second time."""

STARTS = 3
"""Actors in a row that may die before they are up."""


NODE_SECONDS = 5.0
"""So long Ray may take to record that a node is gone."""


@dataclass
class RayExecutor:
    """Runs jobs on Ray actors.

    Args:
        workers: jobs at a time.
        cpus, gpus: of each worker; fractions of a GPU share one.
        address: "auto" or the address of a cluster; None starts Ray on this machine.
        fresh_process: whether every job gets a new process.
        time_limit: seconds after which a job is ended as failed; None for no limit.
        memory_gib: memory of a worker's process beyond which it fails, on machines without GPU; None for
            its share of the machine's.
    """

    workers: int = 2
    cpus: float = 1
    gpus: float = 0
    address: str | None = None
    fresh_process: bool = False
    time_limit: float | None = None
    memory_gib: float | None = None
    _slots: list[_Slot] = field(default_factory=list, init=False)
    _waiting: deque[Job] = field(default_factory=deque, init=False)
    _started_ray: bool = field(default=False, init=False)
    _watch: RayWatch | None = field(default=None, init=False)

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
        if self.address is None or task.prepare is None:
            call_setup(task, folder)
            return task
        self._connect()
        return set_up_on_node(task, folder, self._share, self._check_ray)

    def open(self, task: AdaptedTask, on_report: OnReport) -> None:
        """Connects to Ray, or starts it, and starts the workers.

        Raises:
            OSError: if Ray cannot be reached or started.
        """
        self._connect()
        import ray
        from ray import cloudpickle

        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if self.gpus and self._started_ray and there.get("GPU", 0.0) < self.gpus:
            self.close()
            raise OSError(f"executor.gpus={self.gpus:g}, but Ray finds no GPU on this machine")
        self._on_report = on_report
        self._task = ray.put(cloudpickle.dumps(task))  # type: ignore[no-untyped-call]
        self._slots = [_Slot() for _ in range(self.workers)]
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
        while True:
            self._check_ray()
            pending = {slot.pending: slot for slot in self._slots if slot.pending is not None}
            if not pending:
                return []
            left = max(0.0, min(deadline - time.monotonic(), 1.0))
            try:
                ready, _ = ray.wait(list(pending), num_returns=1, timeout=left)
            except ray.exceptions.RayError as error:
                self._check_ray()
                raise OSError(f"Ray is gone: {one_line(error)}") from None
            ended = [end for ref in ready if (end := self._next(pending[ref])) is not None]
            ended += [end for slot in self._slots if (end := self._over_time(slot)) is not None]
            self._give_out()
            if ended or time.monotonic() >= deadline:
                return ended

    def now(self) -> float:
        """Seconds of the machine's clock."""
        return time.monotonic()

    def close(self) -> None:
        """Kills the workers, and Ray if it was started here."""
        import ray

        self._waiting.clear()
        slots, self._slots = self._slots, []
        watch, self._watch = self._watch, None
        if watch is not None and watch.fault:
            abandon_ray()
            self._started_ray = False
            return
        for slot in slots:
            with contextlib.suppress(Exception):
                ray.kill(slot.actor)
        if self._started_ray:
            ray.shutdown()
            self._started_ray = False

    def _connect(self) -> None:
        """Connects to Ray, or starts it, unless that is done."""
        if self._watch is None:
            self._started_ray = start_ray(self.address, int(self.workers * self.cpus + 0.999))
            self._watch = RayWatch(None if self.address is None else ray_place())

    @property
    def _share(self) -> dict[str, Any]:
        """What each worker asks Ray for."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "scheduling_strategy": "SPREAD"}

    def _check_ray(self) -> None:
        if self._watch is not None and (fault := self._watch.look()):
            raise OSError(fault)

    def _start(self, slot: _Slot) -> None:
        import ray

        actor = ray.remote(_Worker).options(max_restarts=0, **self._share)
        memory = self.memory_gib
        if memory is None and self.gpus == 0 and self.address is None:
            memory = 0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 / self.workers
        slot.node, slot.up = "", False
        slot.actor = actor.remote(self._task, None if self.gpus else memory, str(Path.cwd()), list(sys.path))
        # Answered as soon as there is room for the actor: on a cluster that has lost a node, perhaps never.
        slot.pending = slot.actor.ready.remote()

    def _give_out(self) -> None:
        for slot in self._slots:
            if self._waiting and slot.up and slot.job is None:
                slot.job, slot.started = self._waiting.popleft(), time.monotonic()
                slot.pending = slot.actor.run.remote(slot.job)

    def _next(self, slot: _Slot) -> JobResult | None:
        """What a worker answered: its end, or None after a report was passed on."""
        import ray

        job = slot.job
        try:
            answer = ray.get(slot.pending)
        except ray.exceptions.OutOfMemoryError as error:
            return self._lost(slot, "out of memory", one_line(error))
        except ray.exceptions.RayError as error:
            self._check_ray()
            if slot.up and _is_node_lost(error, slot.node):
                return self._lost_node(slot)
            return self._lost(slot, "infrastructure", _explain_death(error))
        if job is None:
            slot.up, slot.pending, slot.failed_starts, slot.node = True, None, 0, answer
            return None
        if isinstance(answer, JobResult):
            slot.job = slot.pending = None
            if self.fresh_process:
                ray.kill(slot.actor)
                self._start(slot)
            return answer
        step, score = answer
        slot.pending = slot.actor.go_on.remote(self._on_report(job.trial, step, score))
        return None

    def _over_time(self, slot: _Slot) -> JobResult | None:
        if slot.job is None or self.time_limit is None or time.monotonic() - slot.started <= self.time_limit:
            return None
        return self._lost(slot, "error", f"over the time limit of {self.time_limit:g} s")

    def _lost_node(self, slot: _Slot) -> JobResult | None:
        """The end of the job of a worker whose node is gone; idle workers of that node are replaced too."""
        others = [
            other for other in self._slots if other.up and other.node == slot.node and other is not slot
        ]
        left = sum(other.up for other in self._slots) - len(others) - 1
        for other in others:
            if other.job is None:
                self._start(other)
        workers = "1 worker" if left == 1 else f"{left} workers"
        return self._lost(slot, "infrastructure", f"{NODE_LOST}, {workers} left")

    def _lost(self, slot: _Slot, failure: FailureKind, message: str) -> JobResult | None:
        """The end of the job, if there was one, whose worker is gone or must go; another takes its place."""
        import ray

        job, seconds = slot.job, time.monotonic() - slot.started
        with contextlib.suppress(Exception):
            ray.kill(slot.actor)
        if not slot.up:
            slot.failed_starts += 1
            if slot.failed_starts >= STARTS:
                raise OSError(f"no worker can be started: {message}")
        slot.job = None
        self._start(slot)
        if job is None:
            return None
        return JobResult(job.trial, job.attempt, "failed", None, failure, message, "", seconds)


@dataclass
class _Slot:
    """A worker: its actor, what it was asked last, and its job.

    Args:
        up: whether the actor has a place to run.
        node: id of the node on which it runs, if it is up.
        failed_starts: actors in a row that died before they were up.
    """

    actor: Any = None
    pending: Any = None
    job: Job | None = None
    started: float = 0.0
    up: bool = False
    node: str = ""
    failed_starts: int = 0


class _Worker:
    """The actor. The task runs in a thread of its own, which waits for the answers to its reports.

    Args:
        task: the pickled task.
        memory_gib: memory of the process beyond which it fails; None for no limit.
        folder, path: see `join_search`.
    """

    def __init__(self, task: bytes, memory_gib: float | None, folder: str, path: list[str]) -> None:
        self._pickled = task
        join_search(folder, path)
        self._task: AdaptedTask | None = None
        self._sent: SimpleQueue[tuple[int, Score] | JobResult] = SimpleQueue()
        self._decisions: SimpleQueue[Decision] = SimpleQueue()
        keep_freed_memory()
        end_children_quietly()
        if memory_gib is not None:
            import resource

            limit = int(memory_gib * 2**30)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def ready(self) -> str:
        """The id of the node, once the actor has the task; a fault of the task is told by the first job."""
        import ray

        with contextlib.suppress(Exception):
            self._load()
        return str(ray.get_runtime_context().get_node_id())

    def run(self, job: Job) -> tuple[int, Score] | JobResult:
        """Starts a job; its first report as (step, score), or its end."""

        def on_report(_trial: int, step: int, score: Score) -> Decision:
            self._sent.put((step, score))
            return self._decisions.get()

        def work() -> None:
            try:
                with _output_to(job):
                    ended = self._run(job, on_report)
            except BaseException as error:  # Whatever it is, the search waits for an answer.
                kind: FailureKind = "infrastructure" if isinstance(error, OSError) else "error"
                message = f"{type(error).__name__}: {one_line(error)}"
                ended = JobResult(job.trial, job.attempt, "failed", None, kind, message)
            if ended.seconds > 1:  # What takes less leaves little, and cleaning takes tens of milliseconds.
                release_memory()
            self._sent.put(ended)

        threading.Thread(target=work, daemon=True).start()
        return self._sent.get()

    def go_on(self, decision: Decision) -> tuple[int, Score] | JobResult:
        """Answers the last report; the next one, or the end."""
        self._decisions.put(decision)
        return self._sent.get()

    def _run(self, job: Job, on_report: OnReport) -> JobResult:
        import ray

        node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        worker = f"{node} pid {os.getpid()}"
        try:
            task = self._load()
        except Exception as error:
            message = f"the task cannot be loaded on the worker: {type(error).__name__}: {one_line(error)}"
            return JobResult(job.trial, job.attempt, "failed", None, "error", message, worker)
        return run_job(task, job, on_report, worker)

    def _load(self) -> AdaptedTask:
        """Gives the task, which is loaded and opened once."""
        from ray import cloudpickle

        if self._task is None:
            task: AdaptedTask = cloudpickle.loads(self._pickled)
            task.open()
            self._task = task
        return self._task


@contextlib.contextmanager
def _output_to(job: Job) -> Iterator[None]:
    """Sends what the task prints and logs to the trial's log file."""
    if job.folder is None:
        yield
        return
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / LOG).open("a", buffering=1, encoding="utf-8", errors="backslashreplace") as file,
        tasks_log_to(file),
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield


def _is_node_lost(error: Exception, node: str) -> bool:
    """Whether an actor died, or cannot be reached, because its node is gone.

    Args:
        error: that Ray has raised for the actor.
        node: id of the node on which the actor ran.
    """
    import ray

    if "node has died" in str(error):
        return True
    # A node that dies closes its sockets at once, and Ray's records follow a moment later.
    unavailable = isinstance(error, ray.exceptions.ActorUnavailableError)
    deadline = time.monotonic() + (NODE_SECONDS if unavailable else 0.0)
    while True:
        alive = {entry["NodeID"] for entry in ray.nodes() if entry["Alive"]}  # type: ignore[no-untyped-call]
        if node not in alive or time.monotonic() >= deadline:
            return node not in alive
        time.sleep(0.2)


def _explain_death(error: Exception) -> str:
    """Gives Ray's long story in a few words."""
    text = one_line(error)
    if "OOM" in text or "memory" in text.lower():
        return f"the worker died, perhaps because memory ran out: {text}"
    return f"the worker died: {text.split('. ')[0]}"
