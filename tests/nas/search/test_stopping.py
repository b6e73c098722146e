"""When a search gives up: what fails quickly must not speak for what still runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controllers import RandomSearch
from nas.executors import SimulatedExecutor
from nas.executors.job import JobResult
from nas.journal.event import Event
from nas.journal.observer import Observer
from nas.journal.store import MemoryJournal
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.result import SearchError
from nas.search.stopping import Stopping
from proxy_tasks.adapted_task import adapt
from proxy_tasks.task import TaskFailureError
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
        stopping.count(number, "failed" if number % 2 else "completed", "why")
    assert stopping.reason(0.0) is None
    stopping.count(10, "failed", "why")
    with pytest.raises(SearchError, match="6 of 11 trials failed"):
        stopping.reason(0.0)


class CutOff:
    """Ends the process, as a kill does, as soon as so many trials are over."""

    def __init__(self, over: int) -> None:
        self.over = over

    def on_event(self, event: Event, trials: Trials) -> None:
        if event.kind == "ended":
            self.over -= 1
        if not self.over:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Holds nothing."""


class Broken:
    """Fails for a share of the seeds, and always for the same ones."""

    def __init__(self, share: float) -> None:
        self.share = share

    def evaluate(self, spec: object, seed: int) -> float:
        if seed % 100 < 100 * self.share:
            raise TaskFailureError("error", "odd shape")
        return 0.5


def search(task: Any, journal: MemoryJournal, *observers: Observer, trials: int = 400) -> Trials:
    config = SearchConfig(pick="reward")
    workers, controller = Cluster(workers=4), RandomSearch(SPACE, 0)
    return run_search(
        SPACE, controller, task, workers, trials, None, config=config, observers=observers, journal=journal
    ).trials


def test_trials_that_fail_again_after_a_resume_do_not_stop_a_search_in_which_few_fail() -> None:
    """There are more of them than workers, they run first, and a second resume finds some still running."""
    journal, task = MemoryJournal(), Broken(0.2)
    with pytest.raises(KeyboardInterrupt):
        search(task, journal, CutOff(150))
    failed = sum(event.kind == "ended" and event.data["status"] == "failed" for event in journal.events())
    assert failed > 20
    with pytest.raises(KeyboardInterrupt):
        search(task, journal, CutOff(failed - 14))
    found = search(task, journal)
    assert found.counts["completed"] + found.counts["failed"] == 400
    assert found.counts["failed"] < 100


def test_a_search_all_of_whose_trials_fail_again_stops() -> None:
    journal = MemoryJournal()
    with pytest.raises(SearchError, match="10 of 10 trials failed; the last: odd shape"):
        search(Broken(1.0), journal)
    with pytest.raises(SearchError, match="trials that ran again have failed; the last: odd shape"):
        search(Broken(1.0), journal)


def test_new_trials_that_all_fail_stop_a_search_however_many_were_good_before() -> None:
    journal = MemoryJournal()
    with pytest.raises(KeyboardInterrupt):
        search(Broken(0.2), journal, CutOff(150))
    with pytest.raises(SearchError, match="trials since the resume have failed; the last: odd shape"):
        search(Broken(1.0), journal)
    assert sum(event.kind == "asked" for event in journal.events()) < 200
