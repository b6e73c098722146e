"""Signals that end a long command: its state is safe, so it stops where it is and says how to go on."""

from __future__ import annotations

import signal
from types import FrameType


def raise_on_signals() -> None:
    """Has SIGINT and SIGTERM raise KeyboardInterrupt, even in what a shell has put in the background.

    Shells have such processes ignore SIGINT, which would leave only a kill to end them.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
