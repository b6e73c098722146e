"""Checkpoints have an owner and a lifetime: they are kept while a trial can still go on from them.

A trial owns the folder `trials/<number>/checkpoint` of the run folder. A trial that resumes from another one
begins with a copy, so that several can resume from the same one. A checkpoint is removed once the end of its
trial is recorded, neither the scheduler nor the controller will go on from it, and no running trial resumes
from it. Before it is recorded, a finished training is kept too: who tries its trial again only measures it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from nas.executors.job import CHECKPOINT
from nas.executors.on_ray.second_copy import FOLDER, keep_later, saved_steps, settle
from nas.journal.trials import Trial, Trials


class Checkpoints:
    """Removes the checkpoints that no trial can resume from.

    Args:
        folder: the run folder; None if nothing is kept on a disk.
        may_resume: whether another trial may still go on from one that is over or paused.
    """

    def __init__(self, folder: Path | None, may_resume: Callable[[Trial], bool]) -> None:
        self._folder = None if folder is None else folder.resolve()  # Workers may run in another folder.
        self._may_resume = may_resume
        self._kept: set[int] = set()
        self._left = 0

    def folder_of(self, trial: int) -> str | None:
        """Gives the folder of a trial; None if nothing is kept on a disk."""
        return None if self._folder is None else str(self._folder / "trials" / str(trial))

    def step_of(self, trial: int) -> int:
        """Gives the step from which another attempt would go on; 0 if a trial's checkpoint tells none."""
        return saved_steps(self.folder_of(trial))

    def go_on_from_the_later(self, trial: int) -> None:
        """Keeps the later of two checkpoints, if two workers had a trial when the search was killed."""
        settle(trial, self.folder_of(trial), keep_later)

    def end(self, trial: Trial) -> None:
        """Takes a trial that is over or paused."""
        if self._folder is not None:
            self._kept.add(trial.number)

    def keeps(self, trial: int) -> bool:
        """Whether the checkpoint of a trial that is over or paused has not been removed."""
        return trial in self._kept

    def sweep(self, trials: Trials, running: Iterable[int], *, removed: bool = False) -> None:
        """Removes the checkpoints that are of no use any more.

        Args:
            trials: all of them.
            running: numbers of those that run or will run.
            removed: whether an earlier session has removed them already; on a network disk it would take a
                while to look for those of thousands of trials. As there may be thousands of such sweeps too,
                nothing is done before there are twice as many trials as the last one has left.
        """
        if self._folder is None or not self._kept or (removed and len(self._kept) <= 2 * self._left):
            return
        needed = {trials.all[number].resume_from for number in running}
        for number in sorted(self._kept - needed):
            trial = trials.all[number]
            waits = trial.status == "paused" and not trial.observed  # The scheduler will soon see it.
            waits = waits or trial.status == "running"  # It failed, and a resumed search runs it again.
            # A scheduler knows nothing of finalists.
            if not waits and (trial.finalist_of is not None or not self._may_resume(trial)):
                self._kept.discard(number)
                for name in () if removed else (CHECKPOINT, FOLDER):
                    _remove(self._folder / "trials" / str(number) / name)
        self._left = len(self._kept)


def _remove(folder: Path) -> None:
    """Removes a folder; most are empty or absent, which takes one call to find out."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
