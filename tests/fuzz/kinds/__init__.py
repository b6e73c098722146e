"""The kinds of input that the fuzzer knows, one to a file."""

from __future__ import annotations

import importlib

from tests.fuzz.kind import Kind

NAMES = ("spec", "coco", "picture", "model", "table", "overrides", "journal", "config", "checkpoint")
"""All kinds, each called like its file."""


def find_kind(name: str) -> Kind:
    """The kind of a name; its module is imported now, as some need torch."""
    kind: Kind = importlib.import_module(f"tests.fuzz.kinds.{name}").KIND
    return kind
