"""The order in which the trials of a search are observed, and how far the requests may be ahead of it.

A trial is observed when the scheduler and the controller are told how it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nas.journal.trials import Trial
from nas.search.config import TrialSettings, default_staleness


@dataclass(kw_only=True)
class ObservationOrder:
    """Says which trial is observed next, and whether this must be done before another one is asked for.

    In a deterministic search, trials are observed in the order in which they were asked for, each as late as
    the staleness allows. So the timing of the workers changes nothing. In other searches, each trial is
    observed as soon as it is over.

    Args:
        trials: of the search, without finalists, in the order in which they were asked for. The list grows
            with the search.
        deterministic: whether the order follows from the trials alone.
        max_staleness: at most this number of trials is unobserved at a time, the newest one included; at
            least 1. Only a deterministic search is bound by it.
    """

    trials: Sequence[Trial]
    deterministic: bool
    max_staleness: int
    _observed: int = field(default=0, init=False)

    def is_behind(self) -> bool:
        """Whether a trial must be observed before another one may be asked for."""
        return self.deterministic and self._first_unobserved() <= len(self.trials) - self.max_staleness

    def next(self) -> Trial | None:
        """Gives the trial that is observed next; None while it runs, and if there is none.

        In a search that is not deterministic there is none, as no trial waits until it is observed.
        """
        place = self._first_unobserved()
        if not self.deterministic or place == len(self.trials):
            return None
        trial = self.trials[place]
        return None if trial.status == "running" else trial

    def is_due(self, trial: Trial) -> bool:
        """Whether a trial is observed now, although earlier ones may still run."""
        return not self.deterministic and trial.status != "running" and not trial.observed

    def _first_unobserved(self) -> int:
        """The place of the first trial that is not observed; later ones may be, if an earlier session was not
        deterministic."""
        while self._observed < len(self.trials) and self.trials[self._observed].observed:
            self._observed += 1
        return self._observed


def choose_staleness(settings: TrialSettings, *, workers: int, trials: int, differ: bool) -> int:
    """Gives the staleness of a search: that of its settings, or else the default.

    Args:
        settings: of the search.
        workers: evaluations at a time.
        trials: the budget.
        differ: whether the workers may be on several machines.

    Raises:
        ValueError: if a deterministic search would never keep all workers busy.
    """
    staleness = settings.max_staleness or default_staleness(workers, trials, differ)
    if settings.deterministic and staleness < workers:
        raise ValueError(
            f"max_staleness must be at least the number of workers, {workers}, not {staleness}; "
            "or give deterministic=false"
        )
    return staleness
