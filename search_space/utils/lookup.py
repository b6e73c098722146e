"""Looking up names: case does not matter, and a misspelled name is answered with the nearest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from search_space.utils.parsing import shown

T = TypeVar("T")


def lookup(name: object, table: Mapping[str, T], what: str, error: type[ValueError]) -> T:
    """Returns the table's entry of that name; case does not matter.

    Raises:
        ValueError: of the given type, with the nearest name and all names, if there is none, or the name is
            no text.
    """
    near = ""
    if isinstance(name, str):
        known = {key.lower(): key for key in table}
        if name.lower() in known:
            return table[known[name.lower()]]
        near = suggestion(name, table)
    raise error(f"unknown {what} {shown(name)}{near}; known are {', '.join(table)}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant, whatever its case; None if none is alike."""
    by_case = {key.lower(): key for key in known}
    close = difflib.get_close_matches(name.lower(), by_case, n=1)
    return by_case[close[0]] if close else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """The known name that was most likely meant as a part of a message; "" if none is alike."""
    found = nearest(name, known)
    return "" if found is None else f" (did you mean {found}?)"
