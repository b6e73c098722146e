"""The second copy of a job that takes long: an idle worker tries it too, and the first to end it counts.

Such copies cut the time that a search waits for a slow or a lost machine (Dean and Ghemawat, MapReduce, OSDI
2004, section 3.6). A copy has a folder of its own inside the trial's, and begins with the trial's checkpoint.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nas.executors.job import CHECKPOINT, LOG, NODE_LOST, Decision, Job, JobResult
from proxy_tasks.engine.progress import read_progress

NOTICES = logging.getLogger("nas.notices")

FOLDER = "second"
"""Name of the copy's folder inside that of the trial."""

MOST_TRIES = 2
"""So often at most a second worker tries a job that the first one still has."""


@dataclass(kw_only=True)
class Twice:
    """A trial that two workers have.

    Args:
        first, second: their jobs; None for a second one that has failed.
        tries: second workers so far.
        failed: how they have failed so far, if one has.
    """

    first: Job
    second: Job | None
    tries: int
    failed: JobResult | None = None

    def outcome(self, ended: JobResult) -> JobResult:
        """Gives the failure that counts: that of a machine, or else the first one.

        Args:
            ended: the latest failure.
        """
        return ended if ended.failure == "infrastructure" or self.failed is None else self.failed


class SecondCopies:
    """The trials that two workers have, and what the search has answered to each trial's reports."""

    def __init__(self) -> None:
        self._twice: dict[int, Twice] = {}
        self._decided: dict[int, tuple[int, Decision]] = {}

    def of(self, trial: int) -> Twice | None:
        """Gives the two jobs of a trial; None if one worker has it."""
        return self._twice.get(trial)

    def may_begin(self, trial: int) -> bool:
        """Whether a second worker may try a trial that runs."""
        known = self._twice.get(trial)
        return known is None or (known.second is None and known.tries < MOST_TRIES)

    def begin(self, job: Job) -> Job | None:
        """Gives the second copy of a job that runs; None if it could not begin where the first one did."""
        copied = copy_job(job)
        if copied is not None:
            tries = self._twice[job.trial].tries + 1 if job.trial in self._twice else 1
            self._twice[job.trial] = Twice(first=job, second=copied, tries=tries)
        return copied

    def decide(self, trial: int, step: int, ask: Callable[[], Decision]) -> Decision:
        """Answers a report; of two workers with the same trial, the search hears only the first one.

        Args:
            trial: that reports.
            step: of the report.
            ask: asks the search.
        """
        known_step, known = self._decided.get(trial, (-1, Decision.CONTINUE))
        if trial in self._twice and step <= known_step:
            return known if step == known_step else Decision.CONTINUE
        if trial in self._twice and known is not Decision.CONTINUE:
            return known
        decision = ask()
        self._decided[trial] = step, decision
        return decision

    def pass_over(self, job: Job, ended: JobResult) -> None:
        """Notes that one of two workers with the same trial has failed, which the other makes good."""
        twice = self._twice[job.trial]
        if ended.message.startswith(NODE_LOST):
            NOTICES.warning("%s: another worker has trial %s too", ended.message, job.trial)
        twice.failed = twice.outcome(ended)
        if job is twice.second:  # Its end leaves room for another one.
            twice.second = None
            drop_copy(twice.first.folder)

    def end(self, job: Job, ended: JobResult) -> None:
        """Forgets a trial that has ended, and keeps the files of the worker whose end counts.

        If both workers have failed, the next attempt goes on from the later of their checkpoints.
        """
        self._decided.pop(job.trial, None)
        twice = self._twice.pop(job.trial, None)
        if twice is None:
            return
        if ended.status == "failed":
            settle(job.trial, twice.first.folder, keep_later)
        else:
            settle(job.trial, twice.first.folder, drop_copy if job is twice.first else keep_copy)

    def close(self) -> None:
        """Forgets all trials; a resumed search goes on from the later of a trial's two checkpoints."""
        while self._twice:
            trial, twice = self._twice.popitem()
            settle(trial, twice.first.folder, keep_later)


def settle(trial: int, folder: str | None, keep: Callable[[str | None], None]) -> None:
    """Keeps or removes the files of a copy; if that fails, the user is told.

    Args:
        trial: number of the trial.
        folder: of the trial; None if nothing is kept on a disk.
        keep: does it, given the folder.
    """
    try:
        keep(folder)
    except OSError as error:
        NOTICES.warning("trial %s: the files of its second worker are lost: %s", trial, error)


def copy_job(job: Job) -> Job | None:
    """Gives the second copy of a job that runs; None if it could not begin where the first one did."""
    if job.folder is None:
        return replace(job)
    if job.resume_folder is not None and not (Path(job.folder) / CHECKPOINT).is_dir():
        return None
    drop_copy(job.folder)
    return replace(job, folder=str(Path(job.folder) / FOLDER), resume_folder=job.folder)


def keep_later(trial_folder: str | None) -> None:
    """Keeps the files of the copy if its checkpoint has more steps than the first one's, or removes them.

    Args:
        trial_folder: of the first one; neither runs any more.

    Raises:
        OSError: if the files cannot be moved.
    """
    if trial_folder is None:
        return
    later = saved_steps(str(Path(trial_folder) / FOLDER)) > saved_steps(trial_folder)
    (keep_copy if later else drop_copy)(trial_folder)


def saved_steps(trial_folder: str | None) -> int:
    """Gives the steps of the checkpoint in a trial's folder; 0 if nothing tells them."""
    found = None if trial_folder is None else read_progress(Path(trial_folder) / CHECKPOINT)
    return 0 if found is None else found.saved


def keep_copy(trial_folder: str | None) -> None:
    """Puts what the copy has written in the place of what the first one wrote.

    Args:
        trial_folder: of the first one, which runs no more.

    Raises:
        OSError: if the files cannot be moved.
    """
    if trial_folder is None:
        return
    folder, copied = Path(trial_folder), Path(trial_folder) / FOLDER
    if (copied / CHECKPOINT).is_dir():
        # The first one's process may be writing a last time: its folder is moved, which always works.
        aside = copied / f"{CHECKPOINT}.first"
        shutil.rmtree(aside, ignore_errors=True)
        if (folder / CHECKPOINT).exists():
            (folder / CHECKPOINT).replace(aside)
        (copied / CHECKPOINT).replace(folder / CHECKPOINT)
    if (copied / LOG).is_file():
        with (folder / LOG).open("ab") as log, (copied / LOG).open("rb") as more:
            log.write(b"--- another worker came further; this is what it wrote ---\n")
            shutil.copyfileobj(more, log)
    drop_copy(trial_folder)


def drop_copy(trial_folder: str | None) -> None:
    """Removes the folder of the copy, if there is one.

    Args:
        trial_folder: of the first one.
    """
    if trial_folder is not None:
        shutil.rmtree(Path(trial_folder) / FOLDER, ignore_errors=True)
