"""Model files: tensors by name, and one JSON object that says what to build. Loading one runs no code.

What a file's description asks for is held against the sizes of its tensors before a network is built: a few
hundred bytes may ask for any number of layers.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from proxy_tasks.models.model import Model, ModelError, build_model
from proxy_tasks.models.settings import head_from_dict, head_to_dict, read_dataclass
from search_space import HEADS, NormConfig, Scale, SpecError, spec_from_dict
from search_space.utils.atomic_file import atomic_write
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import reading, shown
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_number

MODEL_FORMAT, MODEL_VERSION = "spinenas-model", 1

FEW_CATEGORIES = 10_000
"""So many categories cost nothing to look at; a backbone alone has them without an output for each."""


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

    info = to_json({"model": model_to_dict(model), "training": dict(training)})
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
        ModelError: if it is no model file, is of a newer version, or its tensors do not fit its model or are
            not finite.
    """
    from safetensors.torch import load_file

    model, training = read_model(path)
    with reading(ModelError, f"{path}: cannot be loaded: "):
        net, tensors = build_model(model), load_file(path)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise ValueError(f"{name} is not finite; the training has diverged, or the file is damaged")
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
    check_backbone(model, other, path)
    source: nn.Module = trained.backbone  # type: ignore[assignment]
    target: nn.Module = net.backbone  # type: ignore[assignment]
    target.load_state_dict(source.state_dict())


def check_backbone(model: Model, other: Model, path: Path) -> None:
    """Checks that two models have the same backbone, whatever their heads are.

    Args:
        model: that wants the weights.
        other: that has them.
        path: its file.

    Raises:
        ModelError: if the backbones differ; it says in what.
    """
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


def read_model(path: str | Path) -> tuple[Model, dict[str, Any]]:
    """Reads the model and how it was trained, without the tensors.

    Raises:
        ModelError: if it is no model file or is of a newer version, or its tensors do not fit its model.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        raise ModelError(f"{path}: no such file; give a model file (.safetensors)")
    with reading(ModelError, f"{path}: no model file: "), safe_open(path, framework="pt") as file:
        head = file.metadata() or {}
        shapes = {name: torch.Size(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if head.get("format") != MODEL_FORMAT:
        raise ModelError(f"{path}: a safetensors file, but no model of ours; nas train writes them")
    version = head.get("version", "")
    if version != str(MODEL_VERSION):
        if version.isdecimal() and len(version) < 10 and int(version) > MODEL_VERSION:
            raise ModelError(f"{path} has version {version}, this program knows {MODEL_VERSION}; update it")
        raise ModelError(f"{path}: its description is damaged: the version is {shown(version)}")
    with reading(_damage_in(path)):
        info = parse_json(head["info"])
        _check_categories(info["model"]["categories"], shapes)
        model, training = model_from_dict(info["model"]), check_training(info["training"])
        fault = size_fault(model, shapes)
    if fault:
        raise ModelError(f"{path}: does not fit its own model: {fault}")
    return model, training


def _damage_in(path: str | Path) -> Callable[[str], ModelError]:
    return lambda message: ModelError(f"{path}: its description is damaged: {message}")


def _check_categories(categories: Any, shapes: Mapping[str, torch.Size]) -> None:
    """Checks the number of categories before each of them is looked at.

    Raises:
        ModelError: if there are more than outputs of any layer could be.
    """
    most = max([FEW_CATEGORIES, *(side for shape in shapes.values() for side in shape)])
    if len(categories) > most:
        raise ModelError(
            f"{len(categories)} categories, but no tensor is longer than {most} in any direction"
        )


def size_fault(model: Model, shapes: Mapping[str, torch.Size]) -> str:
    """Says why tensors of these sizes cannot be a model's, without building it in memory; "" if they can.

    The network is built of sizes alone, which takes no memory for its tensors, and no longer than the file
    has tensors for it.

    Args:
        model: what the network is.
        shapes: of the tensors, by name.
    """
    most = 2 * len(shapes) + 100  # Some parts are made and replaced while a network is built.
    try:
        with _limited_parameters(most), torch.device("meta"):
            return tensor_fault(build_model(model), shapes)
    except _TooManyError:
        return f"it describes more layers than its {len(shapes)} tensors can be"
    except Exception:
        if HEADS.get(model.head.name) is type(model.head):
            raise
        return ""  # A head of a user's own may compute with values while it is built.


class _TooManyError(Exception):
    """A network has more parameters than it may have."""


@contextlib.contextmanager
def _limited_parameters(most: int) -> Iterator[None]:
    """Stops the building of a network that has more parameter tensors than that."""
    count = 0

    def hook(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += 1
        if count > most:
            raise _TooManyError

    handle = register_module_parameter_registration_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def check_training(data: Any) -> dict[str, Any]:
    """Returns what a file says about the training of its model, if it is of the types that we write.

    Raises:
        ModelError: if not.
    """
    if not isinstance(data, Mapping):
        raise ModelError(f"training: a mapping is needed, not {shown(data)}")
    for name, value in data.items():
        if name in _TRAINING and not _TRAINING[name](value):
            raise ModelError(f"training: {shown(name)} cannot be {shown(value)}")
    return dict(data)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_metric(value: object) -> bool:
    """A metric may be null or not finite."""
    return value is None or isinstance(value, float) or is_number(value)


_TRAINING: Mapping[str, Callable[[Any], bool]] = {
    "config": _is_text,
    "origin": _is_text,
    "step": is_number,
    "seed": is_number,
    "metrics": lambda value: isinstance(value, Mapping) and all(map(_is_metric, value.values())),
    "versions": lambda value: isinstance(value, Mapping) and all(map(_is_text, value.values())),
}
"""What the model card shows of a training, and how each must be."""


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
        ModelError: if a part of it is missing or wrong.
    """
    with reading(ModelError):
        try:
            spec = spec_from_dict(data["spec"])
        except SpecError as error:
            raise ModelError(f"spec: {error}") from None
        return Model(
            spec=spec,
            scale=read_dataclass(Scale, data["scale"], "scale"),
            head=head_from_dict(data["head"]),
            categories=tuple(map(_read_category, data["categories"])),
            image_size=data["image_size"],
            norm=read_dataclass(NormConfig, data["norm"], "norm"),
            convention=data["convention"],
        )


def _read_category(entry: Any) -> tuple[int, str]:
    number, name = entry
    if type(number) is not int or abs(number) >= 2**63 or not isinstance(name, str):
        raise ModelError(f"categories: {shown(entry)} is no id with a name")
    return number, name


def tensor_fault(net: nn.Module, sizes: Mapping[str, torch.Size]) -> str:
    """Says why tensors of these sizes cannot be loaded into a network; "" if they can."""
    wanted = net.state_dict()
    missing, left = sorted(wanted.keys() - sizes.keys()), sorted(sizes.keys() - wanted.keys())
    shapes = [name for name in wanted if name in sizes and sizes[name] != wanted[name].shape]
    faults = []
    for what, names in (("missing", missing), ("left over", left), ("of another shape", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            faults.append(f"{what}: {', '.join(names[:3])}{more}")
    return "; ".join(faults)
