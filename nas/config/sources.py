"""The user's own files that a run uses, and whether they have changed since it was begun."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.config.schema import TARGET
from nas.plugins.own_code import is_own, own_file
from nas.utils.files import replace_file
from search_space.utils.json_text import parse_json
from search_space.utils.regular_file import read_regular
from search_space.utils.strict_json import to_json

FILE = "sources.json"
"""Name of the file in a run folder that keeps the digests."""

MAX_BYTES = 2**28
"""Larger files are data, and are left out."""


def keep_sources(folder: Path, config: Any) -> None:
    """Writes the digests of the files that a configuration uses into a run folder.

    Raises:
        OSError: if the file cannot be written.
    """
    replace_file(folder / FILE, to_json(own_digests(config), indent=1) + "\n")


def changed_sources(folder: Path, config: Any) -> list[str]:
    """A sentence for each file that has changed since its digest was kept."""
    try:
        before = parse_json(read_regular(folder / FILE))
    except (OSError, ValueError):
        return []
    if not isinstance(before, dict):
        return []
    now = own_digests(config)
    changed = [path for path, digest in before.items() if now.get(path, digest) != digest]
    return [
        f"{path} has changed since this was begun: later scores may not compare with earlier ones"
        for path in changed
    ]


def own_digests(config: Any) -> dict[str, str]:
    """The digests, by path, of the user's own files: of those that are named, and of modules beside them.

    Args:
        config: names classes and files; a configuration, or mappings and lists. The classes are imported.
    """
    from omegaconf import OmegaConf

    tree = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    files = set(_named(tree))
    folders = {file.parent for file in files if file.suffix == ".py"}
    for module in list(sys.modules.values()) if folders else ():
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and is_own(file) and folders & set(Path(file).parents):
            files.add(Path(file))
    return {
        str(path): hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        for path in sorted(files)
        if path.stat().st_size <= MAX_BYTES
    }


def _named(tree: Any) -> Iterator[Path]:
    """The files that a tree names: of classes, and as words of a command or values of a key."""
    if isinstance(tree, Mapping):
        path = own_file(str(tree[TARGET])) if TARGET in tree else None
        if path is not None:
            yield path.resolve()
        for name, value in tree.items():
            if not str(name).startswith("_"):
                yield from _named(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _named(value)
    elif isinstance(tree, str) and 0 < len(tree) < 1000 and "\0" not in tree:
        file = Path(tree).expanduser()
        try:
            if file.is_file():
                yield file.resolve()
        except OSError:  # Too long for a file's name.
            return
