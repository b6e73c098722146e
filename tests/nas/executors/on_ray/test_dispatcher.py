"""What comes of jobs whose workers die, do not answer, or wait for the search. No processes run here."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError

from nas.executors.job import Decision, JobResult
from nas.executors.on_ray.dispatcher import MOST_TRIES, NODE_SECONDS, Dispatcher
from nas.executors.on_ray.patience import MEDIAN_OF
from nas.executors.on_ray.slots import Slot
from proxy_tasks.task import Score
from tests.nas.executors.on_ray.fake_ray import dispatch, job


def test_a_trial_is_to_blame_for_memory_only_when_its_worker_is_killed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dispatcher, _ = dispatch(monkeypatch, "ab")
    failures = []
    for attempt, trial in ((0, 0), (0, 1), (1, 0)):
        dispatcher.submit(job(trial, attempt))
        busy = busy_slot(dispatcher)
        busy.pending.answer = OutOfMemoryError("a task was killed, as the node ran low on memory")
        (ended,) = dispatcher.wait(1.0)
        failures.append((ended.trial, ended.failure, ended.message))
        come_up(dispatcher)
    told = "a task was killed, as the node ran low on memory"
    assert failures == [
        (0, "infrastructure", told),
        (1, "infrastructure", told),
        (0, "out of memory", told),
    ]


def come_up(dispatcher: Dispatcher) -> None:
    """Lets the workers that were replaced say where they are, and open the task."""
    for _ in range(2):
        assert dispatcher.wait(0.0) == []


def busy_slot(dispatcher: Dispatcher) -> Slot:
    """The worker that has a job."""
    (busy,) = [slot for slot in dispatcher.pool.slots if slot.job is not None]
    return busy


def test_a_job_that_is_sent_to_dead_workers_waits_for_one_that_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three nodes went away, and Ray killed the worker of a fourth, while they had nothing to do."""
    dispatcher, ray = dispatch(monkeypatch, "abcd")
    *gone, killed = ray.actors
    for actor in gone:
        actor.dead = ActorDiedError()
        ray.gone.add(actor.place.node)
    killed.dead = OutOfMemoryError("an idle worker was killed")
    ray.starts = False
    dispatcher.submit(job(0))
    assert [dispatcher.wait(0.0) for _ in range(5)] == [[]] * 5  # The last one says where it is, too.
    assert [actor.last.method for actor in ray.actors] == ["run"] * 4 + ["start"] * 4
    assert dispatcher.pool.fleet().aside == ()
    ray.actors[-1].come_up()
    assert dispatcher.wait(0.0) == []
    busy_slot(dispatcher).pending.answer = OutOfMemoryError("the worker was killed")
    (ended,) = dispatcher.wait(0.0)
    assert (ended.failure, ended.message) == ("infrastructure", "the worker was killed"), (
        "it is the first time"
    )


def test_a_job_is_not_given_to_dead_workers_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher, _ = dispatch(monkeypatch, "ab")
    dispatcher.submit(job(0))
    ended: list[JobResult] = []
    for _ in range(3):
        busy = busy_slot(dispatcher)
        assert not ended
        busy.pending.answer = busy.receipt.answer = ActorDiedError()
        ended = dispatcher.wait(0.0)
        dispatcher.wait(0.0)
    assert [(end.trial, end.status, end.failure) for end in ended] == [(0, "failed", "infrastructure")]
    assert dispatcher.pool.fleet().aside == ()


def test_a_worker_that_dies_after_it_has_received_a_job_costs_an_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dispatcher, ray = dispatch(monkeypatch, "ab")
    dispatcher.submit(job(0))
    ray.actors[0].last.answer = ActorDiedError()
    (ended,) = dispatcher.wait(0.0)
    assert (ended.trial, ended.failure) == (0, "infrastructure")
    assert ended.message.startswith("the worker died: ")


def test_the_time_in_which_a_job_waits_for_the_search_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher, ray = dispatch(monkeypatch, "ab", time_limit=60.0)
    dispatcher.submit(job(0))
    ray.move(20.0)
    assert dispatcher.wait(0.0) == [], "it has worked for 20 seconds"
    busy = busy_slot(dispatcher)
    busy.pending.answer = (1, Score(0.5))
    ray.move(100.0)
    assert dispatcher.wait(0.0) == [], "the search was busy elsewhere"
    assert busy.pending.method == "go_on"
    ray.move(40.0)
    assert dispatcher.wait(0.0) == []
    ray.move(0.5)
    (ended,) = dispatcher.wait(0.0)
    assert (ended.message, ended.seconds) == ("over the time limit of 60 s", 60.5)


