"""The reader of journals: what its rows say of retries, shared scores, finalists and cut-off sessions."""

from __future__ import annotations

from typing import Any

import pytest

from nas.journal.errors import JournalError
from nas.journal.event import Event
from nas.journal.history import History, NamedDecision, replay_history

DECISIONS = [["kind", ["a", "b"]], ["size", ["1", "2", "3"]]]


class Recorder:
    """Writes events at given seconds."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def at(self, time: float, kind: str, trial: int | None = None, **data: Any) -> None:
        self.events.append(Event(time, kind, trial, data))

    def session(self, time: float, **data: Any) -> None:
        self.at(time, "session", versions={"spinenas": "1"}, python="3.11", workers=2, **data)

    def ask(self, time: float, trial: int, key: str = "", **data: Any) -> None:
        data = {"genotype": [0, trial % 3], "spec": "{}", "seed": trial, "source": None, **data}
        data = {"proposal": trial, "fidelity": 1.0, "key": key or f"key {trial}", **data}
        self.at(time, "asked", trial, **data)

    def end(self, time: float, trial: int, status: str = "completed", **data: Any) -> None:
        reward = data.pop("reward", 0.5)
        scored = {
            "reward": reward,
            "rewards": None if reward is None else [reward],
            "metrics": {"AP": reward},
        }
        about: dict[str, Any] = {"attempt": 0, "worker": "w", "seconds": 1.0, "failure": None, "message": ""}
        about |= {"retry": False, "pruner_attrs": {}}
        self.at(time, "ended", trial, **{"status": status, **scored, **about, **data})


def replayed(recorder: Recorder) -> History:
    return replay_history(recorder.events)


def test_a_retry_is_an_attempt_and_no_end() -> None:
    record = Recorder()
    record.session(100, decisions=DECISIONS)
    record.ask(100, 0)
    record.at(101, "submitted", 0, attempt=0)
    record.end(103, 0, "failed", reward=None, retry=True, seconds=2.0, worker="lost")
    record.at(104, "submitted", 0, attempt=1)
    record.end(108, 0, seconds=3.0, worker="kept")
    history = replayed(record)
    assert [(a.worker, a.began, a.ended, a.status) for a in history.attempts] == [
        ("lost", 1, 3, "retry"),
        ("kept", 5, 8, "completed"),
    ]
    (row,) = history.rows
    assert (row.status, row.attempts, row.rewards, row.worker) == ("completed", 2, (0.5,), "kept")
    assert (row.asked_at, row.ended_at, row.ended_after) == (100, 108, 8)
    assert history.worker_seconds == 5
    assert history.utilization == pytest.approx(5 / 16)


def test_the_searchs_own_time_stands_still_between_sessions() -> None:
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    record.at(101, "submitted", 0, attempt=0)
    record.session(1000)
    record.at(1001, "submitted", 0, attempt=1)
    record.end(1003, 0, seconds=2.0)
    history = replayed(record)
    assert [(a.began, a.ended) for a in history.attempts] == [(2, 4)]
    assert history.rows[0].ended_after == 4
    assert history.events == {"session": 2, "asked": 1, "submitted": 2, "ended": 1}


def test_a_score_shared_with_a_pruned_trial_is_no_score_of_a_whole_evaluation() -> None:
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    record.end(101, 0, "pruned")
    record.ask(102, 1)
    record.end(103, 1)
    record.ask(104, 2, key="key 0", source=0)
    record.end(105, 2, "cached")
    record.ask(106, 3, key="key 1", source=1)
    record.end(107, 3, "cached")
    record.ask(108, 4)
    record.end(109, 4, "failed", reward=None, failure="TaskError", message="diverged")
    record.ask(110, 5)
    history = replayed(record)
    assert [row.number for row in history.scored_rows()] == [1, 3]
    assert (history.rows[4].failure, history.rows[4].message) == ("TaskError", "diverged")
    assert (history.rows[5].status, history.rows[5].ended_at) == ("running", None)


def test_finalists_are_rows_and_no_trials_of_the_search() -> None:
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    record.end(101, 0)
    record.ask(102, 1, key="key 0", finalist_of=0, fidelity=2.0)
    record.end(103, 1, reward=0.9)
    history = replayed(record)
    assert [(row.number, row.finalist_of, row.fidelity, row.rewards) for row in history.rows] == [
        (0, None, 1.0, (0.5,)),
        (1, 0, 2.0, (0.9,)),
    ]
    assert [row.number for row in history.search_rows()] == [0]
    assert [row.number for row in history.scored_rows()] == [0]


def test_only_rewards_of_the_highest_fidelity_are_compared() -> None:
    record = Recorder()
    record.session(100)
    for trial, fidelity in enumerate((0.5, 1.0, 0.5)):
        record.ask(100, trial, fidelity=fidelity)
        record.end(101, trial, "paused" if trial == 2 else "completed", reward=0.9 - fidelity / 2)
    history = replayed(record)
    assert [row.number for row in history.scored_rows()] == [1]
    assert history.rows[2].status == "paused"


def test_decisions_have_the_names_of_the_journal_or_numbers() -> None:
    record = Recorder()
    record.session(100, decisions=DECISIONS)
    record.ask(100, 0)
    assert replayed(record).decisions[1] == NamedDecision(name="size", labels=("1", "2", "3"))
    record = Recorder()
    record.session(100)
    for trial in range(3):
        record.ask(100, trial)
    assert replayed(record).decisions == (
        NamedDecision(name="decision 0", labels=("0",)),
        NamedDecision(name="decision 1", labels=("0", "1", "2")),
    )
    assert replay_history([]).decisions == ()


@pytest.mark.parametrize("missing", ["genotype", "key", "seed"])
def test_an_event_without_its_data_is_a_damaged_journal(missing: str) -> None:
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    del record.events[-1].data[missing]
    with pytest.raises(JournalError, match=f"damaged: event 'asked': .*{missing}"):
        replayed(record)


def test_a_history_is_that_of_its_first_session_with_the_most_workers() -> None:
    record = Recorder()
    first: dict[str, Any] = {"controller": "A", "seed": 1, "objective": {"maximize": ["AP"]}}
    record.at(100, "session", workers=4, versions={"spinenas": "1"}, python="3.11", **first)
    second: dict[str, Any] = {"controller": "B", "seed": 2, "objective": {"maximize": ["reward"]}}
    record.at(200, "session", workers=2, versions={"spinenas": "2"}, python="3.12", **second)
    history = replayed(record)
    assert (history.controller, history.seed, history.objective) == ("A", 1, {"maximize": ["AP"]})
    assert history.workers == 4
    assert history.versions == {"python": "3.12", "spinenas": "2"}


def test_what_ends_without_a_worker_is_no_attempt() -> None:
    """A decision that was lost with its session is made again when the search goes on."""
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    record.at(101, "submitted", 0, attempt=0)
    record.session(1000)
    record.end(1001, 0, "pruned")
    assert replayed(record).attempts == []


def test_no_clock_that_was_set_back_makes_times_fall() -> None:
    record = Recorder()
    record.session(100)
    record.ask(110, 0)
    record.at(110, "submitted", 0, attempt=0)
    record.end(50, 0, seconds=600.0)
    history = replayed(record)
    assert history.trials.seconds == 10
    assert (history.rows[0].ended_at, history.rows[0].ended_after) == (110, 10)
    assert [(a.began, a.ended) for a in history.attempts] == [(10, 10)]


def test_of_equal_rewards_the_earlier_trial_is_the_best() -> None:
    record = Recorder()
    record.session(100)
    for trial in range(3):
        record.ask(100, trial)
        record.end(101, trial, reward=0.5)
    assert replayed(record).trials.best == 0


def test_a_shorter_training_does_not_take_the_place_of_a_longer_one() -> None:
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    record.end(101, 0, reward=0.2)
    record.ask(102, 1, fidelity=0.5)
    record.end(103, 1, reward=0.9)
    assert replayed(record).trials.front == [0]


def test_an_attempt_that_made_progress_is_no_fault() -> None:
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    for attempt, progress in enumerate((True, False, True)):
        record.at(101, "submitted", 0, attempt=attempt)
        record.end(102, 0, "failed", reward=None, retry=True, progress=progress)
    assert replayed(record).trials.all[0].faults == 1


def test_finalists_are_ranked_by_their_means() -> None:
    from nas.journal.trials import finalist_rewards, pick_winner

    record = Recorder()
    record.session(100)
    for trial in range(2):
        record.ask(100, trial)
        record.end(101, trial, reward=0.5)
    for trial, (best, reward) in enumerate([(0, 0.9), (0, 0.1), (1, 0.6), (1, 0.6)], start=2):
        record.ask(102, trial, key=f"key {best}", finalist_of=best)
        record.end(103, trial, reward=reward)
    trials = replayed(record).trials
    assert finalist_rewards(trials) == {1: [0.6, 0.6], 0: [0.9, 0.1]}
    assert pick_winner(trials) == 1


def test_a_search_that_asks_for_a_further_trial_has_neither_picked_nor_finished() -> None:
    record = Recorder()
    record.session(0)
    record.ask(0, 0)
    record.end(1, 0)
    record.events.append(Event(2, "picked", None, {"trial": 0, "expected": [{"trial": 0, "reward": 0.5}]}))
    record.at(3, "finished", reason="budget")
    record.session(4)
    assert replayed(record).trials.picked == 0
    record.ask(4, 1)
    trials = replayed(record).trials
    assert (trials.picked, trials.finished) == (None, None)


def test_no_score_is_shared_with_a_trial_that_has_failed() -> None:
    """The second one failed for good; the first one runs again, and fails again."""
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    record.ask(100, 1, key="key 0", source=0)
    record.end(101, 0, "failed", reward=None, failure="error")
    record.end(102, 1, "failed", reward=None, failure="diverged")
    record.at(103, "retried", trials=[0])
    record.end(104, 0, "failed", reward=None, failure="error")
    assert replayed(record).trials.first_of == {}


def test_a_promotion_that_shares_a_score_is_no_source_for_others() -> None:
    """It has no score of its own."""
    record = Recorder()
    record.session(100)
    record.ask(100, 0, fidelity=0.5)
    record.end(101, 0)
    record.ask(102, 1, key="key 0")
    record.end(103, 1)
    record.ask(104, 2, key="key 0", resume_from=0, promoted=True, source=1)
    record.end(105, 2, "cached", source=1)
    assert replayed(record).trials.first_of == {("key 0", 0.5): 0, ("key 0", 1.0): 1}


def test_a_row_tells_the_trial_whose_score_it_has() -> None:
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    record.ask(100, 1, key="key 0", source=0)
    record.ask(100, 2, key="key 0", source=0)
    record.end(101, 0, "failed", reward=None, failure="error")
    record.end(102, 1)
    record.end(103, 2, "cached", source=1)
    assert [row.shares for row in replayed(record).rows] == [None, None, 1]


def test_a_row_holds_the_trial_of_the_state() -> None:
    record = Recorder()
    record.session(100)
    record.ask(100, 0)
    record.ask(100, 1)
    record.ask(100, 2)
    record.end(101, 0, "failed", reward=None, failure="diverged")
    record.end(102, 1)
    history = replayed(record)
    assert [row.trial for row in history.rows] == history.trials.all
    assert all(row.trial is trial for row, trial in zip(history.rows, history.trials.all, strict=True))
    assert [row.failure for row in history.rows] == ["diverged", "", None]
