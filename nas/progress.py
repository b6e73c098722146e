"""Progress on a terminal; nothing where standard error is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def counter(what: str) -> Callable[[int, int], None] | None:
    """A line that counts (done, all) and tells the time left; None where there is no terminal."""
    if not sys.stderr.isatty():
        return None
    started = shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if done < total and now - shown < 0.2:
            return
        shown = now
        left = (now - started) / max(done, 1) * (total - done)
        print(
            f"\r{what} {done}/{total}, {left:.0f} s left   ",
            end="\n" if done == total else "",
            file=sys.stderr,
            flush=True,
        )

    return show
