"""One look for all figures that are files: PNG, SVG or PDF, drawn by matplotlib.

Charts inside HTML pages are drawn by `nas.reporting.charts` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.utils.atomic_file import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALETTE = ("#0072b2", "#954200", "#008662", "#ac7700", "#70435c", "#387597", "#222222")
"""Colors of the series, in order; the first is the main one.

They are those of Okabe and Ito (https://jfly.uni-koeln.de/color), which color-blind readers tell apart.
Yellow is left out, and the others are darkened until each has a contrast of 3 with white.
"""

LINE_STYLES = ("-", "--", ":", "-.")
"""Styles of lines: of the first round of the palette, of the second, and so on."""

FAINT, NEUTRAL = "#a9c6d8", "#999999"
"""Single observations behind a summary; what is shown for comparison only."""

DPI = 150

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def series_style(place: int) -> dict[str, str]:
    """Color and style of a line; no two of the first 28 are equal.

    Args:
        place: of the series, from 0.
    """
    style = LINE_STYLES[place // len(PALETTE) % len(LINE_STYLES)]
    return {"color": PALETTE[place % len(PALETTE)], "linestyle": style}


@contextmanager
def figure_file(path: Path, width: float, height: float) -> Iterator[Figure]:
    """An empty figure to draw on, in the house's style; it is written when the block ends.

    Args:
        path: the file; its ending says the format. It appears whole or not at all.
        width, height: in inches.

    Raises:
        OSError: if the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with atomic_write(path) as partial:
            figure.savefig(partial, dpi=DPI)
