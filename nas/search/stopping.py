"""When a search ends: at its budget, its target or its wall time, or because too many trials fail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nas.journal.trials import Status, Trials
from nas.search.config import SearchConfig
from nas.search.result import SearchError
from nas.utils.run_folder import resume_command

MIN_TRIALS_TO_GIVE_UP = 10
"""So many trials must be over before too many failures stop a search, unless its budget is smaller."""


@dataclass(kw_only=True)
class Ended:
    """Trials that have ended in this session.

    Args:
        over: how many.
        failed: how many of them have failed.
        last_failure: why the last one did.
    """

    over: int = 0
    failed: int = 0
    last_failure: str = ""

    def count(self, status: Status, message: str) -> None:
        """Takes that one more has ended."""
        self.over += 1
        if status == "failed":
            self.failed += 1
            self.last_failure = message


@dataclass(kw_only=True)
class Stopping:
    """Says when a search ends.

    Failures are those of this session: a search whose cause of failure was mended may go on. Failed trials of
    earlier sessions that run again are judged apart, by their share of all trials of the search: many of them
    fail again at once, which says nothing of the trials that are new.

    Args:
        config: has the target, the wall time and the share of failures.
        budget: number of proposals.
        trials: of the search so far.
        folder: of the run, if it has one.
    """

    config: SearchConfig
    budget: int
    trials: Trials
    folder: Path | None
    _new: Ended = field(default_factory=Ended, init=False)
    _again: Ended = field(default_factory=Ended, init=False)
    _repeated: set[int] = field(default_factory=set, init=False)

    def run_again(self, numbers: Iterable[int]) -> None:
        """Takes the numbers of trials that have failed and run again, in this session or an earlier one."""
        self._repeated.update(numbers)

    def count(self, number: int, status: Status, message: str) -> None:
        """Takes that a trial of the search has ended."""
        (self._again if number in self._repeated else self._new).count(status, message)

    def reason(self, seconds: float) -> str | None:
        """Gives why the search ends now, "budget", "target" or "wall time"; None if it goes on.

        Args:
            seconds: how long it has run, over all its sessions.

        Raises:
            SearchError: if too many trials have failed.
        """
        config, trials = self.config, self.trials
        # What fails fails quickly: those that still run count as good ones until they have ended.
        for ended, among in (
            (self._new, self._new.over + trials.counts["running"]),
            (self._again, len(trials.search)),
        ):
            enough = ended.over >= min(MIN_TRIALS_TO_GIVE_UP, self.budget)
            if enough and ended.failed > config.max_failures * among:
                raise SearchError(self._explain_failures(ended))
        if config.target is not None and trials.best is not None:
            rewards = trials.all[trials.best].rewards
            if rewards is not None and rewards[0] >= config.target:
                return "target"
        over = len(trials.proposed) >= self.budget and not trials.counts["running"]
        at_finalists = over and trials.all[-1].finalist_of is not None
        if config.wall_time is not None and seconds >= config.wall_time and not at_finalists:
            return "wall time"
        return "budget" if over else None

    def _explain_failures(self, ended: Ended) -> str:
        """Says how many trials failed, why the last one did, and what can be done."""
        earlier = len(self.trials.search) - self.trials.counts["running"] - self._new.over - self._again.over
        which = "trials"
        if ended is self._again:
            which = "trials that ran again have"
        elif earlier > 0:
            which = "trials since the resume have"
        why = f"{ended.failed} of {ended.over} {which} failed; the last: {ended.last_failure}"
        if self.folder is None:
            return why
        logs = self.folder / "trials"
        look = f"See the logs in {logs}, then" if logs.is_dir() else "When the cause is corrected"
        return f"{why}. {look}: {resume_command(self.folder)}"
