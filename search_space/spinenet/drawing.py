"""Drawing a spec in the manner of the paper's figure 4: build order to the right, coarser levels up.

Rectangles are bottlenecks, diamonds residual blocks, hexagons MBConv blocks; a red border marks an output.
The color of an edge shows its resampling. A dashed edge adds an unused block to an output. Dead blocks are
drawn in outline.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.spec import DrawingError
from search_space.spinenet.spec import Block, SpineNetSpec, StemBlock
from search_space.spinenet.wiring import wire
from search_space.utils.atomic_file import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch


Point = tuple[float, float]


SUFFIXES = (".svg", ".png", ".pdf")


PNG_DPI = 300


# Colors that color-blind readers and grey prints keep distinct (Okabe and Ito).
_STEM, _PERMUTED, _DEAD = "#8fd0b5", "#a9cdea", "#ffffff"


_DOWN, _UP, _SAME, _JOIN, _OUTPUT = "#0072b2", "#d55e00", "#8a8a8a", "#a3358a", "#c1121f"


_HALF_WIDTH, _HALF_HEIGHT = 0.30, 0.27


_TITLE_WIDTH, _SMALLEST_TITLE = 0.98, 5.0
"""Largest part of the drawing's width that a title takes; size of its smallest letters, in points."""


def draw_spec(spec: SpineNetSpec, path: str | Path, title: str = "") -> Path:
    """Draws a spec into a file and returns its path. The same spec gives the same SVG, byte by byte.

    Args:
        spec: what to draw.
        path: a file ending in .svg, .png or .pdf; it is written as a whole or not at all.
        title: printed above the drawing.

    Raises:
        DrawingError: if the file has another ending.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise DrawingError(f"{path}: a drawing's name ends in {', '.join(SUFFIXES)}")
    picture = _picture(spec, kind, title)
    with atomic_write(path) as partial:
        partial.write_bytes(picture)
    return path


def draw_svg(spec: SpineNetSpec, title: str = "") -> str:
    """Draws a spec as SVG text, which notebooks show."""
    return _picture(spec, ".svg", title).decode()


@lru_cache(maxsize=8)  # A search draws its winner again when more is known of it, and its report again.
def _picture(spec: SpineNetSpec, kind: str, title: str) -> bytes:
    import matplotlib

    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
    picture = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "spec", "font.family": "DejaVu Sans"}):
        draw_figure(spec, title).savefig(picture, format=kind[1:], dpi=PNG_DPI, metadata=undated)
    return picture.getvalue()


def draw_figure(spec: SpineNetSpec, title: str = "") -> Figure:
    """Draws a spec as a matplotlib figure, in the size of a paper's full text width."""
    from matplotlib.figure import Figure

    wiring, features = wire(spec), spec.features
    dead = set(range(len(features))) - set(wiring.live)
    levels = [block.level for block in features]
    low, high = min(levels), max(levels)
    figure = Figure(figsize=(max(4.0, 0.9 + 0.36 * len(features)), 1.35 + 0.42 * (high - low + 1)))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    _draw_grid(axes, len(features), len(spec.stem), low, high)
    for index in range(1, len(spec.stem)):
        _draw_edge(axes, (index - 1, levels[index - 1]), (index, levels[index]), "#222222", faint=False)
    for index, block in enumerate(spec.blocks, start=len(spec.stem)):
        for parent in block.parents:
            steps = block.level - levels[parent]
            color = _DOWN if steps > 0 else _UP if steps < 0 else _SAME
            _draw_edge(axes, (parent, levels[parent]), (index, block.level), color, faint=index in dead)
        for source in wiring.joins[index - len(spec.stem)]:
            _draw_edge(axes, (source, levels[source]), (index, block.level), _JOIN, faint=False, dashed=True)
    for index, feature in enumerate(features):
        _draw_block(axes, index, feature, dead=index in dead)
    _draw_legend(axes, spec, any(wiring.joins), bool(dead))
    if title:
        _draw_title(axes, title)
    return figure


def _draw_title(axes: Axes, title: str) -> None:
    """Writes a title in one line: a long one in smaller letters, a very long one without its end."""
    text = axes.set_title(title, fontsize=9, fontweight="bold", y=1.0, pad=-14, parse_math=False)
    part = text.get_window_extent().width / axes.bbox.width
    if part > _TITLE_WIDTH:
        text.set_fontsize(max(_SMALLEST_TITLE, 9 * _TITLE_WIDTH / part))
        part = text.get_window_extent().width / axes.bbox.width
    while part > _TITLE_WIDTH:
        title = title[: int(len(title) * _TITLE_WIDTH / part) - 1]
        text.set_text(f"{title}...")
        part = text.get_window_extent().width / axes.bbox.width


def _draw_grid(axes: Axes, count: int, stem_size: int, low: int, high: int) -> None:
    axes.set_xlim(-1.35, count + 0.05)
    axes.set_ylim(low - 1.75, high + 1.0)
    axes.axis("off")
    for level in range(low, high + 1):
        axes.plot([-0.6, count - 0.4], [level, level], color="#e6e6e6", linewidth=0.6, zorder=0)
        axes.text(-0.95, level + 0.06, f"L{level}", fontsize=8, va="bottom", ha="center")
        axes.text(-0.95, level - 0.04, f"1/{2**level}", fontsize=5.5, va="top", ha="center", color="#777777")
    axes.plot([stem_size - 0.5] * 2, [low - 0.6, high + 0.5], color="#bbbbbb", linewidth=0.7, linestyle=":")
    axes.text((stem_size - 1) / 2, low - 0.85, "stem", fontsize=6.5, ha="center", color="#555555")
    axes.text(
        stem_size - 0.3, low - 0.85, "scale-permuted, in build order \u2192", fontsize=6.5, color="#555555"
    )


