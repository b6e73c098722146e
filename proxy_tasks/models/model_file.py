"""Model files: tensors by name, and one JSON object that says what to build. Loading one runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from proxy_tasks.models.model import Model, ModelError, build_model
from proxy_tasks.models.settings import head_from_dict, head_to_dict, read_dataclass
from search_space import NormConfig, Scale, SpecError, spec_from_dict
from search_space.utils.atomic_file import atomic_write

MODEL_FORMAT, MODEL_VERSION = "spinenas-model", 1


def save_model(path: Path, model: Model, net: nn.Module, training: Mapping[str, Any]) -> None:
    """Writes a model file; it is never half-written.

    Args:
        path: ends in .safetensors by habit.
        model: what the network is.
        net: built from it.
        training: how it came to be: protocol, data, metrics, versions; whatever JSON holds.

    Raises:
        OSError: if it cannot be written.
    """
    from safetensors.torch import save

    info = json.dumps({"model": model_to_dict(model), "training": dict(training)})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        partial.write_bytes(
            save(tensors, {"format": MODEL_FORMAT, "version": str(MODEL_VERSION), "info": info})
        )


def load_model(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[Model, nn.Module, dict[str, Any]]:
    """Reads a model file: the model, the network in evaluation mode, and how it was trained.

    Raises:
        ModelError: if it is no model file, is of a newer version, or its tensors do not fit its model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model, training = read_model(path)
    net = build_model(model)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    fault = tensor_fault(net, tensors)
    if fault:
        raise ModelError(f"{path}: does not fit its own model: {fault}")
    net.load_state_dict(tensors)
    return model, net.to(device).eval(), training


def load_backbone(net: nn.Module, model: Model, path: Path) -> None:
    """Gives a network the backbone of a model file, whatever head that has.

    Args:
        net: gets the weights.
        model: what the network is.
        path: of the model file.

    Raises:
        ModelError: if it is no model file, or its backbone is another one.
    """
    other, trained, _ = load_model(path)
    for what in ("spec", "convention"):
        if getattr(other, what) != getattr(model, what):
            raise ModelError(f"{path}: its backbone has another {what}")
    head = ("head_filters", "head_convs", "stochastic_depth")  # Of these the backbone's weights know nothing.
    ours, theirs = (
        {name: value for name, value in asdict(m.scale).items() if name not in head} for m in (model, other)
    )
    if ours != theirs:
        names = ", ".join(f"{n} {theirs[n]} instead of {ours[n]}" for n in ours if ours[n] != theirs[n])
        raise ModelError(f"{path}: its backbone has another scale: {names}")
    source: nn.Module = trained.backbone  # type: ignore[assignment]
    target: nn.Module = net.backbone  # type: ignore[assignment]
    target.load_state_dict(source.state_dict())


def read_model(path: str | Path) -> tuple[Model, dict[str, Any]]:
    """Reads the model and how it was trained, without the tensors.

    Raises:
        ModelError: if it is no model file or is of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ModelError(f"{path}: no such file; give a model file (.safetensors)")
    try:
        with safe_open(path, framework="pt") as file:
            head = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: no model file: {error}") from None
    if head.get("format") != MODEL_FORMAT:
        raise ModelError(f"{path}: a safetensors file, but no model of ours; nas train writes them")
    if not head.get("version", "").isdigit() or int(head["version"]) > MODEL_VERSION:
        raise ModelError(
            f"{path} has version {head.get('version')}, this program knows {MODEL_VERSION}; update it"
        )
    try:
        info = json.loads(head["info"])
        return model_from_dict(info["model"]), info["training"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: its description is damaged: {error}") from None


def model_to_dict(model: Model) -> dict[str, Any]:
    """Writes the model as JSON data; `model_from_dict` reads it."""
    return {
        "spec": json.loads(model.spec.to_json()),
        "scale": asdict(model.scale),
        "head": head_to_dict(model.head),
        "categories": [[number, name] for number, name in model.categories],
        "image_size": model.image_size,
        "norm": asdict(model.norm),
        "convention": model.convention,
    }


def model_from_dict(data: Mapping[str, Any]) -> Model:
    """Reads the model of JSON data.

    Raises:
        ModelError: if a part of it is wrong.
        KeyError, TypeError, ValueError: if a part is missing or damaged.
    """
    try:
        spec = spec_from_dict(data["spec"])
    except SpecError as error:
        raise ModelError(f"spec: {error}") from None
    return Model(
        spec=spec,
        scale=read_dataclass(Scale, data["scale"], "scale"),
        head=head_from_dict(data["head"]),
        categories=tuple((int(number), str(name)) for number, name in data["categories"]),
        image_size=data["image_size"],
        norm=read_dataclass(NormConfig, data["norm"], "norm"),
        convention=data["convention"],
    )


def tensor_fault(net: nn.Module, tensors: Mapping[str, torch.Tensor]) -> str:
    """Says why tensors cannot be loaded into a network; "" if they can."""
    wanted = net.state_dict()
    missing, left = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    shapes = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    faults = []
    for what, names in (("missing", missing), ("left over", left), ("of another shape", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            faults.append(f"{what}: {', '.join(names[:3])}{more}")
    return "; ".join(faults)
