"""A search's rewards and metrics as TensorBoard scalars in its run folder, by trial."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from nas.trials import Trial, Trials, named_rewards

FLUSH_SECONDS = 10


class SearchScalars:
    """Writes event files; a search that goes on adds another one.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None  # Made when there is something to write: the folder may be another one's.
        self._flushed, self._full = 0.0, False

    def __enter__(self) -> SearchScalars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()

    def ended(self, trial: Trial, seconds: float, metrics: Mapping[str, float], trials: Trials) -> None:
        """Takes a trial's end; arguments as of `scalars`."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        if self._full:
            return
        found = scalars(trial, seconds, metrics, trials).items()
        try:
            if self._writer is None:
                # Written here and now: a thread of its own would meet a full disk where nobody can catch it.
                self._writer = EventsWriter(str(self.folder / "events"))
            for name, value in found:
                event = Event(wall_time=time.time(), step=trial.number, summary=scalar(name, value))
                self._writer.write_event(event)
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._writer.flush()
                self._flushed = time.monotonic()
        except OSError:  # The journal will say it, and matters more.
            self._full = True


def scalars(trial: Trial, seconds: float, metrics: Mapping[str, float], trials: Trials) -> dict[str, float]:
    """What is worth a curve: a trial's rewards and metrics, the best so far, how many have failed.

    Args:
        trial: that has ended.
        seconds: how long it took.
        metrics: of its score; empty if it has none.
        trials: all of them.
    """
    found = {"trials/failed": float(trials.counts["failed"]), "trials/seconds": seconds}
    found |= named_rewards(trial)
    if trials.best is not None:
        found["best"] = (trials.all[trials.best].rewards or (0.0,))[0]
    return found | {f"metrics/{name}": value for name, value in metrics.items()}
