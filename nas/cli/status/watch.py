"""`nas status --watch`: shows how a run stands until nothing works on it any more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import sleep

from nas.cli.live_board import running_table
from nas.cli.status.printing import print_status
from nas.cli.status.status import Status

WATCH_SECONDS = 2.0
"""How often `--watch` looks again."""


def watch(read: Callable[[], Status], as_json: bool) -> int:
    """Shows how a run stands until no process works on it any more, or until Ctrl-C."""
    plainly = as_json or not sys.stdout.isatty()
    try:
        last = _watch_plainly(read, as_json) if plainly else _watch_live(read)
    except KeyboardInterrupt:  # As one leaves a watch.
        return 0
    print_status(last, as_json)
    return 0


OF_THE_MOMENT = ("seconds", "utilization", "trials_an_hour")
"""What changes though nothing happens."""


def _watch_plainly(read: Callable[[], Status], as_json: bool) -> Status:
    """Prints the status whenever more than the time has changed; returns the one in which nothing runs."""
    shown: object = None
    while (status := read()).data["alive"]:
        running = [{**row, "seconds": 0} for row in status.data["running"]]
        state = {**status.data, **dict.fromkeys(OF_THE_MOMENT), "running": running}
        if state != shown:
            print_status(status, as_json)
        shown = state
        sleep(WATCH_SECONDS)
    return status


def _watch_live(read: Callable[[], Status]) -> Status:
    """Draws the status in place."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, transient=True) as live:
        while (status := read()).data["alive"]:
            live.update(Group(*map(Text, status.lines), running_table(status.running)), refresh=True)
            sleep(WATCH_SECONDS)
        return status
