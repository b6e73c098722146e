"""What comes of jobs whose workers die, do not answer, or wait for the search. No processes run here."""

from __future__ import annotations

import pytest
from ray.exceptions import OutOfMemoryError

from tests.nas.executors.on_ray.fake_ray import dispatch, job


def test_a_trial_is_to_blame_for_memory_only_when_its_worker_is_killed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dispatcher, _ = dispatch(monkeypatch, "ab")
    failures = []
    for attempt, trial in ((0, 0), (0, 1), (1, 0)):
        dispatcher.submit(job(trial, attempt))
        (busy,) = [slot for slot in dispatcher.pool.slots if slot.job is not None]
        busy.pending.answer = OutOfMemoryError("a task was killed, as the node ran low on memory")
        (ended,) = dispatcher.wait(1.0)
        failures.append((ended.trial, ended.failure, ended.message))
        dispatcher.wait(0.0)
    told = "a task was killed, as the node ran low on memory"
    assert failures == [
        (0, "infrastructure", told),
        (1, "infrastructure", told),
        (0, "out of memory", told),
    ]
