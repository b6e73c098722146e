"""A job is one attempt at one trial; whatever happens in it becomes an `Ended`."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.faults import one_line, place
from proxy_tasks.task import FailureKind, Report, Score, Task, TaskFailureError, evaluated, takes_checkpoint

OnReport = Callable[[int, int, Score], bool]
"""Told (trial, step, intermediate score); answers whether the trial shall end early."""


@dataclass(frozen=True)
class Job:
    """One attempt at one trial.

    Args:
        trial: number of the trial.
        attempt: 0 for the first.
        spec: what to evaluate.
        fidelity, seed: see `proxy_tasks.task.Task.evaluate`.
        folder: where log and checkpoint go; None to keep nothing.
    """

    trial: int
    attempt: int
    spec: Any
    fidelity: float
    seed: int
    folder: str | None = None


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Args:
        trial, attempt: of the job.
        status: how.
        score: of a completed job, and the last reported one of a pruned job.
        failure: class of a failed job.
        message: why it failed, in one line.
        worker: where it ran.
        seconds: how long.
    """

    trial: int
    attempt: int
    status: Literal["completed", "pruned", "failed"]
    score: Score | None = None
    failure: FailureKind | None = None
    message: str = ""
    worker: str = ""
    seconds: float = 0.0


def evaluation_seed(*numbers: int) -> int:
    """The seed of an evaluation: the search's, the trial's number, and which retraining it is, if one."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)


class PrunedError(Exception):
    """Raised inside a task, through its report, to end it early."""


def run_job(task: Task, job: Job, on_report: OnReport, worker: str) -> Ended:
    """Evaluates a job; never raises for what the task does, only for what `on_report` does."""
    started = time.monotonic()
    last: Score | None = None
    lost: Exception | None = None

    def report(step: int, score: Score) -> None:
        nonlocal last, lost
        last = checked(score)
        if not isinstance(step, Integral) or step < 0:
            raise TaskFailureError(
                "error", f"report: step must be a whole number of at least 0, not {step!r}"
            )
        try:
            stop = on_report(job.trial, int(step), last)
        except Exception as error:
            lost = error
            stop = True
        if stop:
            raise PrunedError

    def ended(status: Literal["completed", "pruned", "failed"], **more: Any) -> Ended:
        if lost is not None:
            raise lost
        seconds = time.monotonic() - started
        return Ended(job.trial, job.attempt, status, worker=worker, seconds=seconds, **more)

    try:
        score = _evaluated(task, job, report)
    except PrunedError:
        return ended("pruned", score=last)
    except TaskFailureError as error:
        return ended("failed", failure=error.kind, message=one_line(error))
    except MemoryError as error:
        return ended("failed", failure="out of memory", message=one_line(error) or "out of memory")
    except (Exception, SystemExit) as error:
        _keep_traceback(job)
        kind: FailureKind = "out of memory" if "DefaultCPUAllocator" in str(error) else "error"
        where = place(error)
        return ended("failed", failure=kind, message=f"{where}{type(error).__name__}: {one_line(error)}")
    return ended("completed", score=score)


def checked(score: Any) -> Score:
    """The score as plain finite floats.

    Raises:
        TaskFailureError: saying what is wrong with it.
    """
    if not isinstance(score, Score):
        found = type(score).__name__
        raise TaskFailureError("error", f"evaluate must return a number or a Score, not a {found}")
    try:
        plain = Score(float(score.reward), {str(k): float(v) for k, v in score.metrics.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise TaskFailureError("error", f"the score holds something that is no number: {error}") from None
    if not math.isfinite(plain.reward):
        raise TaskFailureError("diverged", f"the reward is {plain.reward}")
    return plain


def _evaluated(task: Task, job: Job, report: Report) -> Score:
    checkpoint = None if job.folder is None else Path(job.folder)
    if checkpoint is not None and takes_checkpoint(task):
        checkpoint.mkdir(parents=True, exist_ok=True)
    return checked(evaluated(task, job.spec, job.fidelity, job.seed, report, checkpoint))


def _keep_traceback(job: Job) -> None:
    """In the trial's log, where there is one."""
    if job.folder is None:
        traceback.print_exc()
        return
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    with (Path(job.folder) / "log.txt").open("a") as file:
        traceback.print_exc(file=file)
