"""Figures as files: one look, whole files, and nothing changed for other users of matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from nas.reporting.figures import DPI, STYLE, figure_file


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


def test_a_figure_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), figure_file(tmp_path / "figure.png", 4, 3):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
