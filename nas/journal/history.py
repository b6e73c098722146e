"""The one reader of a journal: a search as rows, one for each trial and one for each attempt at it.

The table of `nas trials`, the report and the benchmarks' summaries are made from these rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.journal.store import Event, JournalError, read_events
from nas.journal.trials import Rewards, Status, Trials


@dataclass(kw_only=True)
class TrialRow:
    """Everything that the journal holds about one trial.

    Args:
        number: position among the trials, from 0.
        status: "running", "paused", or how it ended.
        key: of its spec.
        genotype: the answers to the space's decisions.
        spec: the spec file's text, JSON.
        seed: of the evaluation.
        source: the earlier trial of the same key whose score this one shares, if there is one.
        finalist_of: the trial whose spec a finalist's evaluation repeats; None in the search itself.
        fidelity: length of the training, relative to the task's own.
        asked_at: when it was proposed, in seconds since 1970.
        ended_at: when it ended, in seconds since 1970; None before.
        ended_after: seconds of the search's own time before its end, which stands still while no session
            runs.
        attempts: how often it was submitted.
        rewards: of a trial with a score that no hard limit forbids.
        metrics: of its score.
        reports: reported rewards by step.
        seconds, worker: how long its last attempt took, and where it ran.
        failure, message: class and text of what went wrong.
    """

    number: int
    status: Status
    key: str
    genotype: tuple[int, ...]
    spec: str
    seed: int
    source: int | None
    finalist_of: int | None
    fidelity: float
    asked_at: float
    ended_at: float | None = None
    ended_after: float | None = None
    attempts: int = 0
    rewards: Rewards | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    seconds: float | None = None
    worker: str | None = None
    failure: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at a trial, on a worker.

    Args:
        trial: its number.
        worker: where it ran.
        began, ended: seconds of the search's own time, which stands still while no session runs.
        status: how it ended; "retry" if infrastructure failed it and it was submitted again.
    """

    trial: int
    worker: str
    began: float
    ended: float
    status: str


@dataclass(frozen=True, kw_only=True)
class NamedDecision:
    """One decision of the space.

    Args:
        name: such as "block 3 kind".
        labels: the options' names, by answer.
    """

    name: str
    labels: tuple[str, ...]


@dataclass(kw_only=True)
class History:
    """A search as its journal tells it.

    Args:
        trials: the state that follows from all events.
        rows: one for each trial, by number.
        attempts: those that ended, in the order of their ends.
        workers: the most that a session had at a time.
        versions: of Python and the packages, in the last session.
        decisions: of the space, in the order of a genotype's answers. Where the journal does not have their
            names, they are "decision 0" and so on.
        events: how many events there are of each kind.
    """

    trials: Trials = field(default_factory=Trials)
    rows: list[TrialRow] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    workers: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    decisions: tuple[NamedDecision, ...] = ()
    events: dict[str, int] = field(default_factory=dict)

    @property
    def worker_seconds(self) -> float:
        """Seconds that all workers together spent in trials."""
        return sum(attempt.ended - attempt.began for attempt in self.attempts)

    @property
    def utilization(self) -> float:
        """Share of the workers' time that went into trials, from 0 to 1."""
        whole = self.trials.seconds * self.workers
        return min(1.0, self.worker_seconds / whole) if whole > 0 else 0.0

    def search_rows(self) -> list[TrialRow]:
        """The trials of the search itself, without the finalists' evaluations."""
        return [row for row in self.rows if row.finalist_of is None]

    def scored_rows(self) -> list[TrialRow]:
        """The search's trials with a reward of a whole evaluation, their own or shared, by number.

        Only those of the highest fidelity are given, as rewards of different fidelities cannot be compared.
        """
        rows = [row for row in self.search_rows() if row.rewards is not None and self._is_whole(row)]
        highest = max((row.fidelity for row in rows), default=0.0)
        return [row for row in rows if row.fidelity == highest]

    def _is_whole(self, row: TrialRow) -> bool:
        shared = row.status == "cached" and row.source is not None
        return row.status == "completed" or (shared and self.rows[row.source or 0].status != "pruned")


