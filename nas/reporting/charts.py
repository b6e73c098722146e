"""Charts as SVG text: points, lines, bars and spans of time, colored by the page's own style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 480, 280, 56, 40, 10


SPAN_COLORS = {"failed": "--bad", "retry": "--bad", "pruned": "--cut", "paused": "--cut"}


LEAST, GREATEST = 1e-12, 1e300


class Chart:
    """Axes that hold given numbers.

    Args:
        x_name, y_name: labels of the axes.
        x, y: all numbers that shall be seen.
    """

    def __init__(self, x_name: str, y_name: str, x: Sequence[float], y: Sequence[float]) -> None:
        self.x_name, self.y_name = x_name, y_name
        self.x0, self.x1 = _range(x)
        self.y0, self.y1 = _range(y)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Gives the position of a point in the SVG's units."""
        across = (x - self.x0) / (self.x1 - self.x0)
        up = (y - self.y0) / (self.y1 - self.y0)
        return (
            LEFT + across * (WIDTH - LEFT - EDGE),
            HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - EDGE),
        )

    def drawn(self, inner: str) -> str:
        """The chart with its axes around what is drawn in it."""
        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
        for value in ticks(self.y0, self.y1):
            y = self.place(self.x0, value)[1]
            parts.append(
                f'<path d="M{LEFT} {y:.1f}H{WIDTH - EDGE}" stroke="var(--line)"/>'
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
            )
        for value in ticks(self.x0, self.x1):
            x = self.place(value, self.y0)[0]
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>'
            )
        parts.append(
            f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle">'
            f"{escape(self.x_name)}</text>"
            f'<text transform="translate(12 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y_name)}</text>"
        )
        return "".join([*parts, inner, "</svg>"])


def scatter(chart: Chart, x: Sequence[float], y: Sequence[float]) -> str:
    """Points, as one path of dots, so that thousands stay small."""
    places = (chart.place(a, b) for a, b in zip(x, y, strict=True))
    path = "".join(f"M{a:.0f} {b:.1f}h0" if len(x) > 2000 else f"M{a:.1f} {b:.1f}h0" for a, b in places)
    width, opacity = (4, 0.8) if len(x) < 500 else (2.5, 0.35)
    return (
        f'<path d="{path}" fill="none" stroke="var(--point)" stroke-width="{width}" '
        f'stroke-linecap="round" opacity="{opacity}"/>'
    )


def lines(chart: Chart, x: Sequence[float], y: Sequence[float]) -> str:
    """A line of steps: level until the next point."""
    path = ""
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        if i and b == y[i - 1] and i + 1 < len(y):
            continue
        across, down = chart.place(a, b)
        path += f"H{across:.1f}V{down:.1f}" if path else f"M{across:.1f} {down:.1f}"
    return f'<path d="{path}" fill="none" stroke="var(--best)" stroke-width="2"/>'


def bars(names: Sequence[str], shares: Sequence[float], limit: float) -> str:
    """Horizontal bars of shares between 0 and 1, and a dashed line at a limit."""
    most = max([*shares, limit, LEAST])
    parts = [f'<svg viewBox="0 0 {WIDTH} {26 * len(names) + 6}" role="img">']
    for i, (name, share) in enumerate(zip(names, shares, strict=True)):
        y, long = 26 * i + 4, share / most * (WIDTH - 250)
        parts.append(
            f'<text x="190" y="{y + 14}" text-anchor="end">{escape(name[:30])}</text>'
            f'<rect x="196" y="{y}" width="{long:.1f}" height="18" fill="var(--point)"/>'
            f'<text x="{200 + long:.1f}" y="{y + 14}">{share:.1%}</text>'
        )
    at = 196 + limit / most * (WIDTH - 250)
    parts.append(
        f'<path d="M{at:.1f} 0V{26 * len(names) + 6}" stroke="var(--best)" stroke-width="2" '
        f'stroke-dasharray="5 4"/></svg>'
    )
    return "".join(parts)


def timeline(
    names: Sequence[str], spans: Sequence[tuple[int, float, float, str]], seconds: float, rows: int = 40
) -> str:
    """When each worker was in a trial.

    Args:
        names: of the workers.
        spans: (worker's index, from, to, how it ended), in seconds.
        seconds: of the whole time.
        rows: most workers shown.
    """
    shown, (name, unit) = min(len(names), rows), time_unit(seconds)
    chart = Chart(name, "", [0, max(seconds, LEAST) / unit], [0, 1])
    height = max(8, min(22, 400 // shown))
    paths: dict[str, str] = {}
    for worker, began, ended, status in spans:
        if worker >= shown:
            continue
        a, b = chart.place(began / unit, 0)[0], chart.place(ended / unit, 0)[0]
        y = (worker + 0.5) * height
        color = SPAN_COLORS.get(status, "--ok")
        paths[color] = paths.get(color, "") + f"M{a:.1f} {y:g}H{max(b - 0.4, a + 0.3):.1f}"
    parts = [f'<svg viewBox="0 0 {WIDTH} {shown * height + BOTTOM}" role="img">']
    parts += [
        f'<path d="{path}" stroke="var({color})" stroke-width="{height * 0.7:.1f}" fill="none"/>'
        for color, path in paths.items()
    ]
    for value in ticks(chart.x0, chart.x1):
        x = chart.place(value, 0)[0]
        parts.append(f'<text x="{x:.1f}" y="{shown * height + 18}" text-anchor="middle">{value:g}</text>')
    more = f"; {len(names) - shown} more workers not shown" if len(names) > shown else ""
    parts.append(
        f'<text x="{WIDTH / 2}" y="{shown * height + 34}" text-anchor="middle">'
        f"{chart.x_name}{more}</text></svg>"
    )
    return "".join(parts)


def time_unit(seconds: float) -> tuple[str, int]:
    """Chooses the unit in which a duration reads best; gives its name and its length in seconds."""
    return ("seconds", 1) if seconds < 120 else ("minutes", 60) if seconds <= 5400 else ("hours", 3600)


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers between two, about so many."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest, apart even where there is but one value."""
    # Beyond these not even differences are numbers.
    low, high = max(min(values), -GREATEST), min(max(values), GREATEST)
    if high - low < LEAST * max(1.0, abs(high)):
        room = abs(high) / 10 or 1.0
        return low - room, high + room
    return low, high
