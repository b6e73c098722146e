"""A job is one attempt at one trial; whatever happens in it becomes a `JobResult`."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from nas.executors.failure_kind import failure_of
from nas.plugins.faults import one_line, source_location
from proxy_tasks.adapted_task import AdaptedTask
from proxy_tasks.metrics import is_measured
from proxy_tasks.task import FailureKind, Report, Score, TaskFailureError
from search_space.utils.atomic_file import UNFINISHED
from search_space.utils.validation import is_whole

MOST_METRICS, MOST_LETTERS = 10_000, 1 << 20
"""Metrics of a score, and letters of their names, in all: every score is an event of the journal."""

MOST_STEPS = 2**63 - 1
"""Greatest step of a report."""


class Decision(Enum):
    """The answer to a report: the evaluation goes on, is interrupted to be continued later, or ends."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


JobStatus = Literal["completed", "paused", "pruned", "failed"]
"""How a job may end."""

OnReport = Callable[[int, int, Score], Decision]
"""Is called with the trial's number, the step and the intermediate score."""

LOG, CHECKPOINT = "log.txt", "checkpoint"
"""What a trial's folder holds: what the task prints, and the folder of its state."""


NODE_LOST = "node lost"
"""Begins the message of a job whose machine went away."""


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at one trial.

    Args:
        trial: number of the trial.
        attempt: 0 for the first.
        spec: what to evaluate.
        fidelity, seed: see `proxy_tasks.task.Task.evaluate`.
        folder: of the trial, for its log and its checkpoint; None to keep nothing.
        resume_folder: folder of the trial whose checkpoint the first attempt begins with, if there is one.
        resumed_trial: number of that trial.
        apart: whether it is of a finalist that the task's `for_finalists` evaluates.
        start: last step that the resumed trial has reported; 0 without such a trial or a report.
    """

    trial: int
    attempt: int
    spec: Any
    fidelity: float
    seed: int
    folder: str | None = None
    resume_folder: str | None = None
    resumed_trial: int | None = None
    apart: bool = False
    start: int = 0


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended.

    Args:
        trial, attempt: of the job.
        status: "paused" and "pruned" if the answer to a report was PAUSE or STOP.
        score: of a completed job, and the last reported one of a paused or pruned job.
        failure: class of a failed job.
        message: why it failed, in one line.
        worker: where it ran.
        seconds: how long it ran.
        notices: lines for the user.
    """

    trial: int
    attempt: int
    status: JobStatus
    score: Score | None = None
    failure: FailureKind | None = None
    message: str = ""
    worker: str = ""
    seconds: float = 0.0
    notices: tuple[str, ...] = ()


