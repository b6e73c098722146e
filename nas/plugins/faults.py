"""Errors in code of a user's own, such as a task: each names the call, the file and the line."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from nas.plugins.own_code import is_ours, is_own
from search_space.utils.parsing import shorten


class FaultError(Exception):
    """Code of the user's own has failed, such as a task, a space or a controller: says where and how."""


@contextlib.contextmanager
def reraise_as(what: str, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns errors of a block, but for those of our own kinds, into ones that name the call and the line.

    Args:
        what: the call, such as "Mine.setup".
        but: further kinds that pass, as the call may raise them to say what is wrong.

    Raises:
        FaultError: in the place of whatever else the block raises.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        pass_interrupt(error)
        if isinstance(error, but) or is_ours(type(error)):
            raise
        raise FaultError(
            f"{source_location(error)}{type(error).__name__} in {what}: {one_line(error)}"
        ) from error


def pass_interrupt(error: BaseException) -> None:
    """Raises what Ctrl-C has raised, if an error only wraps it, as Python does while a class is made."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            raise seen
        seen = seen.__cause__


def source_location(error: BaseException) -> str:
    """Where an error came about in code that is neither ours nor a library's, such as "my.py, line 3: "."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_own(frame.filename)]
    if not own:
        return ""
    path = Path(own[-1].filename)
    with contextlib.suppress(OSError, ValueError):
        path = path.relative_to(Path.cwd())
    return f"{path}, line {own[-1].lineno}: "


def one_line(error: object) -> str:
    """The first lines of an error's message, or of what prints so, as one, shortened."""
    text = " ".join(text_of(error).split()).encode("utf-8", "backslashreplace").decode()
    return shorten(text, 300)


def text_of(error: object) -> str:
    """Gives what prints; also of an object of a user's own class whose `__str__` fails."""
    try:
        return str(error)
    except Exception:
        return f"a {type(error).__name__} whose __str__ fails"
