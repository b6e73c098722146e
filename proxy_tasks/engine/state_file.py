"""The file that holds the state of a training, in a checkpoint folder. This module imports no torch."""

from __future__ import annotations

from pathlib import Path

from proxy_tasks.engine.progress import forget_progress

STATE = "training.pt"
"""Name of the file."""


def forget_state(checkpoint: Path) -> None:
    """Removes the state that a training would go on from, once its result is safe, and its progress.

    Args:
        checkpoint: the folder that was given to the training.

    Raises:
        OSError: if the state cannot be removed.
    """
    forget_progress(checkpoint)
    (checkpoint / STATE).unlink(missing_ok=True)