def read_history(folder: str | Path) -> History:
    """Reads the journal of a run folder, while or after it is written.

    Raises:
        JournalError: if there is no journal, or a damaged one.
    """
    return replay_history(read_events(folder))


def replay_history(events: Sequence[Event]) -> History:
    """Makes the rows that follow from the events of a journal.

    Raises:
        JournalError: if an event cannot follow those before it.
    """
    history = History()
    submitted: dict[int, float] = {}
    for event in events:
        history.trials.apply(event)
        history.events[event.kind] = history.events.get(event.kind, 0) + 1
        with _damage_named(event):
            if event.kind == "session":
                _read_session(history, event.data)
                submitted.clear()
            elif event.trial is None:
                continue
            elif event.kind == "asked":
                history.rows.append(_asked_row(event.trial, event))
            elif event.kind == "submitted":
                submitted[event.trial] = history.trials.seconds
            elif event.kind == "ended":
                _read_end(history, event.trial, event, submitted.pop(event.trial, None))
    for row, trial in zip(history.rows, history.trials.all, strict=True):
        row.status, row.attempts, row.reports = trial.status, trial.attempts, dict(trial.curve)
    answers = len(history.rows[0].genotype) if history.rows else 0
    if len(history.decisions) != answers and answers:
        history.decisions = _unnamed_decisions([row.genotype for row in history.rows])
    return history


@contextlib.contextmanager
def _damage_named(event: Event) -> Iterator[None]:
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise JournalError(f"the journal is damaged: event {event.kind!r}: {error!r}") from None


def _read_session(history: History, data: dict[str, Any]) -> None:
    history.workers = max(history.workers, int(data.get("workers", 1)))
    history.versions = {"python": data.get("python", "?"), **data.get("versions", {})}
    history.decisions = tuple(
        NamedDecision(name=name, labels=tuple(labels)) for name, labels in data.get("decisions", ())
    )


def _asked_row(number: int, event: Event) -> TrialRow:
    data = event.data
    return TrialRow(
        number=number,
        status="running",
        key=data["key"],
        genotype=tuple(data["genotype"]),
        spec=data["spec"],
        seed=data["seed"],
        source=data.get("source"),
        finalist_of=data.get("finalist_of"),
        fidelity=data["fidelity"],
        asked_at=event.time,
    )


def _read_end(history: History, number: int, event: Event, submitted: float | None) -> None:
    """Adds the attempt that ended; fills the trial's row unless the trial goes on.

    Args:
        history: what is known so far.
        number: of the trial.
        event: its end.
        submitted: when the attempt was submitted, in the search's own time; None if it ran on no worker.
    """
    data, now = event.data, history.trials.seconds
    retry, seconds = data["retry"], data.get("seconds")
    if submitted is not None:
        history.attempts.append(
            Attempt(
                trial=number,
                worker=str(data.get("worker") or "?"),
                began=max(submitted, now - seconds) if seconds else now,
                ended=now,
                status="retry" if retry else data["status"],
            )
        )
    if retry:
        return
    row, trial = history.rows[number], history.trials.all[number]
    row.ended_at, row.ended_after = event.time, now
    row.rewards, row.metrics = trial.rewards, data.get("metrics") or {}
    row.seconds, row.worker = seconds, data.get("worker")
    row.failure, row.message = data.get("failure"), data.get("message")


def _unnamed_decisions(genotypes: Sequence[tuple[int, ...]]) -> tuple[NamedDecision, ...]:
    """Numbered decisions, with as many numbered options as the genotypes use."""
    most = [max(answers) for answers in zip(*genotypes, strict=True)]
    return tuple(
        NamedDecision(name=f"decision {i}", labels=tuple(map(str, range(answer + 1))))
        for i, answer in enumerate(most)
    )
