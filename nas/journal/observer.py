"""Observers: they see every event of a search, and the state that follows from it."""

from __future__ import annotations

from typing import Protocol

from nas.journal.event import Event
from nas.journal.trials import Trials


class Observer(Protocol):
    """Follows a search: shows its progress, or sends it elsewhere. It cannot change the search.

    An observer that raises an exception is reported once and gets no further events; the search goes on.
    Only a `nas.search.result.SearchError` stops the search.
    """

    def on_event(self, event: Event, trials: Trials) -> None:
        """Takes an event that has been written to the journal.

        Args:
            event: see `nas.journal.event` for the kinds and their data. The first one is `session`: from then
                on the run folder belongs to this search.
            trials: all trials, the event included. It must not be changed.
        """

    def close(self) -> None:
        """Is called once, when the search has ended in any way."""
