"""The one reader of a journal: a search as rows, one for each trial and one for each attempt at it.

The table of `nas trials`, the report and the benchmarks' summaries are made from these rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.journal.activity import Activity
from nas.journal.checks import MAX_ANSWER
from nas.journal.errors import JournalError
from nas.journal.event import Event
from nas.journal.reading import read_events
from nas.journal.store import Journal
from nas.journal.trials import Curve, Rewards, Status, Trial, Trials
from nas.utils.run_files import journal_file
from search_space import Genotype
from search_space.utils.parsing import reading


@dataclass(kw_only=True)
class TrialRow:
    """Everything that the journal holds about one trial.

    Args:
        trial: as the state of the search has it.
        spec: the spec file's text, JSON; "" if the journal was kept in memory.
        asked_at: when it was proposed, in seconds since 1970.
        ended_at: when it ended, in seconds since 1970; None before.
        ended_after: seconds of the search's own time before its end, which stands still while no session
            runs.
        metrics: of its score, its own or the shared one.
        seconds, worker: how long its last attempt took, and where it ran.
        message: text of what went wrong, or of what else there is to say of its end; None before the end.
    """

    trial: Trial
    spec: str
    asked_at: float
    ended_at: float | None = None
    ended_after: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    worker: str | None = None
    message: str | None = None

    @property
    def number(self) -> int:
        """Position among all trials, from 0."""
        return self.trial.number

    @property
    def status(self) -> Status:
        """How the trial stands: "running", "paused", or how it ended."""
        return self.trial.status

    @property
    def key(self) -> str:
        """The key of the spec."""
        return self.trial.key

    @property
    def genotype(self) -> Genotype:
        """The answers to the space's decisions."""
        return self.trial.genotype

    @property
    def seed(self) -> int:
        """The seed of the evaluation."""
        return self.trial.seed

    @property
    def fidelity(self) -> float:
        """Length of the training, relative to the task's own."""
        return self.trial.fidelity

    @property
    def shares(self) -> int | None:
        """The earlier trial of the same key whose score this one shares; None if it shares none."""
        return self.trial.shares

    @property
    def finalist_of(self) -> int | None:
        """The trial whose spec a finalist's evaluation repeats; None in the search itself."""
        return self.trial.finalist_of

    @property
    def attempts(self) -> int:
        """How often the trial was submitted."""
        return self.trial.attempts

    @property
    def rewards(self) -> Rewards | None:
        """The rewards; None without a score, and where a hard limit forbids it."""
        return self.trial.rewards

    @property
    def reports(self) -> Curve:
        """Reported rewards by step."""
        return self.trial.curve

    @property
    def failure(self) -> str | None:
        """Class of what went wrong; "" if nothing did, None before the end."""
        return None if self.ended_at is None else self.trial.failure


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
        controller, seed: of the first session; "" and None if the journal does not tell them.
        objective: of the search, as `nas.search.objective.Objective.to_dict` gives it.
        workers: the most that a session had at a time.
        versions: of Python and the packages, in the last session.
        decisions: of the space, in the order of a genotype's answers. Where the journal does not have their
            names, they are "decision 0" and so on.
        events: how many events there are of each kind.
        activity: which workers there were, and how busy.
        began_at, last_at: when the first and the last event was written, in seconds since 1970; None without
            one.
    """

    trials: Trials = field(default_factory=Trials)
    rows: list[TrialRow] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    controller: str = ""
    seed: int | None = None
    objective: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    decisions: tuple[NamedDecision, ...] = ()
    events: dict[str, int] = field(default_factory=dict)
    activity: Activity = field(default_factory=Activity)
    began_at: float | None = None
    last_at: float | None = None

    @property
    def worker_seconds(self) -> float:
        """Seconds that all workers together spent in trials."""
        return self.activity.busy_seconds

    @property
    def utilization(self) -> float:
        """Share of the workers' time that went into trials, from 0 to 1."""
        return self.activity.utilization(self.trials.seconds)

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
        scored = row if row.shares is None else self.rows[row.shares]
        return scored.status == "completed"


def read_history(folder: str | Path) -> History:
    """Reads the journal of a run folder, while or after it is written.

    Raises:
        JournalError: if there is no journal, or a damaged one.
    """
    events = read_events(folder)
    try:
        return replay_history(events)
    except JournalError as error:
        raise JournalError(f"{journal_file(folder)}: {error}") from None


