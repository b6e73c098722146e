"""Single values of annotations: every reader takes its numbers through these functions.

Each gives the value, or None if it is not what is wanted; the reader turns None into a fault that names the
file and the entry.
"""

from __future__ import annotations

import math


def as_whole(value: object) -> int | None:
    """A whole number of JSON or YAML."""
    return value if type(value) is int else None


def as_number(value: object) -> float | None:
    """A finite number of JSON or YAML."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def parse_whole(text: str | None) -> int | None:
    """A whole number in text; "3.0" is one."""
    number = parse_number(text)
    return int(number) if number is not None and number.is_integer() else None


def parse_number(text: str | None) -> float | None:
    """A finite decimal number in text."""
    if text is None or "_" in text:  # float() takes "1_000".
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def shortest_decimal(value: float, error: float) -> float:
    """The number with the fewest decimals within an error of a value.

    It undoes the rounding of a format that does not store pixels: a box of whole pixels, or of hundredths as
    COCO has them, comes back to the last bit.
    """
    for decimals in range(7):
        rounded = round(value, decimals)
        if abs(rounded - value) <= error:
            return rounded
    return value


def shorten(value: object) -> str:
    """A value for a message, cut off after 60 characters."""
    return repr(value)[:60]
