"""Tells several observers of a search's events; one that fails is left out, and the search goes on."""

from __future__ import annotations

from collections.abc import Sequence

from nas.journal.event import Event
from nas.journal.observer import Observer
from nas.journal.trials import Trials
from nas.plugins.faults import one_line, pass_interrupt, source_location
from nas.search.result import SearchError
from nas.utils.terminal import complain


class Observers:
    """Several observers as one.

    Args:
        observers: in the order in which they get the events.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._all, self._told = list(observers), list(observers)

    def on_event(self, event: Event, trials: Trials) -> None:
        """Tells every observer; one that raises is reported and gets no further events.

        Raises:
            SearchError: if an observer raises one.
        """
        for observer in self._told:
            try:
                observer.on_event(event, trials)
            except SearchError:
                raise
            except (Exception, SystemExit) as error:
                pass_interrupt(error)
                self._told = [other for other in self._told if other is not observer]
                complain(f"{_explain(observer, error)}; it gets no further events")

    def close(self) -> None:
        """Closes every observer, those that were left out too."""
        for observer in self._all:
            try:
                observer.close()
            except (Exception, SystemExit) as error:
                complain(_explain(observer, error))


def _explain(observer: Observer, error: BaseException) -> str:
    name = type(observer).__name__
    return f"{name} failed: {source_location(error)}{type(error).__name__}: {one_line(error)}"