def evaluation_seed(*numbers: int) -> int:
    """Makes the seed of an evaluation from the search's seed and the numbers that tell it from the others."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)


class InterruptedEvaluationError(Exception):
    """Is raised inside a task, through its report, to end the evaluation early."""


def run_job(task: AdaptedTask, job: Job, on_report: OnReport, worker: str) -> JobResult:
    """Evaluates a job; never raises for what the task does, only for what `on_report` does."""
    if job.apart:
        if task.finalist_task is None:
            why = f"{task.name} has no task for the finalists any more"
            return JobResult(job.trial, job.attempt, "failed", failure="error", message=why, worker=worker)
        task = task.finalist_task
    started = time.monotonic()
    last: Score | None = None
    lost: Exception | None = None
    decision = Decision.CONTINUE
    process = os.getpid()

    def report(step: int, score: Score) -> None:
        nonlocal last, lost, decision
        if os.getpid() != process:
            raise RuntimeError("report works in the process of evaluate alone; send it the values by a queue")
        if has_ended():  # The task has caught what an earlier report raised.
            raise InterruptedEvaluationError
        last = validate_score(score)
        if not is_whole(step) or not 0 <= step <= MOST_STEPS:
            raise TaskFailureError(
                "error", f"report: step must be a whole number in 0..{MOST_STEPS}, not {step!r}"
            )
        try:
            decision = on_report(job.trial, int(step), last)
        except Exception as error:
            lost = error
        if has_ended():
            raise InterruptedEvaluationError

    def has_ended() -> bool:
        return lost is not None or decision is not Decision.CONTINUE

    def end(
        status: JobStatus,
        score: Score | None = None,
        failure: FailureKind | None = None,
        message: str = "",
    ) -> JobResult:
        if lost is not None:
            raise lost
        seconds = time.monotonic() - started
        return JobResult(job.trial, job.attempt, status, score, failure, message, worker, seconds)

    try:
        with _working_folder_kept():
            score = _evaluate(task, job, report)
    except KeyboardInterrupt:  # It is the user's, and not the task's.
        raise
    except BaseException as error:  # Some are of libraries, such as asyncio's CancelledError.
        if not isinstance(error, InterruptedEvaluationError):
            kind = _kind_of_failure(error)
            # A paused trial whose state could not be written has nothing to go on from: it runs again.
            if not has_ended() or (decision is Decision.PAUSE and kind == "infrastructure"):
                return end("failed", failure=kind, message=_explain_failure(job, error))
    else:
        if not has_ended():
            return end("completed", score)
    # The task may have caught what its report raised, or have raised an error of its own from it.
    return end("paused" if decision is Decision.PAUSE else "pruned", last)


def _kind_of_failure(error: BaseException) -> FailureKind:
    if isinstance(error, TaskFailureError):
        return error.kind
    return "out of memory" if isinstance(error, MemoryError) else failure_of(error)


def _explain_failure(job: Job, error: BaseException) -> str:
    """What a task has raised, in one line; the traceback of what it did not mean to raise is in the log."""
    if isinstance(error, TaskFailureError):
        return one_line(error)
    if isinstance(error, MemoryError):
        return one_line(error) or "out of memory"
    _keep_traceback(job)
    return f"{source_location(error)}{type(error).__name__}: {one_line(error)}"


def validate_score(score: Score) -> Score:
    """Gives a score of a finite reward, without metrics of which there was nothing to measure.

    A metric may be NaN or infinite.

    Raises:
        TaskFailureError: if the reward is not finite, or the metrics are too many.
    """
    if not math.isfinite(score.reward):
        raise TaskFailureError("diverged", f"the reward is {score.reward}")
    if len(score.metrics) > MOST_METRICS:
        raise TaskFailureError(
            "error", f"a score may have {MOST_METRICS} metrics, and this one has {len(score.metrics)}"
        )
    if sum(map(len, score.metrics)) > MOST_LETTERS:
        raise TaskFailureError("error", f"the names of a score's metrics have over {MOST_LETTERS} letters")
    metrics = {name: value for name, value in score.metrics.items() if is_measured(name, value)}
    return Score(score.reward, metrics)


def _evaluate(task: AdaptedTask, job: Job, report: Report) -> Score:
    checkpoint = None
    if job.folder is not None and task.takes_checkpoint:
        checkpoint = _prepare_checkpoint(job)
    process = os.getpid()
    try:
        score = task.evaluate(job.spec, job.fidelity, job.seed, report, checkpoint)
    except BaseException as error:
        if os.getpid() != process:
            _end_child(error)
        raise
    if os.getpid() != process:
        _end_child(None)
    return validate_score(score)


def _end_child(error: BaseException | None) -> NoReturn:
    """Ends a process that the task has forked and not ended; it must not go on as a second search."""
    code = error.code if isinstance(error, SystemExit) else 0 if error is None else 1
    if error is not None and not isinstance(error, (SystemExit, KeyboardInterrupt)):
        traceback.print_exception(error)
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


@contextlib.contextmanager
def _working_folder_kept() -> Iterator[None]:
    """Comes back to the working folder: a task may change it, and the next trial begins in it too."""
    try:
        before = os.open(".", os.O_RDONLY)
    except OSError:  # It may not be read, or is gone.
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.fchdir(before)
        os.close(before)


def _prepare_checkpoint(job: Job) -> Path:
    """Makes the folder of the job's state; the first attempt begins with a copy of what it goes on from."""
    assert job.folder is not None
    checkpoint = Path(job.folder) / CHECKPOINT
    before = None if job.resume_folder is None else Path(job.resume_folder) / CHECKPOINT
    if before is not None and before.is_dir() and not checkpoint.exists():
        partial = checkpoint.with_name(f"{CHECKPOINT}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # Of an attempt that was killed.
        try:
            shutil.copytree(before, partial, ignore=_unfinished)
        except shutil.Error as error:  # It has no errno, from which a fault of the machine would be known.
            raise TaskFailureError("infrastructure", f"checkpoint of {job.resume_folder}: {error}") from error
        partial.rename(checkpoint)
    checkpoint.mkdir(parents=True, exist_ok=True)
    return checkpoint


def _unfinished(_folder: str, names: list[str]) -> list[str]:
    """Those that come and go while another process writes its checkpoint."""
    return [name for name in names if UNFINISHED.match(name)]


def _keep_traceback(job: Job) -> None:
    """Writes the traceback to the trial's log, where there is one."""
    if job.folder is None:
        traceback.print_exc()
        return
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    with (Path(job.folder) / LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
        traceback.print_exc(file=file)
