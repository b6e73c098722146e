"""Where a run was begun: by which user, on which machine, in which folder.

The settings of a run are code, as they name what is imported and called. To go on with a run is to trust
whoever wrote them, which nobody has to be asked about their own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.utils.files import replace_file
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import printable, read_bounded, shown
from search_space.utils.strict_json import to_json

ORIGIN_FILE = "origin.json"
"""Keeps the origin of a training; a search has it in its journal."""

MAX_BYTES = 1 << 16


def describe_origin(folder: Path) -> dict[str, Any]:
    """The origin of a run that this process begins or goes on with in a folder, as JSON data."""
    user = os.getuid() if hasattr(os, "getuid") else -1
    return {"user": user, "host": socket.gethostname(), "folder": str(folder.resolve())}


def foreign_origin(recorded: object, folder: Path) -> str:
    """Says in which ways a run was begun elsewhere; "" if it was begun here.

    Args:
        recorded: what `describe_origin` gave when the run was last begun or gone on with, if it is known.
        folder: of the run.
    """
    if not isinstance(recorded, Mapping):
        return "nothing tells who began it"
    here = describe_origin(folder)
    other = {name: recorded.get(name) for name in here if recorded.get(name) != here[name]}
    words = {"user": "by user {}", "host": "on {}", "folder": "in {}"}
    return ", ".join(words[name].format(_plain(value)) for name, value in other.items())


def write_origin(folder: Path) -> None:
    """Keeps the origin of a training in its folder."""
    replace_file(folder / ORIGIN_FILE, to_json(describe_origin(folder)) + "\n")


def read_origin(folder: Path) -> object:
    """What `write_origin` has written into a folder; None if it is not there or is damaged."""
    try:
        return parse_json(read_bounded(folder / ORIGIN_FILE, MAX_BYTES))
    except (OSError, ValueError):
        return None


def _plain(value: object) -> str:
    """A recorded value for a message: short, and without characters that a terminal would obey."""
    text = value if isinstance(value, str) else shown(value)
    return printable(text, 80)
