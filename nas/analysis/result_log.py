"""A log of results: a line of JSON for each, below a first line that says what they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nas.config import ConfigError
from nas.utils.files import replace_file
from search_space.utils.strict_json import to_json


def read_results(
    path: Path, head: Mapping[str, Any], what: str, usable: Callable[[Any], bool]
) -> list[dict[str, Any]]:
    """Reads the usable results of a file; a file without any is begun anew, with the head as its first line.

    Args:
        path: the file.
        head: what the results belong to.
        what: the name of what they belong to, such as "comparison", for messages.
        usable: says whether a result is usable.

    Raises:
        ConfigError: if there are usable results that belong to something else.
    """
    wanted = json.loads(to_json(head))
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [entry for entry in map(_entry, lines[1:]) if entry is not None and usable(entry)]
    if not found:
        replace_file(path, to_json(wanted) + "\n")
        return []
    there = _entry(lines[0]) or {}
    if there != wanted:
        changed = [key for key in wanted if there.get(key) != wanted[key]]
        reason = f"{' and '.join(changed)} changed; give another folder with out="
        raise ConfigError(f"{path.parent} holds another {what}: {reason}")
    return found


def append_result(path: Path, entry: Mapping[str, Any]) -> None:
    """Appends a result; it gets a line of its own even if the last line was cut off."""
    with path.open("a+b") as file:
        whole = file.tell() == 0
        if not whole:
            file.seek(-1, 2)
            whole = file.read(1) == b"\n"
        file.write((b"" if whole else b"\n") + to_json(entry).encode() + b"\n")


def _entry(line: str) -> Any:
    """Reads a line; None if it was cut off while it was written."""
    try:
        return json.loads(line)
    except ValueError:
        return None
