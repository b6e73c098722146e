"""How long jobs may take."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nas.executors.job import Decision, Job
from nas.executors.on_ray.dispatcher import Dispatcher
from nas.executors.on_ray.patience import (
    LEAST_SECONDS,
    LEAST_SLOW_SECONDS,
    MEDIAN_OF,
    SECOND_CHANCE,
    Patience,
)
from nas.executors.on_ray.slots import Slot
from proxy_tasks.task import Score


def job(trial: int = 0, fidelity: float = 1.0) -> Job:
    return Job(trial, 0, "spec", fidelity, 0)


def taught(patience: Patience, seconds: float, fidelity: float = 1.0) -> Patience:
    for number in range(MEDIAN_OF):
        # One job in five takes ten times as long: the median does not mind.
        patience.learn(job(fidelity=fidelity), seconds * fidelity * (1 if number else 10))
    return patience


def test_the_rest_of_a_training_that_was_cut_off_tells_nothing() -> None:
    patience = Patience(None, 5.0)
    for number in range(2 * MEDIAN_OF):
        patience.learn(replace(job(number), attempt=1), 110.0)
    assert patience.limit(job()) is None
    assert taught(patience, 3600.0).limit(job()) == 5 * 3600.0


def test_nothing_is_known_at_first() -> None:
    patience = Patience(None, 5.0)
    assert patience.limit(job()) is None
    assert not patience.is_slow(job(), 1e9)


def test_the_limit_follows_the_median_job_and_the_fidelity() -> None:
    patience = taught(Patience(None, 5.0), 100.0)
    assert patience.limit(job()) == 500.0
    assert patience.limit(job(fidelity=3.0)) == 1500.0
    assert taught(Patience(None, 5.0), 100.0, fidelity=0.25).limit(job()) == 500.0


def test_short_jobs_have_a_minute() -> None:
    assert taught(Patience(None, 5.0), 0.1).limit(job()) == LEAST_SECONDS


def test_a_trial_that_was_ended_may_take_longer_once() -> None:
    patience = taught(Patience(None, 5.0), 100.0)
    assert patience.end(job(7))
    assert patience.limit(job(7)) == 500.0 * SECOND_CHANCE
    assert patience.limit(job(8)) == 500.0
    assert not patience.end(job(7))


def test_a_given_limit_stands() -> None:
    patience = taught(Patience(30.0, 5.0), 100.0)
    assert patience.limit(job(fidelity=10.0)) == 30.0


def test_without_patience_nothing_is_ended_or_tried_twice() -> None:
    patience = taught(Patience(None, None), 100.0)
    assert patience.limit(job()) is None
    assert not patience.is_slow(job(), 1e9)


def test_short_jobs_are_not_worth_a_second_worker() -> None:
    patience = taught(Patience(None, 5.0), 1.0)
    assert not patience.is_slow(job(), LEAST_SLOW_SECONDS)
    assert patience.is_slow(job(), LEAST_SLOW_SECONDS + 1)


def test_the_median_of_an_even_number_is_the_mean_of_two() -> None:
    patience = Patience(None, 5.0)
    for seconds in (400.0, 100.0, 200.0, 300.0, 10.0, 9000.0):
        patience.learn(job(), seconds)
    assert patience.limit(job()) == 5 * 250.0


def test_a_job_is_slow_at_twice_the_usual_time() -> None:
    patience = taught(Patience(None, 5.0), 100.0)
    assert not patience.is_slow(job(), 199.0)
    assert patience.is_slow(job(), 201.0)
    assert not patience.is_slow(job(fidelity=2.0), 201.0)


def test_jobs_are_compared_with_those_that_go_on_from_the_same_step() -> None:
    """Halving: a quarter, a quarter and a half of a training of an hour; a finalist is a whole one."""
    patience = Patience(None, 5.0)
    parts = [
        (job(), 900.0, False),
        (replace(job(), resume_folder="trials/1", start=1), 900.0, False),
        (replace(job(), resume_folder="trials/1", start=2), 1800.0, True),
    ]
    for part, seconds, whole in parts:
        for _ in range(MEDIAN_OF):
            patience.learn(part, seconds, whole=whole)
    for part, seconds, _ in parts:
        assert patience.limit(part) == 5 * seconds
        assert not patience.is_slow(part, 1.9 * seconds)
        assert patience.is_slow(part, 2.1 * seconds)
    finalist = replace(job(), apart=True)
    assert not patience.is_slow(finalist, 1e9)
    assert patience.limit(finalist) == 5 * 3600.0


def test_finalists_on_other_images_do_not_tell_how_long_trials_take() -> None:
    patience = Patience(None, 5.0)
    for _ in range(MEDIAN_OF):
        patience.learn(replace(job(), apart=True), 900.0)
    assert patience.limit(job()) is None
    assert patience.limit(replace(job(), apart=True)) == 5 * 900.0


def test_paused_jobs_count_only_until_enough_are_completed() -> None:
    patience = Patience(None, 5.0)
    for whole, seconds in ((False, 100.0), (True, 400.0)):
        for _ in range(MEDIAN_OF):
            patience.learn(job(), seconds, whole=whole)
        assert patience.limit(job()) == 5 * seconds


def test_a_job_that_goes_on_where_others_are_paused_is_not_judged_by_them() -> None:
    """A scheduler pauses the poor ones after 900 seconds of an hour, and lets the good ones go on."""
    patience = Patience(None, 5.0)
    finalist = replace(job(), apart=True)
    for number in range(MEDIAN_OF):
        patience.note_decision(job(number), 1, Decision.CONTINUE)
        patience.note_decision(job(number), 2, Decision.PAUSE)
        patience.learn(job(number), 900.0, whole=False)
    assert patience.limit(job()) == 5 * 900.0
    assert patience.is_slow(job(), 1801.0)
    patience.note_decision(job(7), 2, Decision.CONTINUE)
    assert patience.limit(job()) is None
    assert patience.limit(finalist) is None
    assert not patience.is_slow(job(), 1801.0)
    for number in range(MEDIAN_OF):
        patience.learn(job(number), 3600.0)
    assert patience.limit(job()) == patience.limit(finalist) == 5 * 3600.0


def test_one_completed_job_shows_that_paused_ones_are_shorter() -> None:
    patience = Patience(None, 5.0)
    for _ in range(MEDIAN_OF):
        patience.learn(job(), 900.0, whole=False)
    patience.learn(job(), 3600.0)
    assert patience.limit(job()) is None
    assert not patience.is_slow(job(), 1801.0)


def test_what_jobs_of_another_kind_do_says_nothing_of_paused_ones() -> None:
    patience = Patience(None, 5.0)
    rest = replace(job(), resume_folder="trials/1", start=1)
    for _ in range(MEDIAN_OF):
        patience.note_decision(job(), 1, Decision.PAUSE)
        patience.learn(job(), 900.0, whole=False)
        patience.note_decision(rest, 2, Decision.CONTINUE)
        patience.learn(rest, 2700.0)
    assert patience.limit(job()) == 5 * 900.0
    assert patience.limit(rest) == 5 * 2700.0
    assert patience.limit(replace(job(), apart=True)) == 5 * 3600.0


def test_the_dispatcher_notes_what_is_answered_to_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def answer(*_: object) -> str:
        return "the next answer"

    actor = SimpleNamespace(go_on=SimpleNamespace(remote=answer))
    slot = Slot(actor=actor, pending="a report", job=job(), up=True)
    nothing: Any = SimpleNamespace()
    dispatcher = Dispatcher(
        pool=nothing,
        placement=nothing,
        patience=Patience(None, 5.0),
        on_report=lambda *_: Decision.CONTINUE,
        check_ray=lambda: None,
        fresh_process=False,
        shares_gpus=False,
    )
    nothing.slots, nothing.lift_quarantines = (slot,), lambda: None
    nothing.runs_alone = lambda trial: False
    monkeypatch.setattr(ray, "wait", lambda refs, **_: (refs, []))
    monkeypatch.setattr(ray, "get", lambda ref: (2, Score(0.5)))
    assert dispatcher.wait(0.0) == []
    assert slot.pending == "the next answer"
    dispatcher.patience.note_decision(job(), 2, Decision.PAUSE)
    for _ in range(MEDIAN_OF):
        dispatcher.patience.learn(job(), 900.0, whole=False)
    assert dispatcher.patience.limit(job()) is None
