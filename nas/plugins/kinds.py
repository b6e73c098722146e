"""What a user can write, and everything of a kind by name: presets, and what packages offer.

A package offers a class by an entry point in its pyproject.toml:

    [project.entry-points."spinenas.tasks"]
    my-task = "my_package.my_module:MyTask"

and likewise for every other kind, see `KINDS`.
"""

from __future__ import annotations

import contextlib
import inspect

from nas import config_folder

KINDS = {
    "task": "tasks",
    "space": "spaces",
    "controller": "controllers",
    "executor": "executors",
    "head": "heads",
    "reader": "readers",
    "family": "families",
    "scheduler": "schedulers",
    "prior": "priors",
    "observer": "observers",
}
"""What a user can write, each with the ending of its group of entry points, such as "spinenas.tasks"."""

METHODS = {
    "space": ("decisions", "decode", "encode", "key", "sample", "check", "mutate", "neighbors"),
    "controller": ("ask", "tell"),
    "executor": ("workers", "open", "submit", "wait", "now", "close"),
    "scheduler": ("promote", "begin", "report", "end", "observe", "may_resume"),
    "observer": ("on_event", "close"),
}
"""What a search calls, for each kind that has no check of its own."""

ATTRIBUTES = ("decisions", "workers")
"""Those that are no methods."""

BASES = {"space": "search_space.Space", "scheduler": "nas.FullTraining"}
"""Classes to inherit, which have most of these methods."""

MISSING = object()
"""Stands for a member that an object does not have."""

GROUPS = {"head": "task/head"}
"""Folders of presets that are not called like their kind."""


def installed(kind: str) -> dict[str, str]:
    """Import paths by name of what packages offer.

    Args:
        kind: one of `KINDS`.
    """
    from importlib.metadata import entry_points  # It takes as long as all else that `nas --help` imports.

    group = f"spinenas.{KINDS[kind]}"
    return {entry.name: f"{entry.module}.{entry.attr}" for entry in entry_points(group=group)}


def list_plugins(kind: str) -> dict[str, str]:
    """Everything of a kind by name: our presets with the first line of their files, and plug-ins.

    A plug-in does not replace a preset of the same name.

    Args:
        kind: one of `KINDS`.
    """
    found: dict[str, str] = {}
    for path in sorted((config_folder() / GROUPS.get(kind, kind)).glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found[path.stem] = lines[0].lstrip("# ") if lines and lines[0].startswith("#") else ""
    return installed(kind) | found


def kind_of_key(key: str) -> str | None:
    """The kind of the node at a key of a configuration, such as "head" for "task.head", if it has one.

    Observers have names of their own: "observers.diary" is an observer.
    """
    outer, _, last = key.rpartition(".")
    if outer == "observers":
        return "observer"
    return last if last in KINDS else None


def lacks(kind: str, found: object) -> str | None:
    """Says what an object lacks to be of a kind, such as "has no method tell"; None if it lacks nothing.

    Args:
        kind: one of `METHODS`.
        found: perhaps a user's own.
    """
    missing = next((name for name in METHODS[kind] if not _has(found, name)), None)
    if missing is None:
        return None
    what = missing if missing in ATTRIBUTES else f"method {missing}"
    advice = f"; inherit {BASES[kind]}" if kind in BASES else ""
    return f"has no {what}{advice}"


def _has(found: object, name: str) -> bool:
    """Whether an object has a member. A property does not run: if it fails, that is told when it is used."""
    member = inspect.getattr_static(found, name, MISSING)
    if member is not MISSING and hasattr(type(member), "__get__"):
        return True
    if member is MISSING and inspect.getattr_static(found, "__getattr__", None) is not None:
        with contextlib.suppress(Exception):
            member = getattr(found, name)
    return member is not MISSING and (name in ATTRIBUTES or callable(member))
