"""Contract tests for tasks: a task of your own passes the ones that ours pass.

from proxy_tasks.testing import check_task

def test_my_task(tmp_path) -> None:
    check_task(MyTask(), a_spec, tmp_path)
"""

from __future__ import annotations

import pickle
from numbers import Integral
from pathlib import Path
from typing import Any

from proxy_tasks.task import Score, evaluated, is_number, task_fault
from search_space.testing import expect


class StopEarlyError(Exception):
    """Raised by a report, as a pruner would."""


def check_task(task: Any, spec: Any, folder: Path, fidelity: float = 1.0) -> None:
    """Checks what a search relies on, by a few evaluations.

    The score is finite, with finite metrics; the same seed gives the same score; steps of reports rise;
    a report may end the evaluation; an evaluation that was ended so goes on from its checkpoint to the
    same score; task and score survive pickling, as workers receive and send them that way.

    Args:
        task: quick to evaluate.
        spec: that it can evaluate.
        folder: empty; for checkpoints.
        fidelity: of the evaluations.

    Raises:
        AssertionError: saying which promise is broken.
    """
    expect(task_fault(task) == "", task_fault(task))
    reports: list[tuple[int, Score]] = []
    before = pickle.dumps(spec)

    def seen(step: int, reported: Score) -> None:
        whole = isinstance(step, Integral) and step >= 0
        expect(whole, f"steps of reports are whole numbers of at least 0, not {step!r}")
        expect(isinstance(reported, Score), f"report(step, Score(value)), not {type(reported).__name__}")
        expect(is_number(reported.reward), f"reports are finite numbers, not {reported.reward!r}")
        reports.append((step, reported))

    score = evaluated(task, spec, fidelity, 1, seen, None)
    expect(isinstance(score, Score), "evaluate returns a number or a Score")
    for name, value in {"reward": score.reward, **score.metrics}.items():
        expect(isinstance(name, str) and is_number(value), f"{name} is a finite number, not {value!r}")
    expect(pickle.dumps(spec) == before, "evaluate leaves the spec as it is")
    steps = [step for step, _ in reports]
    expect(steps == sorted(set(steps)), f"steps of reports rise, but are {steps}")

    evaluated(task, spec, fidelity, 2, lambda *_: None, None)
    again = evaluated(task, spec, fidelity, 1, lambda *_: None, None)
    expect(
        again.reward == score.reward, f"the same seed gives the same score: {score.reward}, {again.reward}"
    )

    if reports:
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        stopped = False
        try:
            evaluated(task, spec, fidelity, 1, _stop, checkpoint)
        except StopEarlyError:
            stopped = True
        expect(stopped, "what a report raises ends the evaluation")
        resumed = evaluated(task, spec, fidelity, 1, lambda *_: None, checkpoint)
        expect(resumed.reward == score.reward, "an evaluation that goes on ends with the same score")

    pickle.loads(pickle.dumps(score))
    from ray import cloudpickle  # What sends tasks to workers.

    try:
        copied = cloudpickle.loads(cloudpickle.dumps(task))  # type: ignore[no-untyped-call]
    except Exception as error:
        raise AssertionError(f"broken promise: a task can be sent to workers, but {error}") from None
    expect(
        evaluated(copied, spec, fidelity, 1, lambda *_: None, None).reward == score.reward,
        "a pickled task gives the same score",
    )


def _stop(step: int, score: Score) -> None:
    raise StopEarlyError
