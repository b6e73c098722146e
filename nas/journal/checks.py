"""What a journal must look like to be read: one table, and events whose data have the types that we write.

A journal may come from anywhere. Its schema could hold a view that never ends or a trigger, and its events
values on which the state of a search, the report or an export would break, or that fill the memory.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from search_space.utils.parsing import ParseError, shown

TABLE = (
    "CREATE TABLE events (number INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, "
    "trial INTEGER, data TEXT NOT NULL)"
)
"""The only thing that the schema of a journal holds."""

MAX_EVENT_BYTES = 16 << 20
"""Size of one event's data; those of a search have some kilobytes."""

MAX_ANSWER = 1_000_000
"""Greatest answer to a decision."""

MAX_FIDELITY = 1e6
"""Greatest length of an evaluation relative to the task's own."""

MAX_WHOLE = 2**64 - 1
"""Greatest seed, step or number."""

Check = tuple[Callable[[Any], bool], str]
"""Whether a value is as it must be, and how it must be."""


def check_schema(connection: sqlite3.Connection) -> None:
    """Checks that a database holds the table of events and nothing else, before anything asks the table.

    A view of that name could be endless, and checks and triggers are run by whoever reads or writes.

    Raises:
        ParseError: if it holds something else.
    """
    found = connection.execute("SELECT type, name, sql FROM sqlite_master LIMIT 2").fetchall()
    if [(kind, name, _one_line(sql)) for kind, name, sql in found] != [("table", "events", TABLE)]:
        names = ", ".join(f"{kind} {name}" for kind, name, _ in found)
        raise ParseError(f"it is no journal of a search: it holds {shown(names)}")


def check_event(at: Any, kind: Any, trial: Any, data: Any) -> None:
    """Checks one row of a journal.

    Raises:
        ParseError: if a value has another type than those that a search writes.
    """
    for name, value, check in (
        ("time", at, _TIME),
        ("kind", kind, _TEXT),
        ("trial", trial, _or_null(_WHOLE)),
    ):
        _hold(name, value, check)
    _hold("data", data, _MAPPING)
    needed, optional = EVENTS.get(kind, ({}, {}))
    for name, check in needed.items():
        if name not in data:
            raise ParseError(f"event {kind!r} has no {name!r}")
        _hold(name, data[name], check)
    for name, check in optional.items():
        if name in data:
            _hold(name, data[name], check)


def _hold(name: str, value: Any, check: Check) -> None:
    holds, wanted = check
    if not holds(value):
        raise ParseError(f"{name} must be {wanted}, not {shown(value)}")


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_WHOLE


def _is_number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) <= MAX_WHOLE)


def _is_genotype(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= MAX_ANSWER for item in value)


def _are_metrics(value: Any) -> bool:
    """A metric may be null or not finite, where a task has said so."""
    return isinstance(value, dict) and all(
        item is None or isinstance(item, float) or _is_number(item) for item in value.values()
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _list_of(fields: Mapping[str, Check]) -> Check:
    """Mappings of just these fields."""

    def holds(value: Any) -> bool:
        return isinstance(value, list) and all(
            isinstance(item, dict)
            and item.keys() == fields.keys()
            and all(fields[name][0](item[name]) for name in fields)
            for item in value
        )

    return holds, f"a list of mappings of {', '.join(fields)}"


def _are_decisions(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and _are_texts(item[1])
        for item in value
    )


def _is_objective(value: Any) -> bool:
    """Whether a value is what `nas.search.objective.Objective.to_dict` gives; further keys may be there."""
    lists = [value.get(name, []) for name in ("maximize", "minimize")] if isinstance(value, dict) else [None]
    return all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists
    ) and _are_metrics(value.get("limits", {}))


def _or_null(check: Check) -> Check:
    holds, wanted = check
    return lambda value: value is None or holds(value), f"{wanted}, or null"


def _between(low: float, high: float) -> Check:
    return lambda value: _is_number(value) and low <= value <= high, f"a number in {low:g}..{high:g}"


