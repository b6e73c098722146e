"""Mutations of bytes and of JSON data, from a seeded generator: the same seed gives the same case."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

DEEP = "<deep {}>"
"""Stands for a nesting that `json.dumps` itself could not write; see `dumps`."""

NASTY: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    7,
    -0.0,
    0.5,
    1.5,
    1e-320,
    1e8,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    10**400,
    10**4000,
    100_000,
    300_000,
    1_000_000_000,
    "",
    "a",
    "1",
    "12.0",
    "nan",
    "\0",
    "\ud800",
    "\x1b[2J",
    "ä" * 50,
    "a" * 300,
    "a" * 70_000,
    "../../etc/passwd",
    "/dev/zero",
    "${seed}",
    "???",
    [],
    {},
    [[]],
    [None],
    {"": None},
    [1, 2],
    [0] * 1000,
    {"_target_": "os.getcwd"},
    DEEP.format(50),
    DEEP.format(900),
    DEEP.format(3000),
    DEEP.format(100_000),
)

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def mutate_bytes(rng: Random, data: bytes, most: int = 6) -> bytes:
    """Changes a few places: bits, bytes, numbers, lengths; cuts, repeats and moves pieces."""
    found = bytearray(data)
    for _ in range(rng.randint(1, most)):
        length = len(found)
        at = rng.randrange(length + 1)
        end = min(length, at + rng.choice((1, 2, 4, 8, 64, 1024)))
        how = rng.randrange(8)
        if how == 0 and length:
            found[at % length] ^= 1 << rng.randrange(8)
        elif how == 1 and length:
            found[at % length] = rng.randrange(256)
        elif how == 2:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) & (256**size - 1)
            found[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif how == 3:
            del found[at:end]
        elif how == 4:
            found[at:at] = found[at:end] * rng.choice((1, 2, 50))
        elif how == 5:
            found[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
        elif how == 6 and rng.random() < 0.3:
            del found[at:]
        else:
            other = rng.randrange(length + 1)
            found[at:end] = found[other : other + end - at]
    return bytes(found)


def mutate_data(rng: Random, data: Any, most: int = 4) -> Any:
    """Changes a few values, keys or lists of JSON data; the original stays."""
    holder = [copy.deepcopy(data)]
    for _ in range(rng.randint(1, most)):
        places = list(places_in(holder))
        node, key = rng.choice(places)
        how = rng.randrange(7)
        if how <= 2:
            node[key] = copy.deepcopy(rng.choice(NASTY))
        elif how == 3 and node is not holder:
            del node[key]
        elif how == 4:
            other, name = rng.choice(places)
            node[key] = copy.deepcopy(other[name])
        elif how == 5 and isinstance(node, dict):
            node[rng.choice(("", "a", "about", "format", "\0", "1", "_target_", str(key) * 2))] = node.pop(
                key
            )
        elif how == 6 and isinstance(node, list) and node is not holder:
            node[key:key] = [copy.deepcopy(node[key])] * rng.choice((1, 3, 200))
        elif isinstance(node[key], int) and not isinstance(node[key], bool):
            node[key] += rng.choice((-1, 1, 5, 1000))
    return holder[0]


def dumps(data: Any) -> str:
    """The data as text, with deep nestings written out."""
    text = json.dumps(data)
    for depth in (50, 900, 3000, 100_000):
        text = text.replace(json.dumps(DEEP.format(depth)), "[" * depth + "]" * depth)
    return text


def mutate_json(rng: Random, data: Any) -> bytes:
    """JSON text of changed data, at times damaged as text too."""
    text = dumps(mutate_data(rng, data)).encode("utf-8", "surrogatepass")
    return mutate_bytes(rng, text, 3) if rng.random() < 0.25 else text


def places_in(root: Any) -> Iterator[tuple[Any, Any]]:
    """The holder and the key of every value in lists and mappings."""
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            yield node, key
            if isinstance(value, (dict, list)):
                todo.append(value)
