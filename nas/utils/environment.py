"""What a process needs of its surroundings, filled in where the machine does not give it."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from search_space.utils.user_folders import can_be_made, home_folder, private_folder


def print_anything() -> None:
    """Lets standard output and error take any text: what they cannot encode is written as an escape.

    Each line is written at once, into a file or a pipe too, so that others see how far a command is. Closed
    streams become streams that keep nothing.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            escaped = stream.errors in ("strict", "surrogateescape")
            stream.reconfigure(line_buffering=True, errors="backslashreplace" if escaped else stream.errors)


def name_user_and_home() -> None:
    """Sets USER and HOME where the machine knows no name and no home folder for this user.

    Containers often run under a number without a name. Libraries that ask for the name or for a folder of
    settings would fail. What is there already is left alone.
    """
    import pwd

    known = any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME"))
    with contextlib.suppress(KeyError):
        known = known or bool(pwd.getpwuid(os.getuid()).pw_name)
    if not known:
        os.environ["LOGNAME"] = os.environ["USER"] = f"uid{os.getuid()}"
    home = home_folder()
    with contextlib.suppress(OSError):  # Without a temporary folder, whoever needs a folder says so.
        if home is None or not (home.is_dir() or can_be_made(home)):
            os.environ["HOME"] = str(private_folder())
        elif not os.access(home, os.W_OK):
            os.environ.setdefault("MPLCONFIGDIR", str(private_folder()))
