"""The reader of journals: what its rows say of retries, shared scores, finalists and cut-off sessions."""

from __future__ import annotations

from typing import Any

import pytest

from nas.journal.history import History, NamedDecision, replay_history
from nas.journal.store import Event, JournalError

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
