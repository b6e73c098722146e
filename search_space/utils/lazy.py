"""Public names of a package whose modules are heavy: each is imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` (PEP 562) that imports public names from the modules that define them.

    Args:
        package: the package's `__name__`.
        homes: module by public name, such as {"TrainingTask": "proxy_tasks.training_task"}.

    Returns:
        A function that raises AttributeError for any other name.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return get
