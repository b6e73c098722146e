"""Whether to go on with a run that was begun elsewhere: its settings name what is imported and called."""

from __future__ import annotations

import sys
from pathlib import Path

from nas.utils.origin import foreign_origin
from nas.utils.run_folder import resume_command


class TrustError(ValueError):
    """A run of somebody else's is not gone on with: says whose it is, and how to go on."""


def check_trust(folder: Path, origin: object, trusted: bool) -> None:
    """Asks on a terminal whether to go on with a run, if it was begun elsewhere.

    Args:
        folder: of the run.
        origin: the recorded one, see `nas.utils.origin`.
        trusted: whether the user has said already that the run may go on.

    Raises:
        TrustError: if the run was begun elsewhere, and the user does not want it or cannot be asked.
    """
    elsewhere = "" if trusted else foreign_origin(origin, folder)
    if not elsewhere:
        return
    told = (
        f"{folder} was not begun here ({elsewhere}), and resuming it runs the code that its config.yaml names"
    )
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        print(f"nas: {told}.\nGo on? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise TrustError(f"{told}; read that file, and if you trust it: {resume_command(folder)} --trust")
