"""A search's rewards and metrics as TensorBoard scalars in its run folder, by trial."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from nas.jobs import Ended
from nas.trials import Trial, Trials

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

    def ended(self, trial: Trial, ended: Ended, trials: Trials) -> None:
        """Takes a trial's end: its rewards, its metrics, the best so far, and how many have failed."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), flush_secs=FLUSH_SECONDS)
        found: dict[str, float] = {"trials/failed": trials.counts["failed"], "trials/seconds": ended.seconds}
        for number, reward in enumerate(trial.rewards or ()):
            found["reward" if number == 0 else f"reward {number + 1}"] = reward
        if trials.best is not None:
            found["best"] = (trials.all[trials.best].rewards or (0.0,))[0]
        if ended.score is not None:
            found |= {f"metrics/{name}": value for name, value in ended.score.metrics.items()}
        for name, value in found.items():
            self._writer.add_scalar(name, value, trial.number)
