"""Which run folder a command means: the one that is named, or the one that was started or resumed last."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nas.utils.run_files import CONFIG_FILE, JOURNAL_FILE

LATEST = "default: the latest"
"""What the help says of a run folder that may be left out."""

RUNS, TRAININGS = Path("runs"), Path("trainings")
"""Where searches and trainings begin their folders if no `run_dir` is given."""

KNOWN_FILES = (JOURNAL_FILE, CONFIG_FILE)
"""A run folder has at least one of these."""


class NoRunError(ValueError):
    """No run folder is named, and there is none to take."""


def pick_run(named: str | Path | None, parents: Sequence[Path] = (RUNS,)) -> Path:
    """The run folder that is named, or else the latest one; which one that is, is said on standard error.

    Args:
        named: the folder; None for the latest.
        parents: the folders in which run folders are looked for, below the working directory.

    Raises:
        NoRunError: if none is named and there is none.
        OSError: if a folder cannot be listed.
    """
    if named is not None:
        return Path(named)
    found = [
        folder for parent in parents if parent.is_dir() for folder in parent.iterdir() if _is_run(folder)
    ]
    if not found:
        where = " or ".join(f"{parent}/" for parent in parents)
        raise NoRunError(f"there is no run in {where} of {Path.cwd()}; name the run folder")
    latest = max(found, key=_begun_at)
    print(f"the latest run: {latest}", file=sys.stderr, flush=True)
    return latest


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in KNOWN_FILES)


def _begun_at(folder: Path) -> tuple[float, str]:
    """When a session of a run began: its lock is written then. Of equals the last by name is the later."""
    from nas.utils.files import LOCK_FILE

    for name in (LOCK_FILE, *KNOWN_FILES):
        if (folder / name).is_file():
            return (folder / name).stat().st_mtime, folder.name
    return 0.0, folder.name
