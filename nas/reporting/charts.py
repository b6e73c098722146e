"""Charts as SVG text: points, lines, areas, bars and spans of time, colored by the page's own style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, BOTTOM, TOP = 400, 250, 42, 12
"""The SVG's units: small, so that text stays legible where a telephone shows the chart 340 pixels wide."""

LETTER = 7.0
"""Width of a digit, at most."""

EDGE = 6.0
"""Between the outermost points and the edges of the plot, so that no point is cut or meets an axis."""

NAME = 20
"""Room for the name of the y axis, left of its numbers."""

SPAN_COLORS = {"failed": "--bad", "retry": "--bad", "pruned": "--cut", "paused": "--cut"}


Bar = tuple[float, float, str]
"""From, to and color of a bar."""

MOST_BARS = 120
"""Of more trials of a worker, stripes are shown instead of each."""

IDLE = ""
"""The color of no trial."""

SERIES = tuple(f"--s{i}" for i in range(7))
"""Colors of the page's style for series, in order; they are those of `nas.reporting.figures`."""

DASHES = ("", "6 3", "2 2", "6 2 2 2")
"""Strokes and gaps of lines: of the first round of these colors, of the second, and so on."""

ROOM = 56
"""Width of a percentage behind its bar, with the space before it."""

LEAST, GREATEST = 1e-12, 1e300


class Chart:
    """Axes that hold given numbers.

    Args:
        x_name, y_name: labels of the axes; "" for none.
        x, y: all numbers that shall be seen.
        whole: whether x counts something, so that its axis has whole numbers only.
    """

    def __init__(
        self, x_name: str, y_name: str, x: Sequence[float], y: Sequence[float], whole: bool = False
    ) -> None:
        self.x_name, self.y_name = x_name, y_name
        self.x0, self.x1 = _range(x)
        self.y0, self.y1 = _range(y)
        self.x_ticks = ticks(self.x0, self.x1, 5, whole)
        self.y_ticks = ticks(self.y0, self.y1)
        self.x_labels, self.y_labels = tick_labels(self.x_ticks), tick_labels(self.y_ticks)
        longest = max(map(len, self.y_labels), default=0)
        self.left = (NAME if y_name else 4) + LETTER * longest + 6
        # Half of the last number stands right of its tick.
        self.right = WIDTH - max(8.0, LETTER * max(map(len, self.x_labels), default=0) / 2)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Gives the position of a point in the SVG's units."""
        across = (x - self.x0) / (self.x1 - self.x0)
        up = (y - self.y0) / (self.y1 - self.y0)
        return (
            self.left + EDGE + across * (self.right - self.left - 2 * EDGE),
            HEIGHT - BOTTOM - EDGE - up * (HEIGHT - BOTTOM - TOP - 2 * EDGE),
        )

    def drawn(self, inner: str) -> str:
        """The chart with its axes around what is drawn in it."""
        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
        for value, label in zip(self.y_ticks, self.y_labels, strict=True):
            y = self.place(self.x0, value)[1]
            parts.append(
                f'<path d="M{self.left:.1f} {y:.1f}H{self.right:.1f}" stroke="var(--line)"/>'
                f'<text x="{self.left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
            )
        for value, label in zip(self.x_ticks, self.x_labels, strict=True):
            x = self.place(value, self.y0)[0]
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{label}</text>')
        parts.append(
            f'<text x="{(self.left + self.right) / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
            f"{escape(self.x_name)}</text>"
            f'<text transform="translate(13 {(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y_name)}</text>'
        )
        return "".join([*parts, inner, "</svg>"])


def scatter(chart: Chart, x: Sequence[float], y: Sequence[float], color: str = "--point") -> str:
    """Points, as one path of dots, so that thousands stay small."""
    places = (chart.place(a, b) for a, b in zip(x, y, strict=True))
    path = "".join(f"M{a:.0f} {b:.1f}h0" if len(x) > 2000 else f"M{a:.1f} {b:.1f}h0" for a, b in places)
    width, opacity = (6, 0.85) if len(x) < 60 else (4, 0.8) if len(x) < 500 else (2.5, 0.35)
    return (
        f'<path d="{path}" fill="none" stroke="var({color})" stroke-width="{width}" '
        f'stroke-linecap="round" opacity="{opacity}"/>'
    )


