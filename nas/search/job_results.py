"""What executors give back; faults of an executor of the user's own are told as its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, get_args

from nas.executors import Executor, JobResult, KeepsEnds
from nas.executors.job import JobStatus, validate_score
from nas.plugins.faults import FaultError, one_line, reraise_as
from nas.plugins.own_code import is_ours
from nas.utils.terminal import complain
from proxy_tasks.task import FailureKind, Score, TaskFailureError
from search_space.utils.validation import is_number, is_whole


def calling(executor: Executor, method: str) -> contextlib.AbstractContextManager[None]:
    """Gives the context of a call; what an executor of the user's own raises becomes a `FaultError`.

    Args:
        executor: is called.
        method: name of what is called, for the message.
    """
    if is_ours(type(executor)):
        return contextlib.nullcontext()
    return reraise_as(f"{type(executor).__name__}.{method}", but=(OSError,))


@contextlib.contextmanager
def closing_executor(executor: Executor) -> Iterator[None]:
    """Closes an executor after a block.

    If the block has failed, its error counts, and that of `close` is printed.

    Raises:
        FaultError: if the block has not failed, and the executor cannot be closed.
    """
    try:
        yield
    except BaseException:
        try:
            with calling(executor, "close"):
                executor.close()
        except Exception as error:
            complain(one_line(error))
        raise
    with calling(executor, "close"):
        executor.close()


def workers_of(executor: Executor) -> int:
    """Gives how many jobs an executor runs at a time.

    Raises:
        ValueError: if it gives no whole number of at least 1.
        FaultError: if it fails.
    """
    with calling(executor, "workers"):
        found: object = executor.workers
    if not is_whole(found) or found < 1:
        raise ValueError(f"workers must be a whole number of at least 1, not {one_line(repr(found))}")
    return int(found)


def read_clock(executor: Executor) -> float:
    """Gives the seconds on an executor's clock.

    Raises:
        FaultError: if the executor fails, or gives no number.
    """
    with calling(executor, "now"):
        found: Any = executor.now()
    if not is_number(found):
        what = f"{type(executor).__name__}.now"
        raise FaultError(f"{what} must give a number of seconds, not {one_line(repr(found))}")
    return float(found)


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
        results = list(found) if isinstance(found, Iterable) else None
    if results is None:
        raise FaultError(f"{what} must give a list of JobResult, not a {type(found).__name__}")
    return [_checked(result, trials, what) for result in results]


def results_before_error(executor: Executor, trials: int) -> list[JobResult]:
    """Gives the results that an executor had when its `wait` raised, if it keeps them.

    Args:
        executor: is asked.
        trials: see `wait_for_results`.

    Raises:
        FaultError: if the executor fails, or gives something else.
    """
    if not isinstance(executor, KeepsEnds):
        return []
    with calling(executor, "ended_before_error"):
        results = list(executor.ended_before_error())
    return [_checked(result, trials, f"{type(executor).__name__}.ended_before_error") for result in results]


def _checked(result: Any, trials: int, what: str) -> JobResult:
    """A result that the journal can keep; one whose score is not finite is a failed one.

    Raises:
        FaultError: if it cannot be one.
    """
    if not isinstance(result, JobResult):
        raise FaultError(f"{what} must give JobResults, not a {type(result).__name__}")
    fault = _fault_of_numbers(result, trials) or _fault_of_status(result)
    if fault is not None:
        raise FaultError(f"{what}{fault}")
    kept = replace(
        result,
        trial=int(result.trial),
        attempt=int(result.attempt),
        seconds=float(result.seconds),
        message=result.message or "",
        worker=result.worker or "",
    )
    if kept.score is None:
        return kept
    try:
        return replace(kept, score=validate_score(kept.score))
    except TaskFailureError as error:
        return replace(kept, status="failed", score=None, failure=error.kind, message=error.message)


def _fault_of_numbers(result: Any, trials: int) -> str | None:
    """Says which number or text of a result the journal cannot keep; None if it can keep all."""
    if not is_whole(result.trial) or not 0 <= result.trial < trials:
        return f" gives a result of trial {result.trial!r}; {trials} trials have begun"
    if not is_whole(result.attempt) or result.attempt < 0:
        return f": attempt must be a whole number of at least 0, not {one_line(repr(result.attempt))}"
    if not is_number(result.seconds):
        return f": seconds must be a number, not {one_line(repr(result.seconds))}"
    for name in ("message", "worker"):
        text = getattr(result, name)
        if text is not None and not isinstance(text, str):
            return f": {name} must be a text, not {one_line(repr(text))}"
    return None


def _fault_of_status(result: Any) -> str | None:
    """Says what does not go together in a result; None if all does."""
    known, kinds = get_args(JobStatus), get_args(FailureKind)
    if result.status not in known:
        return f": status must be one of {', '.join(known)}, not {one_line(result.status)}"
    if result.status == "failed" and result.failure not in kinds:
        return f": failure must be one of {', '.join(kinds)}, not {one_line(result.failure)}"
    if result.status != "failed" and result.failure:
        return f": a {result.status} job has no failure, and this one has {one_line(repr(result.failure))}"
    if result.status == "completed" and result.score is None:
        return ": a completed job must have a score"
    if result.score is not None and not isinstance(result.score, Score):
        return f": score must be a Score, not a {type(result.score).__name__}"
    return None
