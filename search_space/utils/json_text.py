"""The one way to read JSON that a user gives: whatever a parser can raise becomes one documented error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Pairs = Callable[[list[tuple[str, Any]]], Any]


def parse_json(
    content: bytes | str,
    *,
    error: type[ValueError] = ValueError,
    where: str | Path = "",
    pairs: Pairs | None = None,
) -> Any:
    """Parses JSON text: UTF-8 with or without a byte-order mark, or UTF-16 and UTF-32.

    Args:
        content: the text, or the bytes of a file.
        error: the exception to raise.
        where: the file, which begins the message.
        pairs: makes an object of its keys and values; it may raise an exception of type `error`.

    Raises:
        ValueError: of the given type, if the text is no JSON: also if it is nested too deeply, has a number
            of too many digits, or does not fit into memory.
    """
    begins = f"{where}: " if str(where) else ""
    try:
        if isinstance(content, str):
            content = content.removeprefix("\ufeff")
        return json.loads(content, object_pairs_hook=pairs)
    except RecursionError:
        raise error(f"{begins}not readable as JSON: it is nested too deeply") from None
    except MemoryError:
        raise error(f"{begins}not readable as JSON: it does not fit into memory") from None
    except Exception as problem:
        if pairs is not None and isinstance(problem, error) and type(problem) is not ValueError:
            raise
        raise error(f"{begins}not readable as JSON: {_reason(problem)}") from None


def _reason(problem: Exception) -> str:
    """What is wrong, in one short line."""
    if isinstance(problem, UnicodeDecodeError):
        return f"no text in {problem.encoding} at byte {problem.start}"
    text = " ".join(str(problem).split())
    if "integer string conversion" in text:
        return "a number has too many digits"
    return text[:200]
