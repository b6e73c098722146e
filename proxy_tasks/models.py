"""Models: all that it takes to build a network that a spec became, and the file that holds a trained one.

A model file is a safetensors file: tensors by their names in the network, and one JSON object that says
what to build and how it was trained. Loading one runs no code from it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from proxy_tasks.anchors import AnchorSpec
from proxy_tasks.backbones import AnySpec, backbone_name, build_backbone, spec_data, spec_from_data
from proxy_tasks.classifier import Classifier, Pooling
from proxy_tasks.counting import counted_cost
from proxy_tasks.mask_rcnn import MaskRCNN, Regions
from proxy_tasks.retinanet import RetinaNet
from search_space import Scale, SpecError, SpineNetSpec, spec_cost
from search_space.backbone import Convention
from search_space.cost import head_cost
from search_space.whole_file import whole_file

FORMAT, VERSION = "spinenas-model", 1
PLAIN = ("kind", "canvas", "norm_momentum", "norm_eps", "convention", "pooling")
"""Fields of a model that JSON holds as they are."""
Kind = Literal["retinanet", "mask-rcnn", "classifier", "backbone"]
Categories = tuple[tuple[int, str], ...]
"""(id, name) of every class, in the order of the network's outputs."""


class ModelError(ValueError):
    """A model file that cannot be used: says which and why."""


@dataclass(frozen=True)
class Model:
    """What to build.

    Args:
        kind: which network stands on the backbone.
        spec, scale: the backbone, and the head's width.
        categories: what it tells apart.
        canvas: side of the square input in pixels.
        anchors: of a detector.
        norm_momentum, norm_eps: of all batch norms.
        convention: padding and pooling, see `search_space.backbone.Convention`.
        regions: of a Mask R-CNN.
        pooling: of a classifier, see `proxy_tasks.classifier.Classifier`.
    """

    kind: Kind
    spec: AnySpec
    scale: Scale
    categories: Categories
    canvas: int
    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    norm_momentum: float = 0.01
    norm_eps: float = 1e-3
    convention: Convention = "torch"
    regions: Regions = field(default_factory=Regions)
    pooling: Pooling = "pyramid"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ModelError(f"unknown kind of model {self.kind!r}; known are {', '.join(get_args(Kind))}")
        if not self.categories:
            raise ModelError("a model needs at least one category")

    @property
    def name(self) -> str:
        """Kind and size in words, for titles."""
        backbone = backbone_name(self.spec)
        if self.kind == "backbone":
            return f"{backbone} alone, {self.canvas} px"
        return f"{self.kind} on {backbone}, {len(self.categories)} classes, {self.canvas} px"


