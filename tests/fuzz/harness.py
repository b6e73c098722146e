"""Runs cases in processes of their own, with limits of memory and time, and says which were not answered.

| fault | what |
| --- | --- |
| crash | the process died: a signal, or an exit |
| hang | over 5 seconds of the processor's time, or over 30 seconds in all |
| memory | over 1 GiB above what the process had at its start |
| undocumented | an exception that the reader does not document |
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Literal

from tests.fuzz.kind import Kind

SECONDS, WALL_SECONDS = 5.0, 30.0
"""Limits of one case: of the processor's time, and of the time in all, which a busy machine stretches."""

MEMORY = 1 << 30
"""Bytes that a case may take."""

Fault = Literal["crash", "hang", "memory", "undocumented"]


@dataclass(kw_only=True)
class Outcome:
    """What became of the cases of a kind.

    Args:
        name: of the kind.
        read: how many were read without an error.
        refused: how many were answered by a documented error.
        faults: seed, kind and text of every other one.
        seconds: of the processor's time that the slowest took.
    """

    name: str
    read: int = 0
    refused: int = 0
    faults: list[tuple[int, Fault, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many there were."""
        return self.read + self.refused + len(self.faults)


class HangError(BaseException):
    """A case has taken too long. No reader catches it, as it is no Exception."""


def fuzz(kind: Kind, seeds: Sequence[int], workers: int, show: Callable[[Outcome], None]) -> Outcome:
    """Runs the cases of some seeds; a process that dies is replaced, and the rest goes on.

    Args:
        kind: what is fuzzed.
        seeds: one for each case.
        workers: processes at a time.
        show: is called now and then with what is known so far.
    """
    outcome = Outcome(name=kind.name)
    context = multiprocessing.get_context("fork")
    running = [_Worker(context, kind, seeds[first::workers]) for first in range(min(workers, len(seeds)))]
    while running:
        for connection in wait([worker.connection for worker in running], timeout=1.0):
            worker = next(worker for worker in running if worker.connection is connection)
            worker.take(outcome)
        show(outcome)
        for worker in running:
            worker.watch(outcome)
        running = [worker for worker in running if not worker.over]
    return outcome


class _Worker:
    """A process that runs cases one after the other, seen from the one that watches it."""

    def __init__(self, context: Any, kind: Kind, seeds: Sequence[int]) -> None:
        self.context, self.kind, self.left = context, kind, list(seeds)
        self.over = not self.left
        if self.left:
            self._start()

    def _start(self) -> None:
        self.connection, theirs = self.context.Pipe(duplex=False)
        self.process = self.context.Process(target=_run, args=(self.kind, self.left, theirs), daemon=True)
        with warnings.catch_warnings():  # Python warns where threads are forked; a child of ours starts none.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()
        self.since, self.begun = time.monotonic(), False

    def take(self, outcome: Outcome) -> None:
        """Takes a message: a case begins, or has ended; or the end of the process."""
        try:
            message = self.connection.recv()
        except EOFError:
            self._end(outcome)
            return
        self.since, self.begun = time.monotonic(), True
        if message is not None:
            fault, text, seconds = message
            seed = self.left.pop(0)
            outcome.seconds = max(outcome.seconds, seconds)
            if fault == "read":
                outcome.read += 1
            elif fault == "refused":
                outcome.refused += 1
            else:
                outcome.faults.append((seed, fault, text))

    def watch(self, outcome: Outcome) -> None:
        """Ends the process if its case takes too long: code in C cannot be interrupted from inside."""
        if not self.over and self.begun and time.monotonic() - self.since > WALL_SECONDS:
            self.process.kill()
            self.process.join()
            self._lose(outcome, "hang", f"over {WALL_SECONDS:g} s")

    def _end(self, outcome: Outcome) -> None:
        self.process.join()
        if not self.left:
            self.over = True
            return
        if not self.begun:
            raise RuntimeError(
                f"{self.kind.name}: its process ended with {self.process.exitcode} at the start"
            )
        code = self.process.exitcode or 0
        self._lose(outcome, "crash", signal.Signals(-code).name if code < 0 else f"exit {code}")

    def _lose(self, outcome: Outcome, fault: Fault, text: str) -> None:
        outcome.faults.append((self.left.pop(0), fault, text))
        self.connection.close()
        if self.left:
            self._start()
        else:
            self.over = True


def _run(kind: Kind, seeds: Sequence[int], connection: Connection) -> None:
    """The work of a process."""
    faulthandler.disable()  # A crash is told by the process that watches.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    devnull = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # Libraries in C write to the streams themselves.
        os.dup2(devnull, stream)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        material = kind.prepare(folder)
        _limit_memory()
        for seed in seeds:
            connection.send(None)
            connection.send(run_case(kind, material, seed, folder))


def run_case(kind: Kind, material: Any, seed: int, folder: Path) -> tuple[str, str, float]:
    """Makes and reads one case; gives "read", "refused" or the kind of fault, its text, and the seconds."""
    case = kind.mutate(Random(f"{kind.name} {seed}"), material)
    began = time.process_time()
    found, text = "read", ""
    try:
        with _limited_time():
            kind.read(case, folder)
    except kind.documented as error:
        # An error that stands for a lack of memory is one all the same.
        found, text = ("memory" if _came_from_memory(error) else "refused"), _words(error)
    except HangError:
        found, text = "hang", f"over {SECONDS:g} s"
    except MemoryError as error:
        found, text = "memory", _words(error)
    except Exception as error:
        found, text = "undocumented", _words(error)
    return found, text, time.process_time() - began


def _words(error: BaseException) -> str:
    """The class and the message of an error, and the last line of code that is not the fuzzer's."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = "?"
    return f"{type(error).__name__} at {place}: {message[:600]}"


def _came_from_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _limit_memory() -> None:
    """Bounds the address space of this process at what it has now and `MEMORY` more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@contextmanager
def _limited_time() -> Iterator[None]:
    """Raises `HangError` in the block once the process has worked for `SECONDS`."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise HangError

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
