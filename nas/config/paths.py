"""Files and folders that a configuration names, looked for before anything is imported that takes seconds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.config.errors import ConfigError
from nas.config.overrides import Changes
from nas.config.schema import MISSING, TARGET, is_interpolation
from nas.utils.run_files import kept_spec, winner_file

FOLDERS = ("task.data.root",)
FILES = ("task.path", "weights")


def check_paths(tree: Mapping[str, Any], changes: Changes) -> None:
    """Looks for what is read at the start.

    Args:
        tree: of a command, with the values of its files.
        changes: what the user has changed of it.

    Raises:
        ConfigError: if a file or folder is not there.
    """
    task = tree.get("task")
    if any(key == "task" for key, _ in changes.plugins) or not isinstance(task, Mapping):
        return  # What the keys of a user's own task mean is not known.
    if not str(task.get(TARGET)).startswith("proxy_tasks."):
        return
    for key in (*FOLDERS, *FILES):
        text = _last(tree, changes, key)
        if text is None:
            continue
        path = Path(text).expanduser().absolute()
        if not path.exists():
            what = "no such folder" if key in FOLDERS else "No such file or directory"
            raise ConfigError(f"{path}: {what}")
    spec = _last(tree, changes, "spec")
    if spec is not None and not kept_spec(str(tree.get("run_dir"))).is_file():
        _check_spec(spec)


def _check_spec(spec: str) -> None:
    """Refuses what can be told to be no spec by its place and name."""
    path = Path(spec)
    winner = winner_file(path)
    if ("/" in spec or spec.endswith(".json")) and not path.exists():
        raise ConfigError(f"{spec}: no such file")
    if path.is_dir() and winner.is_file():
        given, best = shlex.quote(f"spec={spec}"), shlex.quote(f"spec={winner}")
        raise ConfigError(f"{given} is the folder of a search; its winner is {best}")
    if path.is_file() and path.suffix.lower() == ".safetensors":
        given, start = shlex.quote(f"spec={spec}"), shlex.quote(f"weights={spec}")
        raise ConfigError(f"{given} is a model and no spec; a training starts from it by {start}")


def _last(tree: Mapping[str, Any], changes: Changes, key: str) -> str | None:
    """The text that a key has in the end; None if it has none."""
    node: Any = tree
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    for change in changes.values:
        if change.key == key:
            node = change.text if change.fault or isinstance(change.value, (int, float)) else change.value
    if not isinstance(node, str) or not node or node == MISSING or is_interpolation(node):
        return None
    return node
