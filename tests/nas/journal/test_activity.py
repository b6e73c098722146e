"""Workers that come and go, and what share of their time went into trials."""

from __future__ import annotations

from typing import Any

import pytest

from nas.executors.fleet import Aside, Fleet, Workers
from nas.journal.activity import LATELY, Activity
from nas.journal.event import Event

TWO = Fleet(workers=(Workers(node="a", device="CPU", count=2),))
BROKEN = Fleet(
    workers=(
        Workers(node="a", device="NVIDIA H100", count=8),
        Workers(node="b", device="NVIDIA H100", count=7),
        Workers(node="c", device="CPU", count=1),
    ),
    aside=(Aside(node="b", gpus=("3",), seconds=60.0, why="CUDA error"),),
)


def fed(*events: tuple[float, str, int | None, dict[str, Any]]) -> Activity:
    activity = Activity()
    for now, kind, trial, data in events:
        activity.apply(Event(1e9 + now, kind, trial, data), now)
    return activity


def ended(seconds: float | None, retry: bool = False) -> dict[str, Any]:
    return {"seconds": seconds, "retry": retry}


def test_the_time_of_workers_that_are_not_ready_does_not_count() -> None:
    activity = fed(
        (0, "session", None, {"workers": 4}),
        (0, "workers", None, TWO.to_dict()),
        (0, "submitted", 0, {"attempt": 0}),
        (10, "ended", 0, ended(10.0)),
        (10, "workers", None, Fleet().to_dict()),
        (90, "workers", None, TWO.to_dict()),
        (100, "finished", None, {}),
    )
    assert activity.ready_seconds == 2 * 10 + 2 * 10
    assert activity.utilization(100) == pytest.approx(10 / 40)
    assert (activity.ready, activity.wanted) == (2, 4)


def test_before_the_first_worker_is_ready_no_time_counts() -> None:
    activity = fed(
        (0, "session", None, {"workers": 4}),
        (0, "workers", None, Fleet().to_dict()),
        (0, "submitted", 0, {"attempt": 0}),
        (600, "workers", None, TWO.to_dict()),
        (610, "ended", 0, ended(10.0)),
    )
    assert (activity.ready, activity.ready_seconds) == (2, 20)
    assert activity.utilization(610) == pytest.approx(0.5)


def test_trials_that_still_run_count() -> None:
    activity = fed((0, "session", None, {"workers": 2}), (0, "submitted", 0, {"attempt": 0}))
    assert activity.utilization(10) == pytest.approx(0.5)
    assert activity.utilization(0) == 0


def test_a_session_that_ends_takes_its_workers_and_open_trials_along() -> None:
    activity = fed(
        (0, "session", None, {"workers": 1}),
        (0, "workers", None, TWO.to_dict()),
        (0, "submitted", 0, {"attempt": 0}),
        (4, "reported", 0, {}),
        (4, "session", None, {"workers": 1}),
    )
    assert activity.fleet is None
    assert activity.ready_seconds == 8
    assert activity.utilization(4) == 0


def test_waiting_for_a_worker_is_not_work() -> None:
    activity = fed(
        (0, "session", None, {"workers": 1}),
        (0, "submitted", 0, {"attempt": 0}),
        (0, "submitted", 1, {"attempt": 0}),
        (5, "ended", 0, ended(5.0)),
        (10, "ended", 1, ended(5.0)),
    )
    assert activity.utilization(10) == 1.0


def test_the_pace_is_that_of_the_last_hour_and_retries_are_no_ends() -> None:
    events: list[tuple[float, str, int | None, dict[str, Any]]] = [(0, "session", None, {"workers": 1})]
    events += [(600.0 * i, "ended", i, ended(1.0, retry=i == 11)) for i in range(1, 13)]
    activity = fed(*events)
    assert activity.trials_an_hour(12 * 600.0) == 6, "7 ends in the last hour, one of which was none"
    assert activity.trials_an_hour(12 * 600.0 + LATELY) == 1
    assert fed((0, "session", None, {"workers": 1})).trials_an_hour(0) == 0
    assert fed((0, "session", None, {}), (60, "ended", 0, ended(1.0))).trials_an_hour(60) == 60


def test_a_fleet_is_written_read_and_told() -> None:
    assert Fleet.from_dict(BROKEN.to_dict()) == BROKEN
    assert BROKEN.count == 16
    assert BROKEN.describe() == "1 CPU on 1 machine, 15 NVIDIA H100 on 2 machines"
    assert BROKEN.aside[0].describe() == "b, GPU 3"
    assert Aside(node="b", gpus=(), seconds=1.0, why="").describe() == "b"


def test_what_was_submitted_first_has_the_workers() -> None:
    activity = fed(
        (0, "session", None, {"workers": 1}),
        (0, "submitted", 0, {"attempt": 0}),
        (8, "submitted", 1, {"attempt": 0}),
    )
    assert activity.utilization(10) == 1.0


def test_of_trials_that_run_no_more_count_than_there_are_workers() -> None:
    activity = fed(
        (0, "session", None, {"workers": 1}),
        (5, "submitted", 0, {"attempt": 0}),
        (5, "submitted", 1, {"attempt": 0}),
    )
    assert activity.utilization(10) == 0.5


def test_no_trial_was_busy_for_longer_than_it_was_submitted() -> None:
    activity = fed(
        (0, "session", None, {"workers": 2}),
        (0, "submitted", 0, {"attempt": 0}),
        (10, "ended", 0, ended(3600.0)),
    )
    assert activity.busy_seconds == 10
    assert activity.utilization(10) == pytest.approx(0.5)
