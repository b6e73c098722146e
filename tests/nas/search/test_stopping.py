"""When a search gives up: what fails quickly must not speak for what still runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controllers import RandomSearch
from nas.executors import SimulatedExecutor
from nas.executors.job import JobResult
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.result import SearchError
from nas.search.stopping import Stopping
from proxy_tasks.task import TaskFailureError, adapt
from search_space import published_space

SPACE = published_space("r35-sp18")


class Cluster(SimulatedExecutor):
    """Failures take a second, and all else an hour."""

    def happen(self, worker: int, ended: JobResult) -> JobResult:
        return replace(ended, seconds=1.0 if ended.status == "failed" else 3600.0)


class Failing:
    """Every so many evaluations run out of memory."""

    def __init__(self, every: int) -> None:
        self.every, self.calls = every, 0

    def evaluate(self, spec: object) -> float:
        self.calls += 1
        if self.calls % self.every == 0:
            raise TaskFailureError("out of memory", "too large")
        return 0.5


def test_few_trials_that_fail_quickly_do_not_end_a_search_on_many_workers() -> None:
    config = SearchConfig(pick="reward")
    found = run_search(
        SPACE, RandomSearch(SPACE, 0), adapt(Failing(10)), Cluster(workers=100), 200, None, config=config
    )
    assert found.trials.counts["failed"] == 20
    assert found.trials.counts["completed"] == 180


def test_a_search_on_many_workers_in_which_all_fail_ends() -> None:
    task = Failing(1)
    with pytest.raises(SearchError, match="trials failed; the last: too large"):
        run_search(SPACE, RandomSearch(SPACE, 0), adapt(task), Cluster(workers=20), 200, None)
    assert task.calls < 100


def test_as_many_failures_as_are_allowed_stop_no_search() -> None:
    stopping = Stopping(config=SearchConfig(max_failures=0.5), budget=100, trials=Trials(), folder=None)
    for number in range(10):
        stopping.count("failed" if number % 2 else "completed", "why")
    assert stopping.reason(0.0) is None
    stopping.count("failed", "why")
    with pytest.raises(SearchError, match="6 of 11 trials failed"):
        stopping.reason(0.0)
