from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_space import Block, DrawingError, SpineNetSpec, StemBlock, load_spinenet_spec, published_spec
from search_space.spinenet.drawing import draw_figure, draw_spec
from tests.search_space.random_specs import random_spec


@pytest.mark.parametrize("name", ["spinenet-49", "r0-sp53", "mobile-spinenet-49"])
@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_published_specs_are_drawn_in_every_format(name: str, suffix: str, tmp_path: Path) -> None:
    path = draw_spec(load_spinenet_spec(name), tmp_path / f"{name}{suffix}", title=name)
    start = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
    if suffix == ".png":
        with Image.open(path) as picture:
            darkest, lightest = picture.convert("L").getextrema()
        assert (darkest, lightest) == (0, 255), "black text on white"
    elif suffix == ".svg":
        groups = [element.get("id", "") for element in ElementTree.parse(path).iter()]
        assert sum(group.startswith("patch_") for group in groups) > len(load_spinenet_spec(name).features)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_same_spec_gives_the_same_svg(tmp_path: Path) -> None:
    a = draw_spec(published_spec("spinenet-49"), tmp_path / "a.svg")
    b = draw_spec(published_spec("spinenet-49"), tmp_path / "b.svg")
    assert a.read_bytes() == b.read_bytes()
    ElementTree.fromstring(a.read_text())


def test_a_drawing_shows_blocks_levels_outputs_edges_and_unused_blocks() -> None:
    axes = draw_figure(published_spec("spinenet-49"), "title").axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert {str(i) for i in range(17)} <= set(texts)
    assert {"L2", "L3", "L4", "L5", "L6", "L7", "P3", "P4", "P5", "P6", "P7", "1/128"} <= set(texts)
    kinds = [type(patch).__name__ for patch in axes.patches]
    assert kinds.count("Polygon") == 17
    assert kinds.count("FancyArrowPatch") == 1 + 2 * 15 + 1
    dashed = [p for p in axes.patches if type(p).__name__ == "FancyArrowPatch" and p.get_linestyle() != "-"]
    assert len(dashed) == 1


@pytest.mark.parametrize("letters", [10, 120, 1000])
def test_a_long_title_stays_inside_the_drawing(letters: int) -> None:
    figure = draw_figure(published_spec("spinenet-49"), "e" * letters)
    text = figure.axes[0].title
    place = text.get_window_extent()
    assert 0 <= place.x0 < place.x1 <= figure.bbox.width
    assert float(text.get_fontsize()) >= 5
    assert text.get_text().endswith("...") == (letters == 1000)


def test_dead_blocks_are_named_in_the_legend() -> None:
    dead = SpineNetSpec(
        (StemBlock(2), StemBlock(2)),
        (Block(4, "residual", (0, 1)), Block(4, "bottleneck", (0, 1), output=True)),
    )
    legend = draw_figure(dead).axes[0].get_legend()
    assert legend is not None
    assert any(re.search("dead", text.get_text()) for text in legend.get_texts())


def test_any_spec_can_be_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(10):
        spec = random_spec(rng, mobile=i % 3 == 0)
        svg = draw_spec(spec, tmp_path / f"{i}.svg").read_text()
        ElementTree.fromstring(svg)
        # matplotlib draws letters as paths, and names each text in a comment.
        assert all(f"<!-- {feature} -->" in svg for feature in range(len(spec.features)))
        assert all(f"<!-- P{level} -->" in svg for level in spec.output_levels)


@pytest.mark.parametrize("name", ["x.gif", "x", "svg"])
def test_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match=r"\.svg, \.png, \.pdf"):
        draw_spec(published_spec("spinenet-49"), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_absent_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"absent/x\.svg"):
        draw_spec(published_spec("spinenet-49"), tmp_path / "absent" / "x.svg")
    (tmp_path / "taken.svg").mkdir()
    with pytest.raises(OSError, match=r"taken\.svg"):
        draw_spec(published_spec("spinenet-49"), tmp_path / "taken.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.svg"]


def test_a_notebook_shows_the_drawing(tmp_path: Path) -> None:
    spec = published_spec("r0-sp53")
    assert spec._repr_svg_() == draw_spec(spec, tmp_path / "spec.svg").read_text()
