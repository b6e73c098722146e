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
    return [
        f"{name} has changed since this was begun: later scores may not compare with earlier ones"
        for name in changed_files(before, own_digests(config))
    ]


def changed_files(before: Any, now: Mapping[str, str]) -> list[str]:
    """The names of the files whose digests differ.

    A file that only one side knows has not changed: a task may import a module when it is first needed.

    Args:
        before: digests by name, as they were read from a file; what else it may be has none.
        now: digests by name, see `own_digests`.
    """
    known = before if isinstance(before, dict) else {}
    return [name for name, digest in known.items() if now.get(name, digest) != digest]


def own_digests(config: Any) -> dict[str, str]:
    """The digests, by name, of the user's own files: of those that are named, and of modules beside them.

    The names do not depend on where the files lie. A module has its path below the folder that it is
    imported from, such as "my_package/my_task.py", and another file the name that the configuration gives it.

    Args:
        config: names classes and files; a configuration, or mappings and lists. The classes are imported.
    """
    from omegaconf import OmegaConf

    tree = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    files = dict(_named_files(tree))
    packages: dict[Path, Path] = {}
    for name, file in _own_modules(tree):
        files[name] = file
        packages[file.parent] = Path(name).parent
    for module in list(sys.modules.values()) if packages else ():
        found = getattr(module, "__file__", None)
        if isinstance(found, str) and is_own(found):
            file = Path(found).resolve()
            for folder in packages.keys() & set(file.parents):
                files.setdefault((packages[folder] / file.relative_to(folder)).as_posix(), file)
    return {
        name: hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
        for name, file in sorted(files.items())
        if file.stat().st_size <= MAX_BYTES
    }


def _own_modules(tree: Any) -> Iterator[tuple[str, Path]]:
    """The modules of the user's own classes that a tree names, each with its path below its import folder."""
    for node in _walk(tree):
        target = str(node[TARGET]) if isinstance(node, Mapping) and TARGET in node else ""
        file = own_file(target)
        if file is not None:
            packages = target.split(".")[: -1 if file.name == "__init__.py" else -2]
            yield "/".join([*packages, file.name]), file.resolve()


def _named_files(tree: Any) -> Iterator[tuple[str, Path]]:
    """The files that a tree names as words of a command or values of a key.

    A word without a dot or a slash is taken for a name, such as "cpu", even if there is a file of that name.
    """
    for text in _walk(tree):
        if (
            not isinstance(text, str)
            or not 0 < len(text) < 1000
            or "\0" in text
            or not {".", "/"} & set(text)
        ):
            continue
        file = Path(text).expanduser()
        try:
            if file.is_file():
                yield text, file.resolve()
        except OSError:  # Too long for a file's name.
            continue


def _walk(tree: Any) -> Iterator[Any]:
    """A tree and all below it, but for what belongs to reserved keys, such as `_target_`."""
    yield tree
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            if not str(name).startswith("_"):
                yield from _walk(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _walk(value)
