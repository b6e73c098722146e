"""The winner as a drawing, beside SpineNet-49."""

from __future__ import annotations

import base64
from pathlib import Path
from tempfile import TemporaryDirectory

from markupsafe import Markup

from nas.journal.history import History
from nas.reporting.blocks import Figure, Figures
from nas.reporting.winners import read_winner
from search_space import Drawable


def show_drawings(folder: Path, history: History) -> Figures | None:
    """The winner beside SpineNet-49, where the winner can be drawn."""
    from search_space import published_spec

    spec = read_winner(folder)
    if history.trials.best is None or not isinstance(spec, Drawable):
        return None
    figures = [Figure(title="The winner", picture=_drawing(spec))]
    reference = published_spec("spinenet-49")
    if isinstance(spec, type(reference)):
        figures.append(Figure(title="SpineNet-49", picture=_drawing(reference)))
    return Figures(figures=figures)


def _drawing(spec: Drawable) -> Markup:
    """The drawing as an image, whose ids and styles cannot meet those of the page."""
    with TemporaryDirectory() as made:
        text = spec.draw(Path(made) / "spec.svg").read_bytes()
    source = f"data:image/svg+xml;base64,{base64.b64encode(text).decode()}"
    return Markup('<div class="wide"><img alt="blocks and connections" src="{}"></div>').format(source)
