"""The terminal: colors, counters, durations. Only what draws on a terminal imports `rich`."""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Callable
from typing import TextIO

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def paint(text: str, style: str, stream: TextIO) -> str:
    """The text in a style, if the stream is a terminal that shows colors.

    Args:
        text: what is about to be written to the stream.
        style: such as "red" or "dim", as rich names styles; "" for none.
        stream: such as sys.stdout. `NO_COLOR` and `TERM=dumb` turn colors off.
    """
    if not style or not has_colors(stream):
        return text
    from rich.color import ColorSystem
    from rich.style import Style

    return Style.parse(style).render(text, color_system=ColorSystem.STANDARD)


def visible(text: str) -> str:
    """A line with every control character written as an escape.

    Names and values of somebody's files are shown in messages. They could otherwise clear the screen, or
    look like further lines of ours.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def say(line: str, stream: TextIO | None = None) -> None:
    """Prints a line that may name what comes from elsewhere.

    Args:
        line: without colors of ours.
        stream: standard output if it is left out.
    """
    print(visible(line), file=stream)


def complain(message: str) -> None:
    """Prints what is wrong as one line on standard error, after the name of the program.

    Args:
        message: may name what comes from elsewhere, and may have several lines.
    """
    print(f"{paint('nas:', 'red', sys.stderr)} {visible(' '.join(message.split()))}", file=sys.stderr)


def has_colors(stream: TextIO) -> bool:
    """Whether the stream is a terminal on which the user wants colors."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def announce_loading(stream: TextIO | None = None) -> None:
    """Says that packages are imported, unless the largest one is there already.

    Args:
        stream: where to say it; None for standard output.
    """
    if "torch" not in sys.modules:
        print("loading the packages, which takes some seconds", file=stream or sys.stdout, flush=True)


def counter(what: str) -> Callable[[int, int], None] | None:
    """A progress bar on standard error that is called with (done, total); None where there is no terminal.

    The bar ends with the last call, or with the process if the work is cut off.

    Args:
        what: the plural of what is counted, such as "images".
    """
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    )
    task = progress.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        if not progress.live.is_started:
            progress.start()
            atexit.register(progress.stop)  # A bar that is cut off must give the cursor back.
        progress.update(task, completed=done, total=total)
        if done >= total:
            progress.stop()
            atexit.unregister(progress.stop)

    return show


def amount(value: float) -> str:
    """A number of parameters or multiply-adds, in millions or billions."""
    return f"{value / 1e9:.3g} G" if value >= 1e9 else f"{value / 1e6:.3g} M"


def show_reward(value: float, sign: str = "") -> str:
    """A reward with four decimals, or with the digits that tell very small and very large ones apart.

    Args:
        value: any finite number.
        sign: "+" for a sign before positive ones too, as differences have it.
    """
    size = abs(value)
    style = ".4f" if 1e-3 <= size < 1e6 or size == 0 else ".4g" if size < 1 else ".7g"
    return f"{value:{sign}{style}}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun, such as "1 fault" and "2 faults".

    Args:
        count: how many.
        one: the noun in the singular.
        many: the plural, where it is not the singular with an s.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def describe_pace(trials: float) -> str:
    """Writes how many trials end in an hour, from 100 on as a whole number."""
    return f"{trials:,.0f} trials an hour" if trials >= 100 else f"{trials:.3g} trials an hour"


def duration(seconds: float) -> str:
    """A span of time in the unit that reads best: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
