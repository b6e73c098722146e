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

PALETTE = ("#2a6f97", "#d1495b", "#3c7a57", "#c98a1b", "#7a5195", "#5f6b76", "#0f9aa8", "#a05a2c", "#1d3557")
"""Colors of the series, in order; the first is the main one."""

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
