"""Where a training is: a small file beside its checkpoint, which any other process may read at any time.

The file is written every two seconds and removed when the training is over. A task of your own may write it
too, into its folder `checkpoint`: `nas search`, `nas status` and `nas train` show what they find. This module
imports no torch.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Annotated

from search_space.utils.atomic_file import atomic_write
from search_space.utils.json_text import parse_json
from search_space.utils.regular_file import open_regular
from search_space.utils.strict_json import to_json
from search_space.utils.validation import AtLeast, AtMost, validate

LOG = logging.getLogger(__name__)

PROGRESS_FILE = "progress.json"
"""Name of the file in a checkpoint folder."""

FILE_SECONDS, LOG_SECONDS = 2.0, 10.0
"""How often a training writes the file, and a line in its log."""

MAX_PROGRESS_BYTES = 1 << 14
"""A larger file is none of ours."""

MOST = 10**12
"""No number of the file is greater."""

Count = Annotated[int, AtLeast(0), AtMost(MOST)]
Amount = Annotated[float, AtLeast(0), AtMost(MOST)]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training is.

    Args:
        step: steps done.
        steps: steps of the whole training.
        loss: of the last step whose loss has been read.
        learning_rate: of the last step.
        images_per_second: pace since the file was last written.
        seconds: time that the training has taken, over all its sessions.
        seconds_left: time to the last step at the mean pace of this session.
        saved: steps of the last checkpoint, from which another attempt would go on; 0 for none.

    Raises:
        ValueError: if a value is of the wrong type or out of its range.
    """

    step: Count
    steps: Count
    loss: float | None = None
    learning_rate: float | None = None
    images_per_second: Amount | None = None
    seconds: Amount = 0.0
    seconds_left: Amount | None = None
    saved: Count = 0

    def __post_init__(self) -> None:
        validate(self)


def write_progress(folder: Path, progress: Progress) -> None:
    """Writes the file of a folder. A disk that cannot be written is no reason to end a training."""
    with contextlib.suppress(OSError), atomic_write(folder / PROGRESS_FILE) as partial:
        partial.write_text(to_json(asdict(progress)), encoding="utf-8")


def read_progress(folder: Path) -> Progress | None:
    """Reads the file of a folder; None if there is none, or if it holds something else."""
    try:
        with open_regular(folder / PROGRESS_FILE) as file:
            content = file.read(MAX_PROGRESS_BYTES + 1)
        found = parse_json(content) if len(content) <= MAX_PROGRESS_BYTES else None
        known = {name: found[name] for name in Progress.__dataclass_fields__ if name in found}  # type: ignore[index,operator]
        return Progress(**known)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def forget_progress(folder: Path) -> None:
    """Removes the file of a folder."""
    with contextlib.suppress(OSError):
        (folder / PROGRESS_FILE).unlink(missing_ok=True)


class ProgressRecorder:
    """Writes now and then where a training is, into its log and into its file.

    It uses what the training loop has read anyway, so that a step takes no longer for it.

    Args:
        steps: of the whole training.
        batch: images a step.
        done: steps that earlier sessions have done.
        before: seconds that they took.
        folder: where the file is written; None for no file.
    """

    def __init__(self, *, steps: int, batch: int, done: int, before: float, folder: Path | None) -> None:
        self.steps, self.batch = steps, batch
        self.first, self.before, self.folder = done, before, folder
        self.started = monotonic()
        self.file_due, self.log_due = self.started + FILE_SECONDS, self.started + LOG_SECONDS
        self.last = (done, self.started)
        self.saved = done
        self.told: Progress | None = None

    def after_step(self, step: int, loss: float | None, rate: float) -> None:
        """Takes a step that is done.

        Args:
            step: number of steps done.
            loss: the last one that has been read, if any.
            rate: learning rate of the step.
        """
        now = monotonic()
        log = now >= self.log_due or step == self.steps
        file = self.folder is not None and now >= self.file_due
        if not log and not file:
            return
        found = self._progress(step, loss, rate, now)
        self.last = (step, now)
        if log:
            self.log_due = now + LOG_SECONDS
            LOG.info("%s", progress_line(found))
        if file and self.folder is not None:
            self.file_due = now + FILE_SECONDS
            self.told = found
            write_progress(self.folder, found)

    def after_save(self, step: int) -> None:
        """Takes that a checkpoint holds so many steps, and writes that into the file."""
        self.saved = min(step, MOST)
        before = Progress(step=self.saved, steps=min(self.steps, MOST)) if self.told is None else self.told
        self.told = replace(before, step=max(before.step, self.saved), saved=self.saved)
        if self.folder is not None:
            write_progress(self.folder, self.told)

    def _progress(self, step: int, loss: float | None, rate: float, now: float) -> Progress:
        passed, (last_step, last_time) = now - self.started, self.last
        pace = (step - last_step) * self.batch / max(now - last_time, 1e-9)
        left = (self.steps - step) * passed / max(step - self.first, 1)
        return Progress(
            step=min(step, MOST),
            steps=min(self.steps, MOST),
            loss=loss,
            learning_rate=rate,
            images_per_second=min(pace, MOST),
            seconds=min(self.before + passed, MOST),
            seconds_left=min(left, MOST),
            saved=self.saved,
        )


def progress_line(progress: Progress) -> str:
    """Where a training is, in words, such as "step 120/560, loss 1.2345, 40 s left"."""
    parts = [f"step {progress.step}/{progress.steps}"]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    if progress.learning_rate is not None:
        parts.append(f"learning rate {progress.learning_rate:.3g}")
    if progress.images_per_second is not None:
        parts.append(f"{progress.images_per_second:.1f} images/s")
    if progress.seconds_left is not None:
        parts.append(f"{progress.seconds_left:.0f} s left")
    return ", ".join(parts)