def _draw_edge(
    axes: Axes,
    start: Point,
    end: Point,
    color: str,
    *,
    faint: bool,
    dashed: bool = False,
) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    points = _level_curve(start, end, dashed) if start[1] == end[1] else _climbing_curve(start, end)
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]),
            arrowstyle="-|>,head_length=2.2,head_width=1.1",
            color=color,
            linewidth=1.3 if dashed else 0.9,
            linestyle=(0, (3, 1.6)) if dashed else "-",
            alpha=0.25 if faint else 0.9,
            shrinkA=0,
            shrinkB=0,
            zorder=3 if dashed else 1,
        )
    )


def _level_curve(start: Point, end: Point, below: bool) -> list[Point]:
    """Returns a curve from side to side around the blocks between; direct edges go below, others above."""
    (x0, y), (x1, _) = (start[0] + _HALF_WIDTH, start[1]), (end[0] - _HALF_WIDTH, end[1])
    bow = 0.0 if x1 - x0 < 0.6 else (0.55 + 0.04 * (x1 - x0)) * (-1 if below else 1)
    reach = 0.5 * (x1 - x0)
    return [(x0, y), (x0 + reach, y + bow), (x1 - reach, y + bow), (x1, y)]


def _climbing_curve(start: Point, end: Point) -> list[Point]:
    """Returns a curve from the parent's top or bottom into the child's side, which avoids neighbors."""
    direction = 1 if end[1] > start[1] else -1
    (x0, y0), (x1, y1) = (start[0], start[1] + direction * _HALF_HEIGHT), (end[0] - _HALF_WIDTH, end[1])
    dx, dy = x1 - x0, y1 - y0
    return [(x0, y0), (x0 + 0.12 * dx, y0 + 0.55 * dy), (x1 - min(1.0, 0.6 * dx), y1 - 0.22 * dy), (x1, y1)]


def _draw_block(axes: Axes, index: int, block: StemBlock | Block, *, dead: bool) -> None:
    output = isinstance(block, Block) and block.output
    fill = _DEAD if dead else _PERMUTED if isinstance(block, Block) else _STEM
    axes.add_patch(
        _shape(
            block.kind,
            (index, block.level),
            facecolor=fill,
            edgecolor=_OUTPUT if output else "#999999" if dead else "#333333",
            linewidth=1.8 if output else 0.8,
            linestyle=":" if dead else "-",
        )
    )
    axes.text(index, block.level, str(index), fontsize=6.5, ha="center", va="center_baseline", zorder=5)
    if output:
        right_of = index + _HALF_WIDTH + (0.14 if block.kind == "residual" else 0.08)
        label = axes.text(right_of, block.level, f"P{block.level}", fontsize=6.5, va="center", zorder=6)
        label.set(color=_OUTPUT, fontweight="bold")
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})  # Connections may cross it.


def _shape(kind: str, center: Point, **style: Any) -> Patch:
    from matplotlib.patches import Polygon

    x, y = center
    w, h = _HALF_WIDTH, _HALF_HEIGHT
    outline: Iterable[Point]
    if kind == "residual":
        w, h = w + 0.06, h + 0.09
        outline = ((x - w, y), (x, y + h), (x + w, y), (x, y - h))
    elif kind == "mbconv":
        outline = (
            (x - w, y),
            (x - w / 2, y + h),
            (x + w / 2, y + h),
            (x + w, y),
            (x + w / 2, y - h),
            (x - w / 2, y - h),
        )
    else:
        outline = ((x - w, y - h), (x - w, y + h), (x + w, y + h), (x + w, y - h))
    return Polygon(list(outline), closed=True, zorder=4, **style)


def _draw_legend(axes: Axes, spec: SpineNetSpec, has_joins: bool, has_dead: bool) -> None:
    from matplotlib.lines import Line2D

    markers = {"bottleneck": "s", "residual": "D", "mbconv": "h"}
    kinds = sorted({block.kind for block in spec.features})
    entries = [
        Line2D([], [], linestyle="", marker=markers[k], color=_PERMUTED, markeredgecolor="#333333", label=k)
        for k in kinds
    ]
    entries += [
        Line2D(
            [],
            [],
            linestyle="",
            marker="s",
            color=_PERMUTED,
            markeredgecolor=_OUTPUT,
            markeredgewidth=1.6,
            label="output",
        ),
        Line2D([], [], color=_DOWN, linewidth=1.2, label="downsampled"),
        Line2D([], [], color=_SAME, linewidth=1.2, label="same level"),
        Line2D([], [], color=_UP, linewidth=1.2, label="upsampled"),
    ]
    if has_joins:
        entries.append(
            Line2D([], [], color=_JOIN, linewidth=1.4, linestyle=(0, (3, 1.6)), label="unused, added")
        )
    if has_dead:
        entries.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker="s",
                color=_DEAD,
                markeredgecolor="#999999",
                label="dead, not built",
            )
        )
    axes.legend(
        handles=entries,
        loc="lower center",
        ncols=len(entries),
        fontsize=6,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.1,
        handletextpad=0.4,
        bbox_to_anchor=(0.5, -0.005),
    )