def _one_line(sql: Any) -> str:
    return re.sub(r"\s+", " ", sql).strip() if isinstance(sql, str) else ""


_TEXT: Check = lambda value: isinstance(value, str), "a text"
_MAPPING: Check = lambda value: isinstance(value, dict), "a mapping"
_FLAG: Check = lambda value: isinstance(value, bool), "true or false"
_WHOLE: Check = _is_whole, "a whole number of at least 0"
_NUMBER: Check = _is_number, "a number"
_METRICS: Check = _are_metrics, "a mapping of names to numbers"
_TIME = _between(0, 2.5e11)  # Until the year 9892, as far as dates can be written.
_STATUS: Check = (
    lambda value: value in ("paused", "completed", "pruned", "failed", "cached"),
    "paused, completed, pruned, failed or cached",
)
_REWARDS: Check = (
    lambda value: isinstance(value, list) and bool(value) and all(map(_is_number, value)),
    "a list of numbers",
)

_EXPECTED = _list_of({"trial": _WHOLE, "reward": _NUMBER})

EVENTS: Mapping[str, tuple[Mapping[str, Check], Mapping[str, Check]]] = {
    "session": (
        {},
        {
            "workers": (lambda value: _is_whole(value) and 1 <= value <= 10**7, "a whole number from 1"),
            "controller": _TEXT,
            "seed": _or_null(_WHOLE),
            "recalled": _WHOLE,
            "objective": _or_null((_is_objective, "lists of metrics and a mapping of limits")),
            "versions": (
                lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
                "a mapping of names to texts",
            ),
            "python": _TEXT,
            "host": _TEXT,
            "cwd": _TEXT,
            "origin": _MAPPING,
            "decisions": (_are_decisions, "a list of names with their options"),
        },
    ),
    "asked": (
        {
            "proposal": _WHOLE,
            "genotype": (_is_genotype, f"a list of whole numbers in 0..{MAX_ANSWER}"),
            "key": _TEXT,
            "seed": _WHOLE,
            "fidelity": _between(0, MAX_FIDELITY),
        },
        {
            "source": _or_null(_WHOLE),
            "resume_from": _or_null(_WHOLE),
            "promoted": _FLAG,
            "at_random": _FLAG,
            "finalist_of": _or_null(_WHOLE),
            "apart": _FLAG,
            "spec": _TEXT,
        },
    ),
    "submitted": ({"attempt": _WHOLE}, {}),
    "reported": (
        {"step": _WHOLE, "reward": _NUMBER, "metrics": _METRICS},
        {"objective": _or_null(_NUMBER)},
    ),
    "ranked": ({"expected": _EXPECTED}, {}),
    "picked": ({"trial": _WHOLE, "expected": _EXPECTED}, {}),
    "retried": ({"trials": (_is_genotype, "a list of numbers of trials")}, {}),
    "ended": (
        {"retry": _FLAG},
        {
            "attempt": _WHOLE,
            "status": _STATUS,
            "rewards": _or_null(_REWARDS),
            "reward": _or_null(_NUMBER),
            "metrics": _METRICS,
            "failure": _or_null(_TEXT),
            "message": _or_null(_TEXT),
            "progress": _FLAG,
            "worker": _or_null(_TEXT),
            "seconds": _or_null(_between(-2.5e11, 2.5e11)),
            "pruner_attrs": _or_null(_MAPPING),
            "source": _or_null(_WHOLE),
        },
    ),
    "workers": (
        {
            "workers": _list_of({"node": _TEXT, "device": _TEXT, "count": _WHOLE}),
            "aside": _list_of(
                {"node": _TEXT, "gpus": (_are_texts, "a list of texts"), "seconds": _NUMBER, "why": _TEXT}
            ),
        },
        {},
    ),
    "finished": ({"reason": _TEXT}, {}),
}
"""What the data of each kind of event must and may have. Further keys may be there; nobody reads them."""