def test_a_job_does_not_answer_for_the_time_that_the_answers_to_others_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def think(trial: int, _step: int, _score: Score) -> Decision:
        ray.move(40.0)
        return Decision.CONTINUE

    dispatcher, ray = dispatch(monkeypatch, "ab", time_limit=60.0, on_report=think)
    for trial in range(2):
        dispatcher.submit(job(trial))
        ray.actors[trial].last.answer = (1, Score(0.5))
    assert dispatcher.wait(0.0) == []
    assert [actor.last.method for actor in ray.actors] == ["go_on", "go_on"]
    ray.actors[0].last.answer = ray.actors[1].last.answer = (2, Score(0.5))
    assert dispatcher.wait(0.0) == []
    ray.move(60.5)
    assert {ended.trial for ended in dispatcher.wait(0.0)} == {0, 1}


def test_a_job_that_has_ended_is_not_tried_by_a_second_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher, ray = dispatch(monkeypatch, "ab", patience=5.0)
    for trial in range(MEDIAN_OF):
        dispatcher.patience.learn(job(trial), 10.0)
    first, idle = ray.actors
    dispatcher.pool.machines.quarantine.success(idle.place)
    dispatcher.submit(job(7))
    ray.move(15.0)
    ended = first.last.answer = JobResult(7, 0, "completed", Score(0.5))
    ray.move(15.0)
    assert dispatcher.wait(0.0) == [ended]
    assert idle.last.method == "start"
    dispatcher.submit(job(8))
    ray.move(30.0)
    assert dispatcher.wait(0.0) == []
    assert idle.last.method == "run", "this one has not ended"


def test_ends_that_were_found_before_an_error_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Decision:
        raise OSError("the disk is full")

    dispatcher, ray = dispatch(monkeypatch, "ab", on_report=fail)
    for trial in range(2):
        dispatcher.submit(job(trial))
    ended = ray.actors[0].last.answer = JobResult(0, 0, "completed", Score(0.5))
    ray.actors[1].last.answer = (1, Score(0.5))
    with pytest.raises(OSError, match=r"^the disk is full$"):
        dispatcher.wait(0.0)
    assert dispatcher.take_ended() == [ended]
    assert dispatcher.take_ended() == []


def unavailable() -> ActorUnavailableError:
    """What Ray raises when it cannot reach an actor."""
    return ActorUnavailableError("The actor is temporarily unavailable: RpcError", None)


def test_a_worker_that_cannot_be_reached_for_a_moment_is_asked_the_same_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dispatcher, ray = dispatch(monkeypatch, "ab")
    actor = ray.actors[0]
    dispatcher.submit(job(0))
    actor.last.answer = unavailable()
    asked = [call for call in actor.calls if call.method == "run"]
    assert dispatcher.wait(NODE_SECONDS + 1) == []
    assert actor.last.method == "run"
    assert actor.last.args == asked[0].args, "the worker knows by the number whether it has heard that before"
    actor.last.answer = (1, Score(0.5))
    assert dispatcher.wait(0.0) == []
    assert (actor.last.method, actor.last.args) == ("go_on", (asked[0].args[0] + 1, Decision.CONTINUE))
    ended = actor.last.answer = JobResult(0, 0, "completed", Score(0.5))
    assert dispatcher.wait(0.0) == [ended]
    assert not ray.killed


def test_a_worker_that_stays_away_is_replaced_and_no_machine_is_at_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dispatcher, ray = dispatch(monkeypatch, "ab")
    for trial in range(2):
        dispatcher.submit(job(trial))
    began = ray.now
    ended: list[JobResult] = []
    while not ended:
        for actor in ray.actors[:2]:
            actor.last.answer = unavailable()
        ended = dispatcher.wait(NODE_SECONDS)
    assert {(end.trial, end.failure) for end in ended} == {(0, "infrastructure"), (1, "infrastructure")}
    assert all(end.message.startswith("the worker could not be reached: ") for end in ended)
    assert ray.now - began == pytest.approx((MOST_TRIES + 1) * NODE_SECONDS)
    assert ray.killed == ray.actors[:2]
    assert not dispatcher.placement._failed_at
    assert not dispatcher.pool.machines.last_fault
