"""Figures as files: one look, whole files, and nothing changed for other users of matplotlib."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nas.reporting import charts
from nas.reporting.charts import SERIES
from nas.reporting.figures import DPI, PALETTE, STYLE, figure_file, series_style


def test_a_figure_has_the_houses_look_and_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = {key: mpl.rcParams[key] for key in STYLE}
    with figure_file(tmp_path / "figure.png", 4, 3) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [1, 0])
    assert not axes.spines["top"].get_visible()
    assert axes.spines["left"].get_visible()
    assert {key: mpl.rcParams[key] for key in STYLE} == before != STYLE
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.size == (4 * DPI, 3 * DPI)


STYLESHEET = files("nas.reporting") / "templates" / "report.css"

COLOR_BLIND = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ]
    ),
}
"""How such an eye sees linear RGB (Machado, Oliveira and Fernandes 2009, severity 1)."""


def linear(color: str) -> NDArray[np.float64]:
    part = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    found: NDArray[np.float64] = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return found


def contrast(first: str, second: str) -> float:
    """Of two colors, as WCAG 2 has it."""
    low, high = sorted(float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in (first, second))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* of linear RGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def themes() -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Background, series, and states of trials in figures as files and in pages of both themes."""
    light, dark = STYLESHEET.read_text().split("prefers-color-scheme:dark")
    found: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]
    found = {"file": ("#ffffff", PALETTE, PALETTE[:2])}
    for name, text in (("light", light), ("dark", dark)):
        known = dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})\b", text.split("*{")[0]))
        series = tuple(known[name.removeprefix("--")] for name in SERIES)
        found[name] = (known["panel"], series, tuple(known[state] for state in ("ok", "bad", "cut")))
    return found


@pytest.mark.parametrize("theme", ["file", "light", "dark"])
def test_colors_are_told_apart_by_all_eyes(theme: str) -> None:
    background, series, states = themes()[theme]
    assert min(contrast(color, background) for color in {*series, *states}) >= 3
    for eye, seen in COLOR_BLIND.items():
        for group in (series, states):
            places = [lab(seen @ linear(color)) for color in group]
            nearest = min(float(np.linalg.norm(a - b)) for a, b in combinations(places, 2))
            assert nearest > 14, f"{eye}: two of {group} look alike"


def test_series_beyond_the_palette_have_another_line() -> None:
    for looks in ({str(series_style(i)) for i in range(28)}, {charts.series_style(i) for i in range(28)}):
        assert len(looks) == 28
    assert charts.legend([("--s0", "a"), ("--s0", "b")], ["", "6 3"]).count("repeating-linear-gradient") == 1
    chart = charts.Chart("", "", [0, 1], [0, 1])
    assert 'stroke-dasharray="6 3"' in charts.lines(chart, [0, 1], [0, 1], "--s0", "6 3")


def test_a_figure_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), figure_file(tmp_path / "figure.png", 4, 3):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
