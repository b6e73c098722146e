"""`nas status --metrics PORT`: the state of a search, served to Prometheus."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

from nas.cli.status.search import SearchReader
from nas.utils.terminal import say

STATE_SECONDS = 5.0
"""Prometheus may ask more often than so; the journal is then read no more often."""


def serve_search(folder: Path, address: str) -> int:
    """Serves the state of a search to Prometheus, until Ctrl-C.

    Raises:
        ValueError: if the address is none.
        OSError: if it cannot be used.
    """
    from nas.integrations.prometheus import serve_metrics

    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"--metrics must be PORT or HOST:PORT, such as 9464, not {address!r}")
    reader, lock = SearchReader(folder), Lock()
    known, read_at = reader.read().data, monotonic()

    def read() -> dict[str, Any]:
        nonlocal known, read_at
        with lock:  # Each request has a thread.
            if monotonic() - read_at > STATE_SECONDS:
                known, read_at = reader.read().data, monotonic()
            return known

    host = host or "127.0.0.1"
    try:
        served, end = serve_metrics(read, host, int(port))
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), f"--metrics {address}") from None
    say(f"{folder}: metrics at http://{host}:{served}/metrics until you press Ctrl-C")
    try:
        while True:
            sleep(3600)
    except KeyboardInterrupt:  # As one ends a server.
        return 0
    finally:
        end()
