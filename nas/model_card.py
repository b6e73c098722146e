"""A model card: what a trained winner is, what it cost, how good it is, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas.files import replace_file
from proxy_tasks.models import Model, model_cost, read_model
from search_space import SpineNetSpec, spec_key


def write_card(folder: Path) -> Path:
    """Writes `card.md`, and `spec.svg` beside it, for the best model of a training's folder.

    Raises:
        ModelError: if the folder holds no model file.
        OSError: if it cannot be written.
    """
    model, training = read_model(folder / "best.safetensors")
    drawing = ""
    if isinstance(model.spec, SpineNetSpec):
        from search_space.drawing import draw_spec

        draw_spec(model.spec, folder / "spec.svg", model.name)
        drawing = "![The architecture](spec.svg)\n\n"
    path = folder / "card.md"
    replace_file(path, card(model, training, drawing))
    return path


def card(model: Model, training: dict[str, Any], drawing: str = "") -> str:
    """The card as Markdown."""
    params, macs = model_cost(model)
    figures = training.get("figures", {})
    names = [name for name, value in figures.items() if name not in NOT_FIGURES and value >= 0]
    rows = [
        ("network", model.name),
        ("parameters", f"{params / 1e6:.3f} M"),
        ("multiply-adds", f"{macs / 1e9:.3f} G for one image of {model.canvas} px"),
        ("classes", ", ".join(name for _, name in model.categories[:20]) + _more(len(model.categories) - 20)),
        ("spec from", str(training.get("origin") or "not told")),
        ("trained for", f"{training.get('step', '?')} steps, seed {training.get('seed', '?')}"),
        ("versions", ", ".join(f"{k} {v}" for k, v in training.get("versions", {}).items())),
    ]
    if isinstance(model.spec, SpineNetSpec):
        rows.insert(1, ("key of the spec", spec_key(model.spec)))
    lines = [f"# {model.name}", "", drawing.rstrip(), ""] if drawing else [f"# {model.name}", ""]
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {_cell(value)} |" for name, value in rows), ""]
    lines += ["## Figures on the validation images", ""]
    lines += ["| " + " | ".join(names) + " |", "| --- " * len(names) + "|"]
    lines += ["| " + " | ".join(f"{figures[name]:.4g}" for name in names) + " |", ""]
    lines += ["## Protocol", "", "```yaml", str(training.get("config", "")).rstrip(), "```", ""]
    if isinstance(model.spec, SpineNetSpec):
        spec = json.dumps(json.loads(model.spec.to_json()))
        lines += ["## Spec", "", "```json", spec, "```", ""]
    lines += [
        "Load it with `proxy_tasks.models.load_model`, or: `nas predict MODEL IMAGE ... --out DIR`.",
        "",
    ]
    return "\n".join(lines)


NOT_FIGURES = ("reward", "loss", "params", "macs", "training_seconds")


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
