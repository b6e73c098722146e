"""What executors give back; faults of an executor of the user's own are told as its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

from nas.executors import Executor, JobResult
from nas.executors.job import JobStatus, validate_score
from nas.plugins.faults import FaultError, one_line, reraise_as
from nas.plugins.own_code import is_ours
from proxy_tasks.task import FailureKind, Score, TaskFailureError
from search_space.utils.validation import is_whole


def calling(executor: Executor, method: str) -> contextlib.AbstractContextManager[None]:
    """Gives the context of a call; what an executor of the user's own raises becomes a `FaultError`.

    Args:
        executor: is called.
        method: name of what is called, for the message.
    """
    if is_ours(type(executor)):
        return contextlib.nullcontext()
    return reraise_as(f"{type(executor).__name__}.{method}", but=(OSError,))


def wait_for_results(executor: Executor, timeout: float, trials: int) -> list[JobResult]:
    """Gives the results of jobs that have ended.

    Args:
        executor: is asked.
        timeout: how long it may wait for the first one, in seconds.
        trials: number of trials so far; only they can have results.

    Raises:
        FaultError: if the executor fails, or gives something else.
    """
    what = f"{type(executor).__name__}.wait"
    with calling(executor, "wait"):
        found: object = executor.wait(timeout)
    if not isinstance(found, Sequence):
        raise FaultError(f"{what} must give a list of JobResult, not a {type(found).__name__}")
    return [_checked(result, trials, what) for result in found]


def _checked(result: Any, trials: int, what: str) -> JobResult:
    """A result that the journal can keep; one whose score is not finite is a failed one.

    Raises:
        FaultError: if it cannot be one.
    """
    if not isinstance(result, JobResult):
        raise FaultError(f"{what} must give JobResults, not a {type(result).__name__}")
    if not is_whole(result.trial) or not 0 <= result.trial < trials:
        raise FaultError(f"{what} gives a result of trial {result.trial!r}; {trials} trials have begun")
    known = get_args(JobStatus)
    if result.status not in known:
        raise FaultError(f"{what}: status must be one of {', '.join(known)}, not {one_line(result.status)}")
    kinds = get_args(FailureKind)
    if result.status == "failed" and result.failure not in kinds:
        raise FaultError(f"{what}: failure must be one of {', '.join(kinds)}, not {one_line(result.failure)}")
    if result.status == "completed" and result.score is None:
        raise FaultError(f"{what}: a completed job must have a score")
    if result.score is None:
        return result
    if not isinstance(result.score, Score):
        raise FaultError(f"{what}: score must be a Score, not a {type(result.score).__name__}")
    try:
        return replace(result, score=validate_score(result.score))
    except TaskFailureError as error:
        return replace(result, status="failed", score=None, failure=error.kind, message=error.message)
