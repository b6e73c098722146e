"""What a method of somebody else's takes.

A user's class may have a method that is called like one of ours and serves another purpose. Such a method
must not be called; what tells it apart is its parameters.
"""

from __future__ import annotations

import inspect
from typing import Any


def accepts(method: Any, *values: object, **named: object) -> bool:
    """Whether something is a method or function that can be called with these arguments."""
    if not callable(method) or isinstance(method, type):
        return False
    try:
        inspect.signature(method).bind(*values, **named)
    except (TypeError, ValueError):
        return False
    return True


def takes_nothing(method: Any) -> bool:
    """Whether something is a method or function without any parameter, optional ones included."""
    return accepts(method) and not inspect.signature(method).parameters


def names_parameter(method: Any, name: str) -> bool:
    """Whether something is a method or function that can be called with one argument of this name."""
    return accepts(method, **{name: None}) and name in inspect.signature(method).parameters
