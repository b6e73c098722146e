"""The worker of the Ray executor: an actor that opens the task once and runs one job after the other."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from nas.executors.failure_kind import failure_of
from nas.executors.job import LOG, Decision, Job, JobResult, run_job
from nas.executors.on_ray.quarantine import Place
from nas.plugins.faults import one_line, source_location
from nas.utils.logging import notices_kept, tasks_log_to
from nas.utils.signals import end_children_quietly
from proxy_tasks.adapted_task import AdaptedTask
from proxy_tasks.engine.memory import keep_freed_memory, limit_gpu_memory, release_memory
from proxy_tasks.gpu_share import GPU_SHARE
from proxy_tasks.task import Score


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where a worker is, which it says before it opens the task: that may take hours, or kill it.

    Args:
        place: where it runs.
        host: name of the machine.
    """

    place: Place
    host: str


@dataclass(frozen=True, kw_only=True)
class Started:
    """What a worker says of itself once it has tried to open the task.

    Args:
        device: name of the GPU; "CPU" without one.
        fault: why it cannot run jobs; "" if it can.
        notices: lines for the user.
    """

    device: str = "CPU"
    fault: str = ""
    notices: tuple[str, ...] = ()


Answer = tuple[int, Score] | JobResult
"""What a job tells the search: a report as (step, score), or its end."""


class Answers:
    """What a job tells: one answer for each call. A call that comes again gets the same answer again.

    Calls come one after the other. When a network fails for a moment, it loses a call or its answer, and the
    search cannot know which.
    """

    def __init__(self) -> None:
        self._told: SimpleQueue[Answer] = SimpleQueue()
        self._last: Answer | None = None
        self._call = 0

    def put(self, answer: Answer) -> None:
        """Tells something."""
        self._told.put(answer)

    def give(self, call: int, begin: Callable[[], None]) -> Answer:
        """Gives the answer to a call, and waits for it.

        Args:
            call: its number, above 0; another one than that of the call before, unless it is the same call.
            begin: has the job go on to its next answer.
        """
        if call != self._call:
            self._call, self._last = call, None
            begin()
        if self._last is None:
            self._last = self._told.get()
        return self._last


class RayWorker:
    """The actor. The task runs in a thread of its own, which waits for the answers to its reports.

    Args:
        task: the pickled task.
        gpus: that Ray was asked for, or a share of one. Without any, the machine's GPUs are hidden.
        memory_gib: memory of the process beyond which it fails; None for no limit.
        folder, path: see `join_search`.
    """

    def __init__(
        self, task: bytes, gpus: float, memory_gib: float | None, folder: str, path: list[str]
    ) -> None:
        self._pickled = task
        self._gpus = gpus
        if gpus:
            os.environ[GPU_SHARE] = f"{gpus:g}"
        else:  # Newer Rays leave this alone, and all workers would meet on the first GPU.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        join_search(folder, path)
        self._task: AdaptedTask | None = None
        self._answers = Answers()
        self._decisions: SimpleQueue[Decision] = SimpleQueue()
        keep_freed_memory()
        end_children_quietly()
        if memory_gib is not None:
            import resource

            limit = int(memory_gib * 2**30)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def locate(self) -> Located:
        """Says where the worker is."""
        import ray

        node = str(ray.get_runtime_context().get_node_id())
        place = Place(node=node, gpus=tuple(sorted(map(str, ray.get_gpu_ids()))))
        return Located(place=place, host=socket.gethostname())

    def start(self) -> Started:
        """Loads and opens the task, which shows whether packages, data and device are there."""
        with notices_kept() as notices:
            fault = self._open()
        return Started(device=self._device_name(), fault=fault, notices=tuple(notices))

    def _open(self) -> str:
        """Loads and opens the task; why that failed, or ""."""
        from ray import cloudpickle

        try:
            task: AdaptedTask = cloudpickle.loads(self._pickled)
        except Exception as error:
            return f"the task cannot be loaded on the worker: {type(error).__name__}: {one_line(error)}"
        try:
            task.open()
        except Exception as error:
            told = f"{type(error).__name__}: {one_line(error)}"
            return f"{source_location(error)}{task.name}.open: {told}"
        self._task = task
        # What is loaded by now stays: to look through it after each trial would take a third of a second.
        gc.collect()
        gc.freeze()
        return ""

    def _device_name(self) -> str:
        """What the worker computes on, as far as torch has been loaded by its task."""
        torch = sys.modules.get("torch")
        if not self._gpus:
            return "CPU"
        with contextlib.suppress(Exception):
            if torch is not None and torch.cuda.is_available():
                return str(torch.cuda.get_device_name())
        return "GPU"

    def receive(self) -> None:
        """Is answered at once. Sent before a job, it shows that the worker lived when the job came."""

    def run(self, call: int, job: Job, alone: bool) -> Answer:
        """Starts a job; its first report, or its end.

        Args:
            call: number of the call; see `Answers`.
            job: what to run.
            alone: whether it may use all memory of the GPU, of which the worker has a share.
        """
        return self._answers.give(call, partial(self._begin, job, alone))

    def go_on(self, call: int, decision: Decision) -> Answer:
        """Answers the last report; the next one, or the end.

        Args:
            call: number of the call; see `Answers`.
            decision: the answer.
        """
        return self._answers.give(call, partial(self._decisions.put, decision))

    def _begin(self, job: Job, alone: bool) -> None:
        if self._gpus:
            share = 1.0 if alone else self._gpus
            os.environ[GPU_SHARE] = f"{share:g}"
            limit_gpu_memory(min(1.0, share))
        threading.Thread(target=self._work, args=(job,), daemon=True).start()

    def _work(self, job: Job) -> None:
        """Runs a job; whatever happens, the search gets an answer."""
        ended = None
        try:
            with _output_to(job), notices_kept() as notices:
                ended = self._run(job)
            ended = replace(ended, notices=tuple(notices))
            if ended.seconds > 1:  # What takes less leaves little, and cleaning takes tens of milliseconds.
                release_memory()
        except BaseException as error:
            # A fault of the cleaning spoils no score, but the process that has it gets no further job.
            if ended is None or ended.status == "failed":
                kind = "infrastructure" if isinstance(error, OSError) else failure_of(error)
                message = f"{type(error).__name__}: {one_line(error)}"
                ended = JobResult(job.trial, job.attempt, "failed", None, kind, message)
            else:
                self._task = None
        finally:
            self._answers.put(
                ended or JobResult(job.trial, job.attempt, "failed", None, "error", "no answer")
            )

    def _run(self, job: Job) -> JobResult:
        import ray

        def on_report(_trial: int, step: int, score: Score) -> Decision:
            self._answers.put((step, score))
            return self._decisions.get()

        worker = f"{ray.util.get_node_ip_address()} pid {os.getpid()}"  # type: ignore[no-untyped-call]
        gpus = ray.get_gpu_ids()
        if gpus:
            worker += f" GPU {','.join(map(str, gpus))}"
        if self._task is None:
            message = "the worker's process could not be cleaned up after the trial before"
            return JobResult(job.trial, job.attempt, "failed", None, "infrastructure", message, worker)
        return run_job(self._task, job, on_report, worker)


def join_search(folder: str, path: list[str]) -> None:
    """Makes a worker's process look for modules and files as the search does.

    Args:
        folder: the working folder of the search, where it is there on this machine too.
        path: where the search looks for modules.
    """
    sys.path += [entry for entry in path if entry not in sys.path]
    with contextlib.suppress(OSError):
        os.chdir(folder)


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
