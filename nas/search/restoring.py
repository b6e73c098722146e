"""Restores a search that was cut off from its journal.

The controller and the scheduler are asked and told once more, in the same order, what they were asked and
told before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Literal

from nas.executors.job import Decision, JobResult
from nas.journal.store import Journal
from nas.journal.trials import Trial, Trials
from nas.search.checkpoints import Checkpoints
from nas.search.learners import Learners
from nas.search.objective import Objective
from nas.search.requests import Requests
from nas.search.scheduler import Scheduler
from nas.search.session import check_same_objective
from nas.search.stopping import Stopping
from proxy_tasks.task import Score

NOTICES = logging.getLogger("nas.notices")

READING_SECONDS = 5.0
"""A resume that takes longer to go through its record says so often how far it is."""


def restore(
    *,
    journal: Journal,
    objective: Objective,
    trials: Trials,
    requests: Requests,
    learners: Learners,
    checkpoints: Checkpoints,
    stopping: Stopping,
) -> dict[int, JobResult]:
    """Replays a journal; the controller and the scheduler are asked and told as they were.

    Args:
        journal: of the search; nothing is written to it.
        objective: what the search maximizes.
        trials: of the search; there are none yet, and they become those of the journal.
        requests: ask for the recorded trials once more.
        learners: are told what they were told.
        checkpoints: learn which trials may have one, and which of two to go on from.
        stopping: learns which failed trials have run again.

    Returns:
        the scheduler's decisions to end a trial that still ran when the search was cut off, by number of the
        trial. Such a trial ends with this result instead of running again.

    Raises:
        JournalError: if the journal cannot be read, the objective is another one, or the controller or the
            scheduler gives other proposals than the recorded ones.
        FaultError: if the controller, the space or the scheduler fails.
    """
    reported: dict[int, dict[int, Score]] = {}
    running: set[int] = set()
    told = time.monotonic()
    for event in journal.events():
        kind, number = event.kind, event.trial
        if time.monotonic() - told > READING_SECONDS:
            told = time.monotonic()
            NOTICES.info("going through the record: %d trials so far", len(trials.all))
        if kind == "session":
            check_same_objective(event.data.get("objective"), objective)
        if kind == "asked":  # Before the search asked for it, it removed what was of no use.
            checkpoints.sweep(trials, running, removed=True)
        if number is not None and kind in ("asked", "ended"):
            (running.add if kind == "asked" or event.data["retry"] else running.discard)(number)
        if kind == "asked" and event.data.get("finalist_of") is None:
            trials.apply(event, requests.repeat(event.trial, event.data).proposal)
            learners.scheduler.begin(trials.search[-1])
            continue
        trials.apply(event)
        if kind == "retried":
            stopping.run_again(event.data["trials"])
            running.update(event.data["trials"])
            for again in event.data["trials"]:
                reported.pop(again, None)
                learners.begin_again(trials.all[again])
        if number is None or kind not in ("reported", "ended", "observed"):
            continue
        trial = trials.all[number]
        if trial.finalist_of is not None:
            continue
        if kind == "reported":
            score = Score(event.data["reward"], event.data["metrics"])
            reported.setdefault(number, {})[event.data["step"]] = score
        elif kind == "ended" and not event.data["retry"]:
            if not trial.observed:
                learners.scheduler.end(trial)
            checkpoints.end(trial)
        elif kind == "observed":
            learners.observe(trial)
    for number in running:
        checkpoints.go_on_from_the_later(number)
    decisions: dict[int, JobResult] = {}
    for trial in trials.search:
        if trial.status == "running" and trial.curve and not trial.observed:
            result = _decide_again(learners.scheduler, trial, reported[trial.number])
            if result is not None:
                decisions[trial.number] = result
    return decisions


def _decide_again(scheduler: Scheduler, trial: Trial, reported: Mapping[int, Score]) -> JobResult | None:
    """Reports once more what a trial reported before the search was cut off.

    Args:
        scheduler: is asked about each report.
        trial: that runs, with at least one report that the scheduler was asked about.
        reported: its scores by step.

    Returns:
        how the trial ends, if the scheduler wants that after its last report; None if it goes on.
    """
    for step, reward in trial.curve.items():
        decision, last = scheduler.report(trial, step, reward), reported[step]
    if decision is Decision.CONTINUE:
        return None
    # The worker may be past this report when it runs again, so that the decision must be kept.
    attempt = max(0, trial.attempts - 1)
    status: Literal["paused", "pruned"] = "paused" if decision is Decision.PAUSE else "pruned"
    return JobResult(trial.number, attempt, status, last)
