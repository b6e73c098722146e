"""A log of results: a line of JSON for each, below a first line that says what they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nas.config import ConfigError
from nas.config.sources import changed_files
from nas.utils.files import replace_file
from search_space.utils.strict_json import to_json

OWN_FILES = "own files"
"""The key of a head under which the digests of the user's own files are; see `nas.config.sources`."""


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
    changed = _changes(_entry(lines[0]) or {}, wanted)
    if changed:
        reason = f"{' and '.join(changed)} changed; give another folder with out="
        raise ConfigError(f"{path.parent} holds another {what}: {reason}")
    return found


def _changes(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The parts of a head that have changed; of the user's own files, those that both heads know."""
    changed = []
    for key in {**wanted, **there}:
        if key == OWN_FILES:
            files = changed_files(there.get(key), wanted.get(key, {}))
            changed += [f"{key} ({', '.join(files)})"] if files else []
        elif there.get(key) != wanted.get(key):
            changed.append(key)
    return changed


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
