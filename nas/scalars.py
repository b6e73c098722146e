"""A search's rewards and metrics as TensorBoard scalars in its run folder, by trial."""

from __future__ import annotations

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

    def __enter__(self) -> SearchScalars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def ended(self, trial: Trial, seconds: float, metrics: Mapping[str, float], trials: Trials) -> None:
        """Takes a trial's end; arguments as of `scalars`."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), flush_secs=FLUSH_SECONDS)
        for name, value in scalars(trial, seconds, metrics, trials).items():
            self._writer.add_scalar(name, value, trial.number)


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
