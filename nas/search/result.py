"""What a search has found."""

from __future__ import annotations

from dataclasses import dataclass

from nas.journal.trials import Trials


class SearchError(RuntimeError):
    """A search that cannot go on: says why, and what would help."""


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Args:
        trials: all of them.
        reason: why it stopped: "budget", "wall time" or "target".
        best: number of the winning trial, or None.
    """

    trials: Trials
    reason: str
    best: int | None

    def _repr_html_(self) -> str:
        """Shows the curve and the best trials in a notebook."""
        from nas.reporting.notebook import result_html

        return result_html(self.trials, self.reason, self.best)
