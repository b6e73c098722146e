"""The pace of the first training, from which the length of all follows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from nas.cli.live_board import read_note

WATCH_SECONDS = 0.5
"""How often the note of a training is looked for."""

STEPS_OF_PACE = 5
"""Steps after which the pace of a training tells how long it takes."""

SHORT_SECONDS = 60.0
"""Work that is shorter is not worth a line about its length."""


class Pace:
    """Tells once how long a training takes on its worker.

    The pace is that of the note that a training writes (see `proxy_tasks.engine.progress`). Trainings that
    write none are measured by the first that ends.

    Args:
        tell: called once, with the seconds of a whole training; perhaps in a thread.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._watched = False

    def begin(self, folder: Path) -> None:
        """Watches the first training, which runs in this folder."""
        if not self._watched:
            self._watched = True
            threading.Thread(target=self._watch, args=(folder,), daemon=True).start()

    def end(self, seconds: float) -> None:
        """Takes the seconds of a training that has ended well."""
        with self._lock:
            if self._over.is_set():
                return
            self._over.set()
        self._tell(seconds)

    def close(self) -> None:
        """Stops watching."""
        self._over.set()

    def _watch(self, folder: Path) -> None:
        while not self._over.wait(WATCH_SECONDS):
            note = read_note(folder)
            if note is not None and note.seconds_left is not None and note.step >= STEPS_OF_PACE:
                self.end(note.seconds + note.seconds_left)
