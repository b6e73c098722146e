"""JSON that every reader takes. Python's own `json` writes NaN and Infinity, which are no JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from search_space.utils.signatures import takes_nothing


def to_json(data: Any, indent: int | None = None) -> str:
    """Writes plain data as JSON; a number that is not finite becomes null.

    Args:
        data: mappings, lists, texts, numbers, truth values and None.
        indent: spaces of each level; None for one line.

    Raises:
        TypeError: if the data holds something else.
    """
    try:
        return json.dumps(data, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(data), indent=indent, allow_nan=False)


def own_json(thing: object) -> str | None:
    """Gives the JSON that an object makes of itself by `to_json(self)`; None if it has no such method.

    A method of that name which takes arguments, or gives something else than a JSON text, is another one.
    """
    method = getattr(thing, "to_json", None)
    if method is None or not takes_nothing(method):
        return None
    text = method()
    if not isinstance(text, str):
        return None
    try:
        json.loads(text, parse_constant=_refuse)
    except _NotFiniteError:
        return to_json(json.loads(text))
    except (ValueError, RecursionError):
        return None
    return text


class _NotFiniteError(Exception):
    """A text holds NaN or Infinity."""


def _refuse(name: str) -> None:
    raise _NotFiniteError(name)


def _finite(data: Any) -> Any:
    """The data with None in the place of every number that is not finite."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {_finite_key(name): _finite(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data


def _finite_key(name: Any) -> Any:
    return str(name) if isinstance(name, float) and not math.isfinite(name) else name
