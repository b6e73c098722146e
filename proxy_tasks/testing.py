"""Contract tests for tasks: a task of your own must pass the tests that ours pass.

As one function:

    from proxy_tasks.testing import check_task

    def test_my_task(tmp_path) -> None:
        check_task(MyTask(), a_spec, tmp_path)

or as a class with one test for each promise:

    from proxy_tasks.testing import TaskContract

    class TestMyTask(TaskContract):
        def make_task(self):
            return MyTask()

        def make_spec(self):
            return a_spec
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxy_tasks.adapted_task import AdaptedTask, adapt, task_fault
from proxy_tasks.task import Score, TaskFailureError
from search_space.testing import expect
from search_space.utils.validation import is_number, is_whole


class StopEarlyError(Exception):
    """Is raised by a report, as a pruner would do it."""


def check_task(task: Any, spec: Any, folder: Path, fidelity: float = 1.0) -> None:
    """Checks what a search relies on, by a few evaluations.

    The score is finite, with finite metrics; the same seed gives the same score; steps of reports rise; a
    report may end the evaluation; an evaluation that was ended so continues from its checkpoint to the same
    score; costs are finite; task and score survive pickling, as workers receive and send them that way.

    Args:
        task: must be quick to evaluate.
        spec: the task must be able to evaluate it.
        folder: must be empty; it is used for checkpoints.
        fidelity: of the evaluations.

    Raises:
        AssertionError: if a promise is broken; it says which one.
    """
    check_shape(task)
    adapted = _prepare(task, folder)
    for check in (check_score, check_seed, check_costs, check_checkpoint, check_finalists, check_pickling):
        check(adapted, spec, folder, fidelity)


def check_shape(task: Any) -> None:
    """Checks that the object is a task at all.

    Raises:
        AssertionError: if it is none; it says why.
    """
    fault = task_fault(task)
    expect(fault == "", fault)
    adapted = adapt(task)
    for name, kind in (("digest", "a text"), ("metric_names", "a tuple of texts")):
        found = getattr(task, name, None)
        expect(
            found is None or getattr(adapted, name) is not None,
            f"{type(task).__name__}.{name} is {kind} or None, not a {type(found).__name__}",
        )


def check_score(task: AdaptedTask, spec: Any, folder: Path, fidelity: float = 1.0) -> None:
    """Checks that score and reports are finite, that steps rise, and that the spec stays as it is.

    Arguments and errors: see `check_task`.
    """
    reports: list[tuple[int, Score]] = []
    before = pickle.dumps(spec)

    def report(step: int, score: Score) -> None:
        expect(
            is_whole(step) and step >= 0, f"steps of reports are whole numbers of at least 0, not {step!r}"
        )
        expect(is_number(score.reward), f"reports are finite numbers, not {score.reward!r}")
        reports.append((step, score))

    try:
        score = task.evaluate(spec, fidelity, 1, report, None)
    except TaskFailureError as error:
        raise AssertionError(f"broken promise: the spec has a score, but {error}") from None
    for name, value in {"reward": score.reward, **score.metrics}.items():
        expect(isinstance(name, str) and is_number(value), f"{name} is a finite number, not {value!r}")
    if task.metric_names is not None:
        costs = {} if task.costs is None else task.costs(spec)
        unnamed = score.metrics.keys() - {*task.metric_names, *costs}
        expect(not unnamed, f"metric_names has every metric of a score, but not {', '.join(sorted(unnamed))}")
    expect(pickle.dumps(spec) == before, "evaluate leaves the spec as it is")
    steps = [step for step, _ in reports]
    expect(steps == sorted(set(steps)), f"steps of reports rise, but are {steps}")


def check_seed(task: AdaptedTask, spec: Any, folder: Path, fidelity: float = 1.0) -> None:
    """Checks that the same seed gives the same score, whatever was evaluated in between.

    Arguments and errors: see `check_task`.
    """
    first, _, again = (_reward(task, spec, fidelity, seed=seed) for seed in (1, 2, 1))
    expect(again == first, f"the same seed gives the same score: {first}, {again}")


def check_costs(task: AdaptedTask, spec: Any, folder: Path, fidelity: float = 1.0) -> None:
    """Checks that costs are finite, where the task offers them.

    Arguments and errors: see `check_task`.
    """
    if task.costs is not None:
        for name, value in task.costs(spec).items():
            expect(is_number(value), f"the cost {name} is a finite number, not {value!r}")


def check_checkpoint(task: AdaptedTask, spec: Any, folder: Path, fidelity: float = 1.0) -> None:
    """Checks that a report may end an evaluation, which then continues to the same score.

    Arguments and errors: see `check_task`.
    """
    reported = False

    def report(step: int, score: Score) -> None:
        nonlocal reported
        reported = True

    score = task.evaluate(spec, fidelity, 1, report, None)
    if not reported:
        return
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    stopped = False
    try:
        task.evaluate(spec, fidelity, 1, _stop, checkpoint)
    except StopEarlyError:
        stopped = True
    expect(stopped, "what a report raises ends the evaluation")
    resumed = task.evaluate(spec, fidelity, 1, _ignore, checkpoint)
    expect(resumed.reward == score.reward, "an evaluation that continues ends with the same score")


def check_finalists(task: AdaptedTask, spec: Any, folder: Path, fidelity: float = 1.0) -> None:
    """Checks what the task evaluates finalists with, where it offers that, as `check_score` does.

    Arguments and errors: see `check_task`.
    """
    if task.finalist_task is not None:
        check_score(task.finalist_task, spec, folder, fidelity)


def check_pickling(task: AdaptedTask, spec: Any, folder: Path, fidelity: float = 1.0) -> None:
    """Checks that the task can be sent to workers and the score back.

    Arguments and errors: see `check_task`.
    """
    score = task.evaluate(spec, fidelity, 1, _ignore, None)
    pickle.loads(pickle.dumps(score))
    from ray import cloudpickle  # Sends tasks to workers.

    try:
        copied = cloudpickle.loads(cloudpickle.dumps(task))  # type: ignore[no-untyped-call]
    except Exception as error:
        raise AssertionError(f"broken promise: a task can be sent to workers, but {error}") from None
    copied.open()
    expect(_reward(copied, spec, fidelity) == score.reward, "a pickled task gives the same score")


class TaskContract:
    """The contract as a class of pytest: inherit it and write `make_task` and `make_spec`.

    Attributes:
        fidelity: of the evaluations.
    """

    fidelity: float = 1.0

    def make_task(self) -> Any:
        """Returns the task; it must be quick to evaluate."""
        raise NotImplementedError(f"{type(self).__name__} needs a method make_task(self)")

    def make_spec(self) -> Any:
        """Returns a spec that the task can evaluate."""
        raise NotImplementedError(f"{type(self).__name__} needs a method make_spec(self)")

    def test_it_is_a_task(self) -> None:
        """Runs `check_shape`."""
        check_shape(self.make_task())

    def test_the_score_is_finite(self, tmp_path: Path) -> None:
        """Runs `check_score`."""
        self._run(check_score, tmp_path)

    def test_the_same_seed_gives_the_same_score(self, tmp_path: Path) -> None:
        """Runs `check_seed`."""
        self._run(check_seed, tmp_path)

    def test_costs_are_finite(self, tmp_path: Path) -> None:
        """Runs `check_costs`."""
        self._run(check_costs, tmp_path)

    def test_it_continues_from_a_checkpoint(self, tmp_path: Path) -> None:
        """Runs `check_checkpoint`."""
        self._run(check_checkpoint, tmp_path)

    def test_it_evaluates_finalists(self, tmp_path: Path) -> None:
        """Runs `check_finalists`."""
        self._run(check_finalists, tmp_path)

    def test_it_can_be_sent_to_workers(self, tmp_path: Path) -> None:
        """Runs `check_pickling`."""
        self._run(check_pickling, tmp_path)

    def _run(self, check: Callable[[AdaptedTask, Any, Path, float], None], folder: Path) -> None:
        check(_prepare(self.make_task(), folder), self.make_spec(), folder, self.fidelity)


def _prepare(task: Any, folder: Path) -> AdaptedTask:
    """The task as a worker has it before its first evaluation."""
    adapted = adapt(task)
    adapted.setup(folder)
    adapted.open()
    return adapted


def _reward(task: AdaptedTask, spec: Any, fidelity: float, seed: int = 1) -> float:
    return task.evaluate(spec, fidelity, seed, _ignore, None).reward


def _ignore(step: int, score: Score) -> None:
    """A report that does nothing."""


def _stop(step: int, score: Score) -> None:
    raise StopEarlyError
