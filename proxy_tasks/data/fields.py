"""Single values of annotations: every reader takes its numbers through these functions.

Values that can only mean one thing are taken, however a program has written them: "12.0" and 32.0 are whole
numbers. Each function gives the value, or None if it is not what is wanted; the reader turns None into a
fault that names the file and the entry.
"""

from __future__ import annotations

import math
from typing import Any

LARGEST = 2**63
"""Whole numbers are below it, and above its negative."""

Id = int | str
"""What entries are known by: a whole number, or a text that is none."""


def as_whole(value: object) -> int | None:
    """A whole number of JSON or YAML, as a number or as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return parse_whole(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < LARGEST else None
    return value if isinstance(value, int) and abs(value) < LARGEST else None


def as_number(value: object) -> float | None:
    """A finite number of JSON or YAML, as a number or as text."""
    if isinstance(value, str):
        return parse_number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_id(value: object) -> Id | None:
    """An id of JSON: a whole number, or a text. "12" and 12.0 are the number 12; "012" and "a" stay texts."""
    if isinstance(value, str):
        text = value.strip()
        number = parse_whole(text)
        plain = number is not None and text.removesuffix(".0") == str(number)
        return number if plain else text or None
    return as_whole(value)


def as_flag(value: object) -> bool | None:
    """A yes or no: 0 or 1 in any notation, true or false; nothing given is no."""
    if value is None or value == "":
        return False
    if isinstance(value, bool):
        return value
    number = as_whole(value)
    return bool(number) if number in (0, 1) else None


def parse_whole(text: str | None) -> int | None:
    """A whole number in text; "3.0" is one."""
    number = parse_number(text)
    if number is None or not number.is_integer() or abs(number) >= LARGEST:
        return None
    try:  # Exactly, as floats end at 2**53.
        return int(text or "")
    except ValueError:
        return int(number)


def parse_number(text: str | None) -> float | None:
    """A finite decimal number in text."""
    if text is None or "_" in text or len(text) > 400:  # float() takes "1_000".
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


def has_lists(data: Any, *names: str) -> bool:
    """Whether JSON is an object with a list below each of these names."""
    return isinstance(data, dict) and all(isinstance(data.get(name), list) for name in names)
