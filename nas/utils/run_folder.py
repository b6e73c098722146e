"""The folder of a run: it is absolute, and a new one is taken by making it."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def run_folder(given: str | None, parent: str) -> Iterator[Path]:
    """The folder of a run, absolute, for a block.

    Args:
        given: the folder that the user named, None or "" for none; it is made by whoever writes into it.
        parent: where a new folder is made if none is named. It is removed if it is still empty in the end.

    Raises:
        OSError: if no new folder can be made.
    """
    if given:  # A variable of a shell that is not set gives "".
        yield Path(given).expanduser().absolute()
        return
    folder = claim_folder(Path(parent).absolute())
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # It is not empty, as a rule.
            folder.rmdir()
            folder.parent.rmdir()


def resume_command(folder: str | Path) -> str:
    """Gives the command that continues the run of a folder, as a shell takes it."""
    return f"nas resume {shlex.quote(str(folder))}"


def claim_folder(parent: Path) -> Path:
    """Makes a folder that is named by the time, or by the time and a number if others have that name.

    Two processes never get the same one, because the one that makes a folder has it.

    Raises:
        OSError: if it cannot be made.
    """
    for name in new_names():
        try:
            parent.mkdir(parents=True, exist_ok=True)
            (parent / name).mkdir()
        except FileExistsError:
            if parent.is_dir():
                continue
            raise
        return parent / name
    raise AssertionError("there is always another name")


def new_names() -> Iterator[str]:
    """Names for a folder of now: the time, then the time with numbers from 2 on."""
    now = time.strftime("%Y-%m-%d-%H%M%S")
    yield now
    for number in itertools.count(2):
        yield f"{now}-{number}"


def short_path(path: Path) -> Path:
    """The path from the working folder if it is below it, otherwise the path itself."""
    with contextlib.suppress(OSError, ValueError):
        return path.relative_to(Path.cwd())
    return path
