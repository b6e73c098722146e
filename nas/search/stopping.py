"""When a search ends: at its budget, its target or its wall time, or because too many trials fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nas.journal.trials import Status, Trials
from nas.search.config import SearchConfig
from nas.search.result import SearchError
from nas.utils.run_folder import resume_command

MIN_TRIALS_TO_GIVE_UP = 10
"""So many trials must be over before too many failures stop a search, unless its budget is smaller."""


@dataclass(kw_only=True)
class Stopping:
    """Says when a search ends.

    Failures are those of this session: a search whose cause of failure was mended may go on.

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
    _over: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)
    _last_failure: str = field(default="", init=False)

    def count(self, status: Status, message: str) -> None:
        """Takes that a trial of the search has ended."""
        self._over += 1
        if status == "failed":
            self._failed += 1
            self._last_failure = message

    def reason(self, seconds: float) -> str | None:
        """Gives why the search ends now, "budget", "target" or "wall time"; None if it goes on.

        Args:
            seconds: how long it has run, over all its sessions.

        Raises:
            SearchError: if too many trials have failed.
        """
        config, trials = self.config, self.trials
        enough = self._over >= min(MIN_TRIALS_TO_GIVE_UP, self.budget)
        # What fails fails quickly: those that still run count as good ones until they have ended.
        if enough and self._failed > config.max_failures * (self._over + trials.counts["running"]):
            raise SearchError(self._explain_failures())
        if config.target is not None and trials.best is not None:
            rewards = trials.all[trials.best].rewards
            if rewards is not None and rewards[0] >= config.target:
                return "target"
        over = len(trials.proposed) >= self.budget and not trials.counts["running"]
        at_finalists = over and trials.all[-1].finalist_of is not None
        if config.wall_time is not None and seconds >= config.wall_time and not at_finalists:
            return "wall time"
        return "budget" if over else None

    def _explain_failures(self) -> str:
        """Says how many trials failed, why the last one did, and what can be done."""
        why = f"{self._failed} of {self._over} trials failed; the last: {self._last_failure}"
        if self.folder is None:
            return why
        logs = self.folder / "trials"
        look = f"See the logs in {logs}, then" if logs.is_dir() else "When the cause is corrected"
        return f"{why}. {look}: {resume_command(self.folder)}"
