"""The status of a run on the terminal, or as a line of JSON."""

from __future__ import annotations

import sys

from nas.cli.live_board import running_line, running_table
from nas.cli.status.status import Status
from nas.utils.terminal import say
from search_space.utils.strict_json import to_json


def print_status(status: Status, as_json: bool) -> None:
    """Prints how a run stands, in words or as JSON."""
    if as_json:
        print(to_json(status.data), flush=True)
        return
    for line in status.lines:
        say(line)
    if status.running and sys.stdout.isatty():
        from rich.console import Console

        Console().print(running_table(status.running))
    else:
        for row in status.running:
            say(running_line(row))
    if status.hint:
        say(status.hint)
    sys.stdout.flush()
