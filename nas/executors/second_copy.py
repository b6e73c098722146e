"""The second copy of a job that takes long: an idle worker tries it too, and the first to end it counts.

Such copies cut the time that a search waits for a slow or a lost machine (Dean and Ghemawat, MapReduce, OSDI
2004, section 3.6). A copy has a folder of its own inside the trial's, and begins with the trial's checkpoint.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from nas.executors.job import CHECKPOINT, LOG, Job, JobResult

FOLDER = "second"
"""Name of the copy's folder inside that of the trial."""


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


def copy_job(job: Job) -> Job | None:
    """Gives the second copy of a job that runs; None if it could not begin where the first one did."""
    if job.folder is None:
        return replace(job)
    if job.resume_from is not None and not (Path(job.folder) / CHECKPOINT).is_dir():
        return None
    drop_copy(job)
    return replace(job, folder=str(Path(job.folder) / FOLDER), resume_from=job.folder)


def keep_copy(job: Job) -> None:
    """Puts what the copy has written in the place of what the first one wrote.

    Args:
        job: the first one, which runs no more.

    Raises:
        OSError: if the files cannot be moved.
    """
    if job.folder is None:
        return
    folder, copied = Path(job.folder), Path(job.folder) / FOLDER
    if (copied / CHECKPOINT).is_dir():
        # The first one's process may be writing a last time: its folder is moved, which always works.
        aside = copied / f"{CHECKPOINT}.first"
        shutil.rmtree(aside, ignore_errors=True)
        if (folder / CHECKPOINT).exists():
            (folder / CHECKPOINT).replace(aside)
        (copied / CHECKPOINT).replace(folder / CHECKPOINT)
    if (copied / LOG).is_file():
        with (folder / LOG).open("ab") as log, (copied / LOG).open("rb") as more:
            log.write(b"--- another worker was quicker; this is what it wrote ---\n")
            shutil.copyfileobj(more, log)
    drop_copy(job)


def drop_copy(job: Job) -> None:
    """Removes the folder of the copy, if there is one.

    Args:
        job: the first one.
    """
    if job.folder is not None:
        shutil.rmtree(Path(job.folder) / FOLDER, ignore_errors=True)
