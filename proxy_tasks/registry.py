"""Tasks by name, import path or Python entry point.

A plug-in declares its task in its pyproject.toml:

    [project.entry-points."spinenas.tasks"]
    my-task = "my_package.my_module:MyTask"
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from search_space.names import look_up

GROUP = "spinenas.tasks"
BUILT_IN = MappingProxyType({"detection": "proxy_tasks.detection:DetectionTask"})
"""Import paths of our own tasks by name."""


class TaskNameError(ValueError):
    """A task that cannot be found: says what was looked for and what there is."""


def known_tasks() -> dict[str, str]:
    """Import paths of all installed tasks by name, plug-ins included; ours win over equal names."""
    plugged = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    return {**plugged, **BUILT_IN}


def find_task(name: str) -> Callable[..., Any]:
    """The class or function that makes a task.

    Args:
        name: an installed name, such as "detection", or an import path, such as "my_module:MyTask".

    Raises:
        TaskNameError: if there is none, or its module cannot be imported.
    """
    path = name if ":" in name else look_up(name, known_tasks(), "task", TaskNameError)
    module_name, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise TaskNameError(f"task {name!r}: {module_name} cannot be imported: {error}") from None
    except AttributeError:
        raise TaskNameError(f"task {name!r}: {module_name} has no {attribute!r}") from None
    if not callable(found):
        raise TaskNameError(f"task {name!r}: {path} is no class or function")
    return found  # type: ignore[no-any-return]
