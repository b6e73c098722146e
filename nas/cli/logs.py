"""`nas logs`: what happened to a trial, and what it has printed, wherever it ran."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

from nas.cli.run_folders import pick_run
from nas.executors import local_executor
from nas.journal.history import History, TrialRow, read_history
from nas.utils.terminal import counted, duration, say, show_reward, visible
from search_space.utils.regular_file import open_regular

LISTED = 20
"""So many failed trials are listed at most."""


class LogsError(ValueError):
    """There is no such trial."""


def show_logs(options: argparse.Namespace) -> int:
    """Prints what is known of one trial with its log, or the failed trials with the log of the search."""
    words = list(options.words)
    if len(words) > 2 or (len(words) == 2 and not words[1].isdecimal()):
        raise LogsError(f"nas logs takes a folder and the number of a trial, not {' '.join(words)}")
    number = words.pop() if words and words[-1].isdecimal() and not Path(words[-1]).is_dir() else None
    folder = pick_run(words[0] if words else None)
    history = read_history(folder)
    if number is None:
        lines, place, none = list(_failed(history, folder)), folder, "the task has logged nothing"
    else:
        if not int(number) < len(history.rows):
            count = len(history.rows)
            raise LogsError(f"{folder} has no trial {number}; its {count} trials count from 0")
        lines, place = [_describe(history.rows[int(number)])], folder / "trials" / str(int(number))
        none = "the trial has printed nothing, or ran where this disk is another one"
        if history.rows[int(number)].worker == local_executor.NAME:
            none = "what a trial prints under executor=in_process goes to the terminal of the search"
    for line in lines:
        say(line)
    _print_log(place / "log.txt", none)
    return 0


def _describe(row: TrialRow) -> str:
    """One line on a trial."""
    parts = [f"trial {row.number}: {row.status}"]
    if row.shares is not None:
        parts.append(f"with the score of trial {row.shares}")
    if row.rewards is not None:
        parts.append(f"reward {show_reward(row.rewards[0])}")
    parts.append(counted(row.attempts, "attempt"))
    if row.worker:
        parts.append(f"the last on {row.worker}")
    if row.seconds:
        parts.append(f"for {duration(row.seconds)}")
    if row.message:
        parts.append(f"{row.failure}: {row.message}" if row.failure else row.message)
    return ", ".join(parts)


def _failed(history: History, folder: Path) -> Iterator[str]:
    """Lines on the trials that failed."""
    failed = [row for row in history.rows if row.status == "failed"]
    yield from map(_describe, failed[:LISTED])
    if len(failed) > LISTED:
        look = f"nas status {shlex.quote(str(folder))}"
        yield f"and {len(failed) - LISTED} further failed trials; {look} counts them"
    if not failed:
        yield f"no trial has failed; nas logs {shlex.quote(str(folder))} TRIAL shows the log of one"


def _print_log(path: Path, none: str) -> None:
    """Prints a log without what would move the terminal's cursor, or says why there is none."""
    try:
        with open_regular(path) as file:
            say(f"--- {path}")
            for line in file:
                print(visible(line.decode("utf-8", "backslashreplace").rstrip("\r\n").replace("\t", "    ")))
    except FileNotFoundError:
        say(f"{path} is not there: {none}")
