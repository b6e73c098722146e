"""Executors before they are open, and after they are closed."""

from __future__ import annotations

from dataclasses import fields

import pytest

from nas.executors import Decision, Executor, Job, KeepsEnds, LocalExecutor, RayExecutor, SimulatedExecutor
from nas.executors.fleet import HasFleet
from proxy_tasks.adapted_task import adapt

JOB = Job(0, 0, "spec", 1.0, 0)


class Halves:
    def evaluate(self, spec: object) -> float:
        return 0.5


def open_and_run(executor: Executor) -> None:
    executor.open(adapt(Halves()), lambda *_: Decision.CONTINUE)
    executor.submit(JOB)
    (ended,) = executor.wait(1)
    assert ended.score is not None
    assert ended.score.reward == 0.5


def check_refuses_jobs(executor: Executor) -> None:
    told = f"^{type(executor).__name__} is not open: call its open before it gets jobs$"
    with pytest.raises(RuntimeError, match=told):
        executor.submit(JOB)
    with pytest.raises(RuntimeError, match=told):
        executor.wait(0)
    if isinstance(executor, HasFleet):
        with pytest.raises(RuntimeError, match=told):
            executor.fleet()
    if isinstance(executor, KeepsEnds):
        with pytest.raises(RuntimeError, match=told):
            executor.ended_before_error()


@pytest.mark.parametrize("kind", [LocalExecutor, SimulatedExecutor, RayExecutor])
def test_an_executor_that_is_not_open_gets_no_jobs(kind: type[Executor]) -> None:
    executor = kind()
    check_refuses_jobs(executor)
    executor.close()
    check_refuses_jobs(executor)


@pytest.mark.parametrize("kind", [LocalExecutor, SimulatedExecutor])
def test_an_executor_can_be_opened_again(kind: type[Executor]) -> None:
    executor = kind()
    for _ in range(2):
        open_and_run(executor)
        executor.close()
        check_refuses_jobs(executor)


@pytest.mark.parametrize("kind", [LocalExecutor, SimulatedExecutor])
def test_an_open_executor_has_no_attribute_that_it_had_not_before(kind: type[Executor]) -> None:
    executor = kind()
    open_and_run(executor)
    assert set(vars(executor)) == {field.name for field in fields(kind)}  # type: ignore[arg-type]
