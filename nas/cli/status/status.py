"""How a run stands, in data and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import Any

from nas.cli.live_board import Running


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a run stands.

    Args:
        data: what --json prints; "alive" says whether a process works on it.
        lines: the same in words.
        running: what runs right now.
        hint: the next command; "" for none.
    """

    data: dict[str, Any]
    lines: tuple[str, ...]
    running: tuple[Running, ...] = field(default=())
    hint: str = ""


def seconds_since(moment: float) -> float:
    """Seconds since a moment; 0 if the clock was set back since."""
    return max(0.0, time() - moment)
