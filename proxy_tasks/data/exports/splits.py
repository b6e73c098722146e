"""Which split a path names, such as `valid/`."""

from __future__ import annotations

import re
from typing import Literal

Part = Literal["train", "val", "test"]


SPLIT_WORDS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


WORD = re.compile(r"(?<![a-z])(train|training|val|valid|validation|test|testing)(?![a-z])")


def split_of(text: str) -> Part | None:
    """The split that a path names; the last word counts."""
    found = WORD.findall(re.sub(r"\d+", " ", text.lower()))
    return SPLIT_WORDS[found[-1]] if found else None
