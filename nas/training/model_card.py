"""A model card: what a trained winner is, what it cost, how good it is, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas.utils.files import replace_file
from nas.utils.run_files import best_model, model_card
from nas.utils.templates import render
from proxy_tasks.metrics import is_measured
from proxy_tasks.models.model import Model, model_cost
from proxy_tasks.models.model_file import read_model
from search_space import Drawable
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_number

NO_METRICS = ("reward", "loss", "params", "macs", "training_seconds")
"""Numbers of a training that the table of metrics leaves out."""

SHOWN_CLASSES = 20


def write_card(folder: Path) -> Path:
    """Writes `card.md`, and `spec.svg` beside it, for the best model of a training's folder.

    Raises:
        ModelError: if the folder holds no model file.
        OSError: if a file cannot be written.
    """
    model, training = read_model(best_model(folder))
    drawing = ""
    if isinstance(model.spec, Drawable):
        drawing = model.spec.draw(folder / "spec.svg", model.name).name
    path = model_card(folder)
    replace_file(path, card(model, training, drawing))
    return path


def card(model: Model, training: dict[str, Any], drawing: str = "") -> str:
    """The card as Markdown.

    Args:
        model: what the network is built from.
        training: what its file tells about the training.
        drawing: name of a picture beside the card; "" for none.
    """
    metrics = [
        (name, f"{value:.4g}")
        for name, value in training.get("metrics", {}).items()
        if name not in NO_METRICS and is_number(value) and is_measured(name, value)
    ]
    return render(
        "nas.training",
        "model_card.md.j2",
        title=model.name,
        drawing=drawing,
        facts=[(name, _cell(value)) for name, value in _facts(model, training)],
        metrics=metrics,
        config=str(training.get("config", "")).rstrip(),
        spec=to_json(json.loads(model.spec.to_json())),
    )


def _facts(model: Model, training: dict[str, Any]) -> list[tuple[str, str]]:
    params, macs = model_cost(model)
    versions = ", ".join(f"{name} {version}" for name, version in training.get("versions", {}).items())
    return [
        ("network", model.name),
        ("key of the spec", model.spec.key()),
        ("parameters", f"{params / 1e6:.3f} M"),
        ("multiply-adds", f"{macs / 1e9:.3f} G for one image of {model.image_size} px"),
        ("classes", _listed([name for _, name in model.categories])),
        ("spec from", str(training.get("origin") or "unknown")),
        ("trained for", f"{training.get('step', '?')} steps, seed {training.get('seed', '?')}"),
        ("versions", versions),
    ]


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN_CLASSES
    return ", ".join(names[:SHOWN_CLASSES]) + (f" and {more} more" if more > 0 else "")


def _cell(text: str) -> str:
    """The text on one line, without a bar that would end the cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())