class Pyramid(nn.Module):
    """A backbone alone, named as in the networks that stand on one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """[N, 3, H, W] to P3..P7."""
        pyramid: OrderedDict[str, Tensor] = self.backbone(images)
        return pyramid


def build_model(model: Model) -> nn.Module:
    """The untrained network; torch's seed gives its weights.

    Args:
        model: what to build.

    Raises:
        ValueError: if the scale leaves a block without filters.
    """
    backbone = _backbone(model)
    if model.kind == "backbone":
        return Pyramid(backbone).to(memory_format=torch.channels_last)
    if model.kind == "classifier":
        classifier = Classifier(backbone, len(model.categories), model.pooling)
        return classifier.to(memory_format=torch.channels_last)
    if model.kind == "mask-rcnn":
        return MaskRCNN(
            backbone,
            len(model.categories),
            model.scale,
            model.anchors.base,
            model.regions,
            model.norm_momentum,
            model.norm_eps,
        ).to(memory_format=torch.channels_last)
    net = RetinaNet(
        backbone,
        len(model.categories),
        model.scale.head_filters,
        model.scale.head_convs,
        model.anchors,
        model.norm_momentum,
        model.norm_eps,
        separable=isinstance(model.spec, SpineNetSpec) and model.spec.stem[0].kind == "mbconv",
        activation=model.scale.activation,
    )
    return net.to(memory_format=torch.channels_last)


def numbered(classes: int) -> Categories:
    """So many categories that have no names."""
    return tuple((i, str(i)) for i in range(classes))


def named(categories: Categories, annotations: Path) -> Categories:
    """The categories with the names that COCO annotations give their ids; unnamed ones keep theirs.

    Raises:
        ModelError: if the file is no COCO annotations.
    """
    try:
        entries = json.loads(annotations.read_text())["categories"]
        names = {int(entry["id"]): str(entry["name"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{annotations}: no COCO annotations with categories: {error}") from None
    return tuple((number, names.get(number, name)) for number, name in categories)


def _backbone(model: Model) -> nn.Module:
    return build_backbone(model.spec, model.scale, model.norm_momentum, model.norm_eps, model.convention)


def model_cost(model: Model) -> tuple[int, int]:
    """Parameters and multiply-adds for one image, without building it."""
    classes = len(model.categories)
    if not isinstance(model.spec, SpineNetSpec):
        with torch.device("meta"):
            backbone = _backbone(model)
            params, macs = counted_cost(backbone, model.canvas)
        levels: tuple[int, ...] = backbone.levels  # type: ignore[assignment]
        if model.kind == "backbone":
            return params, macs
        head = head_cost(model.kind, model.scale, model.canvas, levels, classes)
        return params + head.params, macs + head.macs
    kind = "none" if model.kind == "backbone" else model.kind
    found = spec_cost(model.spec, model.scale, model.canvas, kind, classes)
    return found.params, found.macs


def save_model(path: Path, model: Model, net: nn.Module, training: Mapping[str, Any]) -> None:
    """Writes a model file; it is never half-written.

    Args:
        path: ends in .safetensors by habit.
        model: what the network is.
        net: built from it.
        training: how it came to be: protocol, data, figures, versions; whatever JSON holds.

    Raises:
        OSError: if it cannot be written.
    """
    from safetensors.torch import save

    info = json.dumps({"model": as_data(model), "training": dict(training)})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(save(tensors, {"format": FORMAT, "version": str(VERSION), "info": info}))


def load_model(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[Model, nn.Module, dict[str, Any]]:
    """What a model file holds: the model, the network in evaluation mode, and how it was trained.

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
    """The model and its training, without the tensors.

    Raises:
        ModelError: if it is no model file or is of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ModelError(f"{path}: no such file; a model file (.safetensors) is wanted")
    try:
        with safe_open(path, framework="pt") as file:
            head = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: no model file: {error}") from None
    if head.get("format") != FORMAT:
        raise ModelError(f"{path}: a safetensors file, but no model of ours; nas train writes them")
    if not head.get("version", "").isdigit() or int(head["version"]) > VERSION:
        raise ModelError(f"{path} has version {head.get('version')}, this program knows {VERSION}; update it")
    try:
        info = json.loads(head["info"])
        return from_data(info["model"]), info["training"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: its description is damaged: {error}") from None


def as_data(model: Model) -> dict[str, Any]:
    """The model as JSON data; `from_data` reads it."""
    data = {name: getattr(model, name) for name in PLAIN}
    data |= {name: asdict(getattr(model, name)) for name in ("scale", "anchors", "regions")}
    data["spec"] = spec_data(model.spec)
    data["categories"] = [[number, name] for number, name in model.categories]
    return data


def from_data(data: dict[str, Any]) -> Model:
    """The model of JSON data.

    Raises:
        ValueError, KeyError, TypeError: if it is none.
    """
    more = dict(data)
    try:
        spec = spec_from_data(more["spec"])
    except SpecError as error:
        raise ModelError(f"spec: {error}") from None
    more["spec"], more["scale"] = spec, Scale(**more["scale"])
    more["anchors"], more["regions"] = AnchorSpec(**more["anchors"]), Regions(**more["regions"])
    more["categories"] = tuple((int(number), str(name)) for number, name in more["categories"])
    return Model(**more)


def tensor_fault(net: nn.Module, tensors: Mapping[str, torch.Tensor]) -> str:
    """Why tensors cannot be loaded into a network; "" if they can."""
    wanted = net.state_dict()
    missing, left = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    shapes = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    faults = []
    for what, names in (("missing", missing), ("left over", left), ("of another shape", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            faults.append(f"{what}: {', '.join(names[:3])}{more}")
    return "; ".join(faults)
