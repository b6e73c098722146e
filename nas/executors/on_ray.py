"""Jobs on Ray actors: on the cores of this machine, or on a cluster.

One actor a worker. A job's reports and its end come back as a stream; an actor that dies, on its own or
with its node, costs one attempt and is replaced.
"""

from __future__ import annotations

import contextlib
import logging
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

from nas.jobs import Ended, Job, OnReport, one_line, run_job
from proxy_tasks.task import FailureKind, Score, Task


@dataclass
class OnRay:
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

    def open(self, task: Task, on_report: OnReport) -> None:
        """Connects to Ray, or starts it, and starts the workers.

        Raises:
            OSError: if Ray cannot be reached or started.
        """
        # Ray would build a second environment for the workers of a driver that `uv run` started.
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
        from ray import cloudpickle

        if not ray.is_initialized():
            options: dict[str, Any] = {"address": self.address}
            if self.address is None:
                options |= {
                    "num_cpus": max(os.cpu_count() or 1, int(self.workers * self.cpus + 0.999)),
                    "object_store_memory": 200 << 20,
                    "include_dashboard": False,
                }
            try:
                ray.init(
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
                    **options,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise OSError(f"Ray at {self.address or 'this machine'}: {one_line(error)}") from None
            self._started_ray = True
            with contextlib.suppress(ImportError, AttributeError):
                # The death of a worker becomes a record of its trial; Ray need not tell it on the terminal.
                from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

                dispatcher.remove_handler("ray_print_logs")
        self._on_report = on_report
        self._task = ray.put(cloudpickle.dumps(task))  # type: ignore[no-untyped-call]
        self._slots = [_Slot() for _ in range(self.workers)]
        for slot in self._slots:
            self._start(slot)

    def submit(self, job: Job) -> None:
        """Gives the job to an idle worker, or has it wait for one."""
        slot = next((slot for slot in self._slots if slot.job is None), None)
        if slot is None:
            self._waiting.append(job)
        else:
            self._give(slot, job)

    def wait(self, timeout: float) -> list[Ended]:
        """Ends of jobs; reports are passed on while waiting."""
        import ray

        deadline = time.monotonic() + timeout
        while True:
            streams = {slot.stream: slot for slot in self._slots if slot.job is not None}
            if not streams:
                return []
            left = max(0.0, min(deadline - time.monotonic(), 1.0))
            ready, _ = ray.wait(list(streams), num_returns=1, timeout=left)
            ended = [end for stream in ready if (end := self._next(streams[stream])) is not None]
            ended += [self._over_time(slot) for slot in self._slots if self._is_over_time(slot)]
            if ended:
                for slot in self._slots:
                    if slot.job is None and self._waiting:
                        self._give(slot, self._waiting.popleft())
                return ended
            if time.monotonic() >= deadline:
                return []

    def now(self) -> float:
        """Seconds of the machine's clock."""
        return time.monotonic()

    def close(self) -> None:
        """Kills the workers, and Ray if it was started here."""
        import ray

        self._waiting.clear()
        for slot in self._slots:
            with contextlib.suppress(Exception):
                ray.kill(slot.actor)
        self._slots = []
        if self._started_ray:
            ray.shutdown()
            self._started_ray = False

    def _start(self, slot: _Slot) -> None:
        import ray

        actor = ray.remote(_Worker).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_concurrency=3,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )
        memory = self.memory_gib
        if memory is None and self.gpus == 0 and self.address is None:
            memory = 0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 / self.workers
        slot.actor = actor.remote(self._task, None if self.gpus else memory)

    def _give(self, slot: _Slot, job: Job) -> None:
        slot.job, slot.started = job, time.monotonic()
        slot.stream = slot.actor.run.options(num_returns="streaming").remote(job)

    def _next(self, slot: _Slot) -> Ended | None:
        """What a worker sent: its end, or None after a report was passed on."""
        import ray

        job = slot.job
        assert job is not None
        try:
            sent = ray.get(next(slot.stream))
        except StopIteration:
            return self._lost(slot, "infrastructure", "the worker stopped without a word")
        except ray.exceptions.OutOfMemoryError as error:
            return self._lost(slot, "out of memory", one_line(error))
        except ray.exceptions.RayError as error:
            return self._lost(slot, "infrastructure", _told(error))
        if isinstance(sent, Ended):
            slot.job = None
            if self.fresh_process:
                ray.kill(slot.actor)
                self._start(slot)
            return sent
        step, score = sent
        slot.actor.verdict.remote(self._on_report(job.trial, step, score))
        return None

    def _is_over_time(self, slot: _Slot) -> bool:
        late = self.time_limit is not None and time.monotonic() - slot.started > self.time_limit
        return late and slot.job is not None

    def _over_time(self, slot: _Slot) -> Ended:
        return self._lost(slot, "error", f"over the time limit of {self.time_limit:g} s")

    def _lost(self, slot: _Slot, failure: FailureKind, message: str) -> Ended:
        """The end of a job whose worker is gone or must go; another worker takes its place."""
        import ray

        job = slot.job
        assert job is not None
        seconds = time.monotonic() - slot.started
        with contextlib.suppress(Exception):
            ray.kill(slot.actor)
        slot.job = None
        self._start(slot)
        return Ended(job.trial, job.attempt, "failed", None, failure, message, "", seconds)


