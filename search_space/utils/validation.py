"""One mechanism that checks the fields of a configuration by their annotations: types, ranges and choices.

A configuration is a keyword-only frozen dataclass whose `__post_init__` calls `validate(self)`:

    @dataclass(frozen=True, kw_only=True)
    class TrainConfig:
        steps: Annotated[int, AtLeast(1)]
        momentum: Annotated[float, AtLeast(0), AtMost(1)] = 0.9
        schedule: Literal["cosine", "step"] = "cosine"

A class with an `__init__` of its own decorates that with `checked`. The same errors reach a user of Python
and one of the command line.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from search_space.utils.parsing import shown

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")
Init = Callable[Concatenate[Made, Arguments], None]


@dataclass(frozen=True)
class AtLeast:
    """The value is this number or more."""

    limit: float

    def holds(self, value: float) -> bool:
        """Whether a number keeps the bound."""
        return value >= self.limit

    def __str__(self) -> str:
        return f"at least {_plain(self.limit)}"


@dataclass(frozen=True)
class AtMost:
    """The value is this number or less."""

    limit: float

    def holds(self, value: float) -> bool:
        """Whether a number keeps the bound."""
        return value <= self.limit

    def __str__(self) -> str:
        return f"at most {_plain(self.limit)}"


@dataclass(frozen=True)
class Above:
    """The value is more than this number."""

    limit: float

    def holds(self, value: float) -> bool:
        """Whether a number keeps the bound."""
        return value > self.limit

    def __str__(self) -> str:
        return f"above {_plain(self.limit)}"


@dataclass(frozen=True)
class Below:
    """The value is less than this number."""

    limit: float

    def holds(self, value: float) -> bool:
        """Whether a number keeps the bound."""
        return value < self.limit

    def __str__(self) -> str:
        return f"below {_plain(self.limit)}"


def _plain(limit: float) -> str:
    """A number without an exponent where it is a whole one."""
    return str(int(limit)) if limit == int(limit) else f"{limit:g}"


BOUNDS = (AtLeast, AtMost, Above, Below)


def is_number(value: object) -> bool:
    """Whether a value is a number that a float holds, numpy's included; True and False are none."""
    if type(value) is float:  # The usual case, of thousands in a search.
        return math.isfinite(value)
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # A whole number of over 308 digits.
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, numpy's included; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def validate(config: Any, error: type[ValueError] = ValueError, where: str = "") -> None:
    """Checks every field of a dataclass against its annotation.

    Lists become tuples where it asks for those, and numpy's numbers become Python's, which JSON can keep.

    Args:
        config: an instance of a dataclass.
        error: the exception to raise.
        where: begins the message, such as "cells[3]: ".

    Raises:
        ValueError: of the given type, naming the field, what it must be, and what it is.
    """
    for name, annotation in annotated_fields(type(config)):  # type: ignore[arg-type]
        given = value = getattr(config, name)
        if _is_list(value) and not isinstance(value, tuple) and _wants_tuple(annotation):
            value = tuple(value)
            object.__setattr__(config, name, value)
        if not matches(value, annotation):
            raise error(f"{where}{name} must be {describe(annotation)}, not {shown(given)}")
        plain = _as_python(value)
        if plain is not value:
            object.__setattr__(config, name, plain)


def _as_python(value: Any) -> Any:
    """A value with Python's numbers in the place of numpy's, also within tuples; itself if it has none."""
    if type(value) is tuple:
        items = tuple(map(_as_python, value))
        return value if all(map(operator.is_, items, value)) else items
    if isinstance(value, Real) and type(value).__module__ == "numpy":
        return int(value) if isinstance(value, Integral) else float(value)
    return value


def checked(init: Init[Made, Arguments]) -> Init[Made, Arguments]:
    """Decorates an `__init__`: its keyword-only arguments are checked against their annotations first.

    They raise a ValueError that names the argument, what it must be, and what it is.
    """
    parameters = inspect.signature(init).parameters.values()
    named = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]

    @wraps(init)
    def check_first(self: Made, /, *args: Arguments.args, **arguments: Arguments.kwargs) -> None:
        hints = get_type_hints(init, include_extras=True)
        for name in named:
            if name in arguments and not matches(arguments[name], hints[name]):
                raise ValueError(f"{name} must be {describe(hints[name])}, not {shown(arguments[name])}")
        init(self, *args, **arguments)

    return check_first


def matches(value: object, annotation: Any) -> bool:
    """Whether a value is of an annotated type and within its bounds; what cannot be checked matches."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return True
    if origin is Annotated:
        inner, *marks = parts
        bounds: list[Any] = [mark for mark in marks if isinstance(mark, BOUNDS)]
        if value is None or not matches(value, inner):
            return matches(value, inner)
        return all(bound.holds(value) for bound in bounds)
    if origin in (Union, UnionType):
        return any(matches(value, part) for part in parts)
    if origin is Literal:
        # True is no 1 here, although they are equal; a numpy string is a string.
        return any(
            value == part and isinstance(value, type(part)) and _is_bool(value) == _is_bool(part)
            for part in parts
        )
    check = _SIMPLE.get(annotation)
    if check is not None:
        return check(value)
    kind = origin or annotation
    if kind in (tuple, list, Sequence):
        if not _is_list(value):
            return False
        if kind is tuple and not (len(parts) == 2 and parts[1] is Ellipsis):
            return len(value) == len(parts) and all(map(matches, value, parts))
        return not parts or all(matches(item, parts[0]) for item in value)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    if isinstance(kind, type) and not getattr(kind, "_is_protocol", False):
        return isinstance(value, kind)
    return True


def describe(annotation: Any) -> str:
    """What an annotated type allows, in words, such as "a whole number of at least 1"."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = [str(mark) for mark in parts[1:] if isinstance(mark, BOUNDS)]
        inner = describe(parts[0])
        link = " of " if bounds and bounds[0].startswith("at ") else " "
        return f"{inner}{link}{' and '.join(bounds)}" if bounds else inner
    if origin in (Union, UnionType):
        return _either([name for part in parts for name in _choices(part)])
    if origin is Literal:
        return _either(_choices(annotation))
    if annotation in _NAMES:
        return _NAMES[annotation]
    kind = origin or annotation
    if kind in (tuple, list, Sequence):
        items = [part for part in parts if part is not Ellipsis]
        count = f" of {len(parts)} items" if kind is tuple and items and Ellipsis not in parts else ""
        every = f", every item {describe(items[0])}" if len(set(items)) == 1 else ""
        return f"a list{count}{every}"
    if kind in (dict, Mapping):
        return "a mapping"
    return f"a {getattr(kind, '__name__', kind)}"


def _choices(annotation: Any) -> list[str]:
    """The values of a Literal, and any other type as one choice."""
    if get_origin(annotation) is Literal:
        return [str(part) for part in get_args(annotation)]
    return [describe(annotation)]


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


_SIMPLE: dict[Any, Callable[[object], bool]] = {
    int: is_whole,
    float: is_number,
    bool: lambda value: isinstance(value, bool),
    str: lambda value: isinstance(value, str),
    NoneType: lambda value: value is None,
}
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}


@lru_cache(maxsize=256)
def annotated_fields(kind: type) -> tuple[tuple[str, Any], ...]:
    """Gives name and annotation, marks included, of each field that a dataclass takes."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((field.name, hints[field.name]) for field in fields(kind) if field.init)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _wants_tuple(annotation: Any) -> bool:
    return get_origin(annotation) in (tuple, Sequence) or (
        get_origin(annotation) in (Union, UnionType, Annotated)
        and any(map(_wants_tuple, get_args(annotation)))
    )