def series_style(place: int) -> tuple[str, str]:
    """Color and dashes of a series by its place from 0; no two of the first 28 are equal."""
    return SERIES[place % len(SERIES)], DASHES[place // len(SERIES) % len(DASHES)]


def lines(
    chart: Chart, x: Sequence[float], y: Sequence[float], color: str = "--best", dashes: str = ""
) -> str:
    """A line of steps: level until the next point; see `DASHES`."""
    path = ""
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        if i and b == y[i - 1] and i + 1 < len(y):
            continue
        across, down = chart.place(a, b)
        path += f"H{across:.1f}V{down:.1f}" if path else f"M{across:.1f} {down:.1f}"
    broken = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{path}" fill="none" stroke="var({color})" stroke-width="2"{broken}/>'


def polylines(
    chart: Chart, curves: Sequence[Sequence[tuple[float, float]]], color: str, width: float, opacity: float
) -> str:
    """Lines from point to point, as one path."""
    path = ""
    for points in curves:
        places = (chart.place(x, y) for x, y in points)
        path += "M" + "L".join(f"{across:.1f} {down:.1f}" for across, down in places)
    return (
        f'<path d="{path}" fill="none" stroke="var({color})" stroke-width="{width:g}" '
        f'stroke-linejoin="round" opacity="{opacity:g}"/>'
    )


def area(chart: Chart, x: Sequence[float], low: Sequence[float], high: Sequence[float], color: str) -> str:
    """What lies between two lines of steps."""
    forth = _step_places(chart, x, high)
    back = _step_places(chart, x, low)[::-1]
    path = "L".join(f"{across:.1f} {down:.1f}" for across, down in [*forth, *back])
    return f'<path d="M{path}Z" fill="var({color})" opacity="0.18"/>'


def _step_places(chart: Chart, x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    places: list[tuple[float, float]] = []
    for a, b in zip(x, y, strict=True):
        across, down = chart.place(a, b)
        if places:
            places.append((across, places[-1][1]))
        places.append((across, down))
    return places


def legend(entries: Sequence[tuple[str, str]], dashes: Sequence[str] = ()) -> str:
    """What colors mean, as a line of HTML below a chart.

    Args:
        entries: (color, such as "--best"; what it means, plain text).
        dashes: of the line of each entry, see `DASHES`; left out where all lines are whole.
    """
    styles = dashes or [""] * len(entries)
    items = "".join(
        f'<span><i style="{_swatch(color, style)}"></i>{escape(what)}</span>'
        for (color, what), style in zip(entries, styles, strict=True)
    )
    return f'<p class="legend">{items}</p>'


def _swatch(color: str, dashes: str) -> str:
    """The style of a legend's mark: a square of the color, or a dashed piece of the line."""
    if not dashes:
        return f"background:var({color})"
    stops, at = [], 0
    for i, length in enumerate(map(int, dashes.split())):
        stops.append(f"{'transparent' if i % 2 else f'var({color})'} {at}px {at + length}px")
        at += length
    return f"width:1.8em;background:repeating-linear-gradient(90deg,{','.join(stops)})"


def bars(names: Sequence[str], shares: Sequence[float], limit: float) -> str:
    """Horizontal bars of shares between 0 and 1, each below its name, with a dashed mark at a limit."""
    most, row, long = max([*shares, limit, LEAST]), 34, WIDTH - 64
    parts = [f'<svg viewBox="0 0 {WIDTH} {row * len(names) + 2}" role="img">']
    for i, (name, share) in enumerate(zip(names, shares, strict=True)):
        y, width = row * i, share / most * long
        # The mark must not stand in the text.
        text = 8 + max(width, limit / most * long if width + ROOM > limit / most * long else 0)
        parts.append(
            f'<text x="2" y="{y + 13}">{escape(name[:50])}</text>'
            f'<rect x="2" y="{y + 18}" width="{max(width, 0.5):.1f}" height="12" fill="var(--point)"/>'
            f'<text x="{text:.1f}" y="{y + 28}">{share:.1%}</text>'
        )
    at = 2 + limit / most * long
    marks = "".join(f"M{at:.1f} {row * i + 16}v16" for i in range(len(names)))
    parts.append(f'<path d="{marks}" stroke="var(--best)" stroke-width="2" stroke-dasharray="4 2"/></svg>')
    return "".join(parts)


def dot_rows(
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    intervals: Sequence[tuple[float, float] | None],
    x_name: str,
) -> str:
    """A row of dots below each name, with a bar for an interval and a stroke for the mean.

    Args:
        names: of the rows.
        values: of each row; at least one.
        intervals: of each row's mean; None for none.
        x_name: label of the axis.
    """
    ends = [end for interval in intervals if interval is not None for end in interval]
    chart = Chart(x_name, "", [*(value for row in values for value in row), *ends], [0, 1])
    row_height, left, right = 42, 24, 24
    bottom = row_height * len(names) + 6

    def across(value: float) -> float:
        return left + (value - chart.x0) / (chart.x1 - chart.x0) * (WIDTH - left - right)

    parts = [f'<svg viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img">']
    places = ticks(chart.x0, chart.x1, 4)
    for value, label in zip(places, tick_labels(places), strict=True):
        x = across(value)
        parts.append(
            f'<path d="M{x:.1f} 0V{bottom}" stroke="var(--line)"/>'
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>'
        )
    for i, (name, row, interval) in enumerate(zip(names, values, intervals, strict=True)):
        y = row_height * i + 30
        parts.append(f'<text x="2" y="{y - 15}">{escape(name[:60])}</text>')
        if interval is not None:
            parts.append(
                f'<path d="M{across(interval[0]):.1f} {y}H{across(interval[1]):.1f}" '
                'stroke="var(--best)" stroke-width="2"/>'
            )
        dots = "".join(f"M{across(value):.1f} {y}h0" for value in row)
        parts.append(
            f'<path d="{dots}" fill="none" stroke="var(--point)" stroke-width="7" '
            'stroke-linecap="round" opacity="0.7"/>'
        )
        mean = across(sum(row) / len(row))
        parts.append(f'<path d="M{mean:.1f} {y - 9}V{y + 9}" stroke="var(--best)" stroke-width="2"/>')
    parts.append(
        f'<text x="{WIDTH / 2}" y="{bottom + 34}" text-anchor="middle">{escape(x_name)}</text></svg>'
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
    chart.left = 8.0
    height = max(8, min(22, 400 // shown))
    bars: list[list[Bar]] = [[] for _ in range(shown)]
    for worker, began, ended, status in spans:
        if worker < shown:
            a, b = chart.place(began / unit, 0)[0], chart.place(ended / unit, 0)[0]
            bars[worker].append((a, b, SPAN_COLORS.get(status, "--ok")))
    paths: dict[str, str] = {}
    for worker, drawn in enumerate(bars):
        y, is_dense = (worker + 0.5) * height, len(drawn) > MOST_BARS
        for a, b, color in _stripes(drawn, chart.left, chart.right) if is_dense else drawn:
            end = b if is_dense else max(b - 0.4, a + 0.3)
            paths[color] = paths.get(color, "") + f"M{a:.1f} {y:g}H{end:.1f}"
    parts = [f'<svg viewBox="0 0 {WIDTH} {shown * height + BOTTOM}" role="img">']
    parts += [
        f'<path d="{path}" stroke="var({color})" stroke-width="{height * 0.7:.1f}" fill="none"/>'
        for color, path in paths.items()
    ]
    for value in chart.x_ticks:
        x = chart.place(value, 0)[0]
        parts.append(f'<text x="{x:.1f}" y="{shown * height + 17}" text-anchor="middle">{value:g}</text>')
    more = f"; {len(names) - shown} more workers not shown" if len(names) > shown else ""
    parts.append(
        f'<text x="{WIDTH / 2}" y="{shown * height + 36}" text-anchor="middle">'
        f"{chart.x_name}{more}</text></svg>"
    )
    meanings = (("--ok", "scored"), ("--cut", "pruned or paused"), ("--bad", "failed"))
    return "".join(parts) + legend([entry for entry in meanings if entry[0] in paths])


def _stripes(bars: Sequence[Bar], left: float, right: float) -> list[Bar]:
    """Gives bars that are too many to be seen as stripes of at least one unit.

    Each unit takes the color that is furthest behind its share of the time so far. So every color has its
    share of the width. A color's first stripe is where it first is, however short its bars are: a failure of
    a second is seen too.
    """
    shares: list[dict[str, float]] = [{} for _ in range(math.ceil(right - left))]
    for a, b, color in bars:
        first = min(max(0, int(a - left)), len(shares) - 1)
        for column in range(first, min(len(shares), max(first + 1, math.ceil(b - left)))):
            part = min(b - left, column + 1) - max(a - left, column)
            shares[column][color] = shares[column].get(color, 0.0) + max(0.0, part)
    behind: dict[str, float] = {}
    seen = {IDLE}
    stripes: list[Bar] = []
    for column, found in enumerate(shares):
        for color, share in {**found, IDLE: max(0.0, 1 - sum(found.values()))}.items():
            behind[color] = behind.get(color, 0.0) + share
        unseen = [color for color in behind if color not in seen]
        chosen = max(unseen or behind, key=lambda color: behind[color])
        seen.add(chosen)
        behind[chosen] -= 1
        begin, last = left + column, stripes[-1] if stripes else None
        if last is not None and last[2] == chosen and last[1] == begin:
            stripes[-1] = (last[0], begin + 1, chosen)
        elif chosen != IDLE:
            stripes.append((begin, begin + 1, chosen))
    return stripes


def time_unit(seconds: float) -> tuple[str, int]:
    """Chooses the unit in which a duration reads best; gives its name and its length in seconds."""
    return ("seconds", 1) if seconds < 120 else ("minutes", 60) if seconds <= 5400 else ("hours", 3600)


def tick_labels(values: Sequence[float]) -> list[str]:
    """Gives the numbers of ticks with six digits, or as many more as tell them apart."""
    for digits in range(6, 17):
        found = [f"{value:.{digits}g}" for value in values]
        if len(set(found)) == len(found):
            break
    return found


def ticks(low: float, high: float, count: int = 6, whole: bool = False) -> list[float]:
    """Gives about `count` round numbers between two; only whole ones, if that is wanted."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    if whole:
        step = max(step, 1)
    first = math.ceil(low / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step)))  # A step has one digit.
    return [round(i * step, digits) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest, apart even where there is but one value."""
    # Beyond these not even differences are numbers.
    low, high = max(min(values), -GREATEST), min(max(values), GREATEST)
    if high - low < LEAST * max(1.0, abs(high)):
        room = abs(high) / 10 or 1.0
        return low - room, high + room
    return low, high
