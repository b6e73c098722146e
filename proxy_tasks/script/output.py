"""What a script says of its score: JSON objects with a "reward", anywhere in what it prints.

Scripts print much else: progress bars that go back to the start of the line, prefixes of a logger, colors,
objects over several lines. So a text is searched for objects, not for lines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from proxy_tasks.task import Score, TaskFailureError
from search_space.utils.numbers import as_number, as_whole

MAX_OBJECT = 1 << 16
"""Characters of the longest object that is waited for when its end is not there yet."""

SHOWN = 200
"""Characters of a line that an error shows."""

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # Colors, and moves of the cursor.
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # Titles and links.
    r"|[ -/]+[0-~]|[0-Z\\^_`-~])"
)
_MAX_ESCAPE = 256
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BREAK = re.compile(r"[\r\n]+")
_REWARD = re.compile(r'"reward"\s*:')
_DECODER = json.JSONDecoder()


class OutputReader:
    """Finds scores in one stream of a script, which comes in pieces.

    Attributes:
        last_line: the last line that is not blank, shortened.
    """

    def __init__(self) -> None:
        self.last_line = ""
        self._line = ""
        self._escape = ""
        self._rest = ""

    def read(self, text: str, *, is_end: bool = False) -> Iterator[dict[str, Any] | str]:
        """Takes the next piece.

        Args:
            text: what came, decoded.
            is_end: whether nothing follows.

        Yields:
            Objects, and as texts the lines with a "reward" that is in no object that can be read.
        """
        plain = self._without_escapes(text, is_end)
        self._keep_last_line(plain)
        self._rest += plain
        at = skipped = 0
        while (start := self._rest.find("{", at)) >= 0:
            try:
                found, end = _DECODER.raw_decode(self._rest, start)
            except json.JSONDecodeError as error:
                waits = not is_end and len(self._rest) - start <= MAX_OBJECT
                if waits and _is_unfinished(self._rest, error.pos, error.msg):
                    break
                at = start + 1
            except RecursionError:
                at = len(self._rest)
            except ValueError:  # An int of thousands of digits.
                at = start + 1
            else:
                yield from _lost(self._rest[skipped:start])
                yield found
                at = skipped = end
        keep = start if start >= 0 else len(self._rest)
        yield from _lost(self._rest[skipped:keep])
        self._rest = self._rest[keep:]

    def _without_escapes(self, text: str, is_end: bool) -> str:
        text = self._escape + text
        self._escape = ""
        last = text.rfind("\x1b")
        if last >= 0 and not is_end and len(text) - last < _MAX_ESCAPE and not _ESCAPE.match(text, last):
            text, self._escape = text[:last], text[last:]
        return _CONTROL.sub("", _ESCAPE.sub("", text))

    def _keep_last_line(self, text: str) -> None:
        lines = _BREAK.split(self._line + text)
        self._line = lines[-1][-10 * SHOWN :]
        self.last_line = next(
            (line.strip()[:SHOWN] for line in reversed(lines) if line.strip()), self.last_line
        )


def read_score(found: dict[str, Any]) -> tuple[int | None, Score] | None:
    """Gives the step and the score of a printed object; None if it is no score.

    The reward may be a number or a text of one. Metrics are the object's other numbers; null is a metric that
    was not measured.

    Raises:
        TaskFailureError: if there is a reward, and the step is no whole number.
    """
    reward = _number(found.get("reward"))
    if reward is None:
        return None
    step = found.get("step")
    whole = as_whole(_number(step))
    if step is not None and whole is None:
        raise TaskFailureError("error", f'the script printed a "step" that is no whole number: {step!r}')
    metrics = {name: _metric(value) for name, value in found.items() if name not in ("reward", "step")}
    return whole, Score(reward, {name: value for name, value in metrics.items() if value is not None})


def is_meant_as_score(found: dict[str, Any]) -> bool:
    """Whether an object without a usable reward has one that stands for a number, such as null."""
    return "reward" in found and not isinstance(found["reward"], (dict, list))


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return as_number(value)


def _metric(value: Any) -> float | None:
    if value is None:
        return math.nan
    return float(value) if isinstance(value, bool) else as_number(value)


def _lost(text: str) -> Iterator[str]:
    """The last line of a text between objects that has a "reward", if there is one."""
    if '"reward"' in text:
        lines = [line.strip() for line in _BREAK.split(text) if _REWARD.search(line)]
        yield from (line[:SHOWN] for line in lines[-1:])


def _is_unfinished(text: str, position: int, message: str) -> bool:
    """Whether JSON broke off at the end of the text: there, within a string, or within a short word."""
    tail = text[position:]
    return (
        not tail.strip() or message.startswith("Unterminated string") or (len(tail) < 10 and "\n" not in tail)
    )
