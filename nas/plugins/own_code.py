"""Which files are a user's own: neither this framework's nor a library's.

What an installed package offers to this framework by an entry point counts as a user's own too.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

OURS = ("controllers", "nas", "proxy_tasks", "search_space")

_NOT_OWN = tuple(
    f"{folder}{os.sep}"
    for folder in (
        *(Path(__file__).parents[2] / package for package in OURS),
        *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
    )
)


def is_ours(kind: type) -> bool:
    """Whether a class is of this framework."""
    return kind.__module__.partition(".")[0] in OURS


def is_own(file: str) -> bool:
    """Whether a file is of a user's own: there, and neither ours nor a library's but for plug-ins."""
    return Path(file).is_file() and (not file.startswith(_NOT_OWN) or file.startswith(_plugin_places()))


@lru_cache(maxsize=1)
def _plugin_places() -> tuple[str, ...]:
    """Folders and files of the installed packages that offer something to this framework."""
    from importlib.metadata import entry_points  # Slow to import.

    offered = entry_points()
    groups = [group for group in offered.groups if group.startswith("spinenas.")]
    modules = {entry.module.partition(".")[0] for group in groups for entry in offered.select(group=group)}
    places = []
    for module in sorted(modules - set(OURS)):
        spec = find_spec(module) if is_module(module) else None
        if spec is not None and spec.submodule_search_locations is not None:
            places += [f"{folder}{os.sep}" for folder in spec.submodule_search_locations]
        elif spec is not None and spec.origin:
            places.append(spec.origin)
    return tuple(places)


def own_file(path: str) -> Path | None:
    """The file of a user's own in which an import path's class stands; None for ours and for packages'."""
    module = path.rpartition(".")[0]
    if not module or not is_module(module):
        return None
    file = module_file(module)
    return Path(file) if is_own(file) else None


def file_of(kind: type) -> str:
    """The user's own file in which a class stands, with a colon, such as "mine.py: "; "" for others."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return f"{Path(file).name}: " if file is not None and is_own(file) else ""


def look_where_it_began(folder: str | None) -> None:
    """Looks for modules in a folder too: a search may be resumed or read from elsewhere.

    Args:
        folder: in which the search was begun, if it is known.
    """
    if folder is not None and folder not in sys.path:
        sys.path.append(folder)


def is_module(name: str) -> bool:
    """Whether a module of that name can be imported, as far as can be told without importing it."""
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def module_file(module_name: str) -> str:
    """The file of a module, or the name of the module if it has none."""
    try:
        spec = find_spec(module_name)
    except (ImportError, ValueError):
        return module_name
    return spec.origin if spec is not None and spec.origin else module_name