@dataclass(eq=False)
class _Slot:
    """A place for a worker, and what it is busy with."""

    actor: Any = None
    stream: Any = None
    job: Job | None = None
    started: float = 0.0


class _Worker:
    """The actor. The task runs in a thread of its own, so that verdicts reach it."""

    def __init__(self, task: bytes, memory_gib: float | None) -> None:
        from proxy_tasks.allocator import keep_freed_memory

        self._pickled = task
        self._task: Task | None = None
        self._verdicts: SimpleQueue[bool] = SimpleQueue()
        keep_freed_memory()
        if memory_gib is not None:
            import resource

            limit = int(memory_gib * 2**30)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def run(self, job: Job) -> Iterator[Any]:
        """Reports as (step, score), and the end."""
        sent: SimpleQueue[Any] = SimpleQueue()

        def on_report(_trial: int, step: int, score: Score) -> bool:
            sent.put((step, score))
            return self._verdicts.get()

        def work() -> None:
            with _output_to(job):
                sent.put(self._run(job, on_report))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while True:
            item = sent.get()
            yield item
            if isinstance(item, Ended):
                return

    def verdict(self, stop: bool) -> None:
        """The answer to the report that was sent last."""
        self._verdicts.put(stop)

    def _run(self, job: Job, on_report: OnReport) -> Ended:
        import ray
        from ray import cloudpickle

        node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        worker = f"{node} pid {os.getpid()}"
        try:
            if self._task is None:
                self._task = cloudpickle.loads(self._pickled)
        except Exception as error:
            message = f"the task cannot be loaded on the worker: {type(error).__name__}: {one_line(error)}"
            return Ended(job.trial, job.attempt, "failed", None, "error", message, worker)
        return run_job(self._task, job, on_report, worker)


@contextlib.contextmanager
def _output_to(job: Job) -> Iterator[None]:
    """Sends what the task prints and logs to the trial's log file."""
    if job.folder is None:
        yield
        return
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a", buffering=1) as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log = logging.getLogger("proxy_tasks")
        log.setLevel(logging.INFO)
        log.addHandler(handler)
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        finally:
            log.removeHandler(handler)


def _told(error: Exception) -> str:
    """Ray's long story in a few words."""
    text = one_line(error)
    if "OOM" in text or "memory" in text.lower():
        return f"the worker died, perhaps for want of memory: {text}"
    return f"the worker died: {text.split('. ')[0]}"
