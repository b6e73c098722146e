"""Where the tasks' log goes while they work."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def tasks_log_to(file: IO[str]) -> Iterator[None]:
    """Sends what `proxy_tasks` logs to a file, with the time, for a block."""
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("proxy_tasks")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
