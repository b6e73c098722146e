"""Faults in a user's own code, told with file and line."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from nas.plugins import OURS, FaultError, is_own


def place(error: BaseException) -> str:
    """Where an error came about in code that is neither ours nor a library's, such as "my.py, line 3: "."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_own(frame.filename)]
    if not own:
        return ""
    path = Path(own[-1].filename)
    shown = path.relative_to(Path.cwd()) if Path.cwd() in path.parents else path
    return f"{shown}, line {own[-1].lineno}: "


@contextlib.contextmanager
def told_as(what: str) -> Iterator[None]:
    """Turns errors of a block, but for those of our own kinds, into ones that name the call and the line.

    Raises:
        FaultError: in the place of whatever else the block raises.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] in OURS:
            raise
        raise FaultError(f"{place(error)}{type(error).__name__} in {what}: {one_line(error)}") from error


def one_line(error: object) -> str:
    """The first lines of an error's message, or of what prints so, as one, shortened."""
    text = " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 300 else text[:297] + "..."
