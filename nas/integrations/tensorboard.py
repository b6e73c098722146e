"""Writes a search's rewards and metrics as TensorBoard scalars into its run folder, by trial."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.journal.event import Event
from nas.journal.trials import Trial, Trials, named_rewards

FLUSH_SECONDS = 10


class TensorBoardScalars:
    """Writes event files; a search that is resumed adds another one.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        self._flushed, self._full = 0.0, False

    def on_event(self, event: Event, trials: Trials) -> None:
        """Writes the scalars of a trial that has ended."""
        found = None if self._full else scalars(event, trials)
        if found is None:
            return
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event as Scalar
        from tensorboardX.summary import scalar

        try:
            if self._writer is None:
                # Written here and now: a thread of its own would meet a full disk where nobody can catch it.
                self._writer = EventsWriter(str(self.folder / "events"))
            for name, value in found.items():
                summary = scalar(name, value)
                self._writer.write_event(Scalar(wall_time=event.time, step=event.trial, summary=summary))
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._writer.flush()
                self._flushed = time.monotonic()
        except OSError:  # The journal reports a full disk, and matters more.
            self._full = True

    def close(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()


def scalars(event: Event, trials: Trials) -> dict[str, float] | None:
    """Gives what is worth a curve, if an event ends a trial of the search; None otherwise.

    These are the trial's rewards and metrics, the best reward so far, and how many trials have failed.
    """
    if event.kind != "ended" or event.trial is None or event.data["retry"]:
        return None
    trial = trials.all[event.trial]
    return None if trial.finalist_of is not None else _describe(trial, event.data, trials)


def _describe(trial: Trial, ended: Mapping[str, Any], trials: Trials) -> dict[str, float]:
    found = {"trials/failed": float(trials.counts["failed"]), "trials/seconds": float(ended["seconds"])}
    found |= named_rewards(trial.rewards)
    if trials.best is not None:
        found["best"] = trials.first_reward(trials.best)
    numbers = {name: value for name, value in ended["metrics"].items() if value is not None}
    return found | {f"metrics/{name}": value for name, value in numbers.items()}
