"""What cannot be sent to another process, and which attribute of it is to blame."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nas.plugins.faults import one_line
from nas.plugins.own_code import file_of

MAX_DEPTH = 12

Send = Callable[[Any], Any]
"""Makes a copy as another process would get it; raises what prevents that."""


class SendingError(ValueError):
    """Something that cannot be sent to the workers: says what, which attribute, and what works."""


def check_sent(thing: Any, name: str, what: str, send: Send, advice: str) -> None:
    """Checks that something can be sent.

    Args:
        thing: an object, perhaps of a user's own class.
        name: of the object, for the message.
        what: the fault in words, such as "cannot be sent to workers".
        send: makes a copy of it.
        advice: what works instead; the end of the message.

    Raises:
        SendingError: if it cannot be sent.
    """
    error = _error_of(thing, send)
    if error is None:
        return
    path, holders, error = _find_culprit(thing, error, send)
    file = next((file for holder in reversed(holders) if (file := file_of(type(holder)))), "")
    endless = isinstance(error, RecursionError)
    reason = "the recursion has no end, perhaps in a __getattr__" if endless else one_line(error)
    why = f"{path}: {reason}" if path else reason
    raise SendingError(f"{file}{name} {what} ({why}); {advice}")


def _find_culprit(thing: Any, error: Exception, send: Send) -> tuple[str, list[Any], Exception]:
    """Finds the innermost part that cannot be sent.

    Returns:
        Its path, such as "model.lock"; the objects along the path; and why it cannot be sent.
    """
    path, holders = "", [thing]
    for _ in range(MAX_DEPTH):
        for name, part in _parts(holders[-1]):
            inner = None if any(part is holder for holder in holders) else _error_of(part, send)
            if inner is not None:
                path, error = f"{path}{name}".removeprefix("."), inner
                holders.append(part)
                break
        else:
            break
    return path, holders, error


def _error_of(thing: Any, send: Send) -> Exception | None:
    try:
        send(thing)
    except Exception as error:
        return error
    return None


def _parts(thing: Any) -> Iterator[tuple[str, Any]]:
    """The parts that something is made of, each with the ending of its path."""
    if isinstance(thing, Mapping):
        yield from ((f"[{key!r}]", value) for key, value in list(thing.items()))
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield from ((f"[{number}]", value) for number, value in enumerate(thing))
    elif callable(thing) and hasattr(thing, "__code__"):
        cells = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=False)
        yield from ((f".{name}", cell.cell_contents) for name, cell in cells)
        if hasattr(thing, "__self__"):
            yield ".__self__", thing.__self__
        used = {
            name: thing.__globals__[name] for name in thing.__code__.co_names if name in thing.__globals__
        }
        yield from ((f".{name}", value) for name, value in used.items())
    else:
        yield from ((f".{name}", value) for name, value in _state(thing).items())


def _state(thing: Any) -> Mapping[str, Any]:
    """The attributes that are sent; all of them where that cannot be told."""
    try:
        reduced = thing.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
    except Exception:
        state = getattr(thing, "__dict__", None)
    if isinstance(state, tuple) and len(state) == 2:  # Of a class with slots.
        state = {**(state[0] or {}), **(state[1] or {})}
    return state if isinstance(state, Mapping) else {}
