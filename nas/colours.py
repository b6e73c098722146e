"""Colours on a terminal; plain where the output is piped, TERM is dumb, or NO_COLOR is set (no-color.org)."""

from __future__ import annotations

import os
from typing import TextIO

CODES = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "bold": 1, "dim": 2}


def paint(text: str, colour: str, stream: TextIO) -> str:
    """The text in a colour, if the stream is to have colours.

    Args:
        text: to be written to the stream.
        colour: one of `CODES`; "" for none.
        stream: such as sys.stdout.
    """
    if not colour:
        return text
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m"
