"""What a search has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.journal.history import History, read_history
from nas.journal.trials import Trial, Trials, pick_winner

if TYPE_CHECKING:
    import pandas as pd


class SearchError(RuntimeError):
    """A search that cannot go on: says why, and what would help."""


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Args:
        trials: all of them.
        reason: why it stopped: "budget", "wall time" or "target"; None if it has not come to its end.
        best: the winning trial, or None.
        history: reads the journal.
    """

    trials: Trials
    reason: str | None
    best: Trial | None
    history: Callable[[], History]

    def frame(self) -> pd.DataFrame:
        """Gives the trials as a pandas DataFrame, a row for each, with its number as the index.

        The columns are the status, the rewards, every metric, every decision of the space with the label of
        the answer, and then how the trial ran. Finalists' evaluations are rows too, and have `finalist_of`.
        A metric or decision whose name is taken already gets the suffix "(metric)" or "(decision)".
        """
        from nas.reporting.frame import trial_frame

        return trial_frame(self.history())

    def _repr_html_(self) -> str:
        """Shows the curve and the best trials in a notebook."""
        from nas.reporting.notebook import result_html

        return result_html(self.trials, self.reason, self.best)


def make_result(trials: Trials, reason: str | None, history: Callable[[], History]) -> SearchResult:
    """Gives the result of a search, with its winner.

    Args:
        trials, reason, history: see `SearchResult`.
    """
    winner = pick_winner(trials)
    return SearchResult(trials, reason, None if winner is None else trials.all[winner], history)


def load_result(run_dir: str | Path) -> SearchResult:
    """Reads the result of a run folder, of a search that is over, was cut off, or still runs.

    Raises:
        JournalError: if the folder has no journal, or a damaged one.
    """
    history = read_history(run_dir)
    return make_result(history.trials, history.trials.finished, lambda: history)
