"""How work on many images tells how far it has come."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Is called with the numbers of those that are done and of all."""
