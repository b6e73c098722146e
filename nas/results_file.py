"""Results of long work, a line of JSON each, below a line that says what they are of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.config import ConfigError
from nas.files import replace_file
from nas.plugins import own_file


def read_results(
    path: Path, head: Mapping[str, Any], what: str, usable: Callable[[Any], bool]
) -> list[dict[str, Any]]:
    """The usable results of a file. One without any begins anew, with the head as its first line.

    Raises:
        ConfigError: if there are usable results and they are of something else.
    """
    wanted = json.loads(json.dumps(head))
    lines = path.read_text().splitlines() if path.exists() else []
    found = [entry for entry in map(_entry, lines[1:]) if entry is not None and usable(entry)]
    if not found:
        replace_file(path, json.dumps(wanted) + "\n")
        return []
    there = _entry(lines[0]) or {}
    if there != wanted:
        changed = [key for key in wanted if there.get(key) != wanted[key]]
        raise ConfigError(
            f"{path.parent} is of another {what}: {' and '.join(changed)} changed; give another folder"
        )
    return found


def append_result(path: Path, entry: Mapping[str, Any]) -> None:
    """Adds a line, on a new one even if the last was cut off."""
    with path.open("a+b") as file:
        whole = file.tell() == 0
        if not whole:
            file.seek(-1, 2)
            whole = file.read(1) == b"\n"
        file.write((b"" if whole else b"\n") + json.dumps(entry).encode() + b"\n")


def digests(config: Any) -> dict[str, str]:
    """Of the files of a user's own that configurations name, by import path."""
    found: dict[str, str] = {}
    if isinstance(config, Mapping):
        file = own_file(str(config.get("_target_", "")))
        if file is not None:
            found[str(config["_target_"])] = hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
        config = list(config.values())
    if isinstance(config, Sequence) and not isinstance(config, str):
        for part in config:
            found |= digests(part)
    return found


def _entry(line: str) -> Any:
    """None for a line that was cut off while it was written."""
    try:
        return json.loads(line)
    except ValueError:
        return None
