"""Looking up a name in a table: case does not matter, and a misspelled name is answered with the nearest."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(name: str, table: Mapping[str, T], what: str, error: type[ValueError]) -> T:
    """Returns the table's entry of that name; case does not matter.

    Raises:
        ValueError: of the given type, with the nearest name and all names, if there is none.
    """
    known = {key.lower(): key for key in table}
    if name.lower() in known:
        return table[known[name.lower()]]
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f" (did you mean {known[close[0]]}?)" if close else ""
    shown = name if len(name) <= 60 else name[:57] + "..."
    raise error(f"unknown {what} {shown!r}{hint}; known are {', '.join(table)}")