def replay_journal(journal: Journal) -> History:
    """Makes the rows of a journal that is open or kept in memory; see `replay_history`."""
    return replay_history(list(journal.events()))


def replay_history(events: Sequence[Event]) -> History:
    """Makes the rows that follow from the events of a journal.

    Raises:
        JournalError: if an event cannot follow those before it.
    """
    history = History()
    if events:
        history.began_at, history.last_at = events[0].time, events[-1].time
    submitted: dict[int, float] = {}
    for event in events:
        history.trials.apply(event)
        history.events[event.kind] = history.events.get(event.kind, 0) + 1
        with _damage_named(event):
            history.activity.apply(event, history.trials.seconds)
            if event.kind == "session":
                _read_session(history, event.data)
                submitted.clear()
            elif event.kind == "retried":
                for number in event.data["trials"]:
                    _forget_end(history.rows[number])
            elif event.trial is None:
                continue
            elif event.kind == "asked":
                trial, spec = history.trials.all[event.trial], event.data.get("spec", "")
                history.rows.append(TrialRow(trial=trial, spec=spec, asked_at=event.time))
            elif event.kind == "submitted":
                submitted[event.trial] = history.trials.seconds
            elif event.kind == "ended":
                _read_end(history, event.trial, event, submitted.pop(event.trial, None))
    with reading(JournalError, "the journal is damaged: "):
        _check_lengths(history)
        if history.rows and not _has_names(history):
            history.decisions = _unnamed_decisions([row.genotype for row in history.rows])
    return history


def _check_lengths(history: History) -> None:
    """Checks that all trials have as many answers, and as many rewards.

    Raises:
        JournalError: if not.
    """
    answers = {len(row.genotype) for row in history.rows}
    rewards = {len(row.rewards) for row in history.rows if row.rewards is not None}
    for what, lengths in (("answers", answers), ("rewards", rewards)):
        if len(lengths) > 1:
            raise JournalError(
                f"the journal is damaged: its trials have {min(lengths)} to {max(lengths)} {what}"
            )


def _has_names(history: History) -> bool:
    """Whether the decisions of the last session name every answer."""
    sizes = [len(decision.labels) for decision in history.decisions]
    if len(sizes) != len(history.rows[0].genotype):
        return False
    return all(
        answer < size for row in history.rows for answer, size in zip(row.genotype, sizes, strict=True)
    )


@contextlib.contextmanager
def _damage_named(event: Event) -> Iterator[None]:
    with reading(JournalError, f"the journal is damaged: event {event.kind!r}: "):
        yield


def _read_session(history: History, data: dict[str, Any]) -> None:
    if not history.versions:  # The first session.
        history.controller, history.seed = str(data.get("controller", "")), data.get("seed")
        history.objective = dict(data.get("objective") or {})
    history.workers = max(history.workers, int(data.get("workers", 1)))
    history.versions = {"python": data.get("python", "?"), **data.get("versions", {})}
    history.decisions = tuple(
        NamedDecision(name=name, labels=tuple(labels)) for name, labels in data.get("decisions", ())
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
    row = history.rows[number]
    row.ended_at, row.ended_after = max(row.asked_at, event.time), now
    row.metrics, row.message = data.get("metrics") or {}, data.get("message")
    row.seconds, row.worker = seconds, data.get("worker")


def _forget_end(row: TrialRow) -> None:
    """Makes the row of a failed trial that runs again that of a running one."""
    row.ended_at = row.ended_after = row.seconds = row.worker = row.message = None
    row.metrics = {}


def _unnamed_decisions(genotypes: Sequence[tuple[int, ...]]) -> tuple[NamedDecision, ...]:
    """Numbered decisions, with as many numbered options as the genotypes use.

    Raises:
        JournalError: if these would be too many.
    """
    most = [max(answers) for answers in zip(*genotypes, strict=True)]
    if sum(most) > MAX_ANSWER:
        raise JournalError("the journal is damaged: it names no decisions, and its answers are too large")
    return tuple(
        NamedDecision(name=f"decision {i}", labels=tuple(map(str, range(answer + 1))))
        for i, answer in enumerate(most)
    )
