"""What a kind of input is for the fuzzer: how a case is made and read, and what its reader may raise."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

STEERING = re.compile(r".{0,80}[\x00-\x08\x0b-\x1f\x7f-\x9f].{0,20}")
"""What a terminal obeys instead of showing it; where nothing is a terminal, no command of ours prints any."""

Case = Any
"""Whatever `Kind.mutate` makes; it is read in the process that has made it."""


class UndocumentedError(Exception):
    """A reader has answered in a way that its documents do not tell."""


class RefusedError(Exception):
    """A command has answered with one line and a documented status."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of input.

    Args:
        name: on the command line.
        prepare: is called once in each process with a folder of its own, and gives what the cases are made
            of; heavy modules are imported here, so that their memory counts in no case.
        mutate: makes a case from what was prepared.
        read: reads a case, with the folder for files. It may raise what is documented.
        documented: the exceptions of the reader.
    """

    name: str
    prepare: Callable[[Path], Any]
    mutate: Callable[[Random, Any], Case]
    read: Callable[[Case, Path], None]
    documented: tuple[type[Exception], ...]


def commands(*calls: Sequence[str]) -> None:
    """Runs commands of `nas` in this process; what they print is kept off the terminal.

    A value of their input must not reach a terminal that obeys it.

    Raises:
        RefusedError: if one of them has refused its input as it should; the others have run too.
        UndocumentedError: if one ends with another status than 0, 1 and 2 or with a traceback, or prints what
            steers a terminal.
        MemoryError: if one says that there was not enough memory.
    """
    refused = [told for call in calls if (told := _run(call))]
    if refused:
        raise RefusedError(refused[0])


def _run(words: Sequence[str]) -> str:
    """What a command has said of its input; "" if it has taken it."""
    from nas.cli.main import main

    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            status = main(list(words))
        except SystemExit as end:
            status = int(end.code or 0)
    told = error.getvalue().strip()
    if status not in (0, 1, 2) or "traceback is" in told or "Traceback (most recent" in told:
        raise UndocumentedError(f"nas {' '.join(words)[:80]}: status {status}: {told[-600:]}")
    if "more memory than there is" in told or "does not fit into memory" in told:
        raise MemoryError(told[-200:])
    if steering := STEERING.search(out.getvalue() + told):
        raise UndocumentedError(f"nas {' '.join(words)[:80]} prints {steering[0]!r}")
    return (told[-200:] or f"status {status}") if status else ""
