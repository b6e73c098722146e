"""Numbers as people have them: Python's own, numpy's, and arrays and tensors of one value."""

from __future__ import annotations

from numbers import Integral
from typing import Any

_NO_NUMBERS = (str, bytes, bytearray, bool, complex)


def unwrap(value: Any) -> Any:
    """Gives the one value of an array or a tensor, as Python has it; anything else as it is.

    Args:
        value: of several values, or of none, it stays an array.
    """
    item = getattr(value, "item", None)  # numpy, torch, jax, pandas and others agree on this name.
    if not callable(item) or isinstance(value, type):
        return value
    try:
        return item()
    except Exception:  # Each library raises an error of its own for several values.
        return value


def as_number(value: Any) -> float | None:
    """Gives a number as a float, which may be infinite or NaN; None if the value is no number.

    Texts and truth values are no numbers here, although `float` takes them.
    """
    value = unwrap(value)
    has_several = bool(getattr(value, "ndim", None))  # A library would take one of one value, with a warning.
    if isinstance(value, _NO_NUMBERS) or has_several or not hasattr(type(value), "__float__"):
        return None
    try:
        return float(value)
    except (ArithmeticError, RuntimeError, TypeError, ValueError):  # Such as an int of 400 digits.
        return None


def whole_numbers(values: Any) -> tuple[int, ...] | None:
    """Gives several whole numbers as ints; None if they are not several, or one of them is no whole number.

    Args:
        values: such as a tuple, a list or an array of one dimension.
    """
    if isinstance(values, str):
        return None
    try:
        found = [as_whole(value) for value in values]
    except TypeError:
        return None
    whole = tuple(number for number in found if number is not None)
    return whole if len(whole) == len(found) else None


def as_whole(value: Any) -> int | None:
    """Gives a whole number as an int; None if the value is none. 3.0 is one."""
    value = unwrap(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    number = as_number(value)
    return int(number) if number is not None and number.is_integer() else None
