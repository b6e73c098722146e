"""Weights of the TensorFlow Model Garden's SpineNets (tensorflow/models, official/vision) for our networks.

A checkpoint names its variables twice: by the path through Python objects ("_backbone/layer_with_weights-7/
_conv1/kernel") and by the layer's own name ("bottleneck_block_3/conv2d/kernel"). Layers are numbered in the
order in which the Garden makes them, which is the order of the data: stem, then for every block its two
resampled parents and its body, then the endpoints. So the layers of each type, sorted by number, are ours in
the order in which this file lists them. Heads are found by their paths.

TensorFlow is needed only to read the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proxy_tasks.models import Model, ModelError, build_model, tensor_fault
from search_space import SpineNetSpec
from search_space.wiring import live_blocks, wire

Array = NDArray[np.float32]
Take = Callable[[str, Array, str], None]
"""Told (name of our tensor, its values, path of the variable that they come from)."""
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
NOT_WEIGHTS = re.compile(r"OPTIMIZER_SLOT|^optimizer/|^save_counter/|^global_step|^_CHECKPOINTABLE|/iter/")
HEAD = re.compile(r"(?:^|/)_?head/(.*)$")
LAYER = re.compile(r"^(?P<layer>(?:.*/)?layer_with_weights-\d+)/(?P<part>.*)$")
NUMBERED = re.compile(r"^(?P<kind>.*?)(?:_(?P<number>\d+))?$")


@dataclass(frozen=True)
class Variable:
    """One variable of a checkpoint.

    Args:
        path: through the objects, without the ending that all have.
        name: of the layer and the variable in it.
        value: its array, in TensorFlow's order of axes.
    """

    path: str
    name: str
    value: Array


def read_checkpoint(path: str | Path) -> list[Variable]:
    """All weights of a checkpoint, given by its prefix (without ".index").

    Raises:
        ModelError: if TensorFlow is missing, or the checkpoint is, or is broken.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # It greets every user with lines about the machine.
    try:
        import tensorflow as tf
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    except ImportError:
        raise ModelError(
            "reading a TensorFlow checkpoint needs TensorFlow: pip install 'spinenas[weights]'"
        ) from None
    prefix = str(path).removesuffix(".index")
    try:
        reader = tf.train.load_checkpoint(prefix)
        graph = TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
        names = {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes}
        keys = sorted(key for key in reader.get_variable_to_shape_map() if not NOT_WEIGHTS.search(key))
        return [Variable(key.removesuffix(VALUE), names.get(key, ""), reader.get_tensor(key)) for key in keys]
    except (tf.errors.OpError, ValueError, RuntimeError, LookupError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"{prefix}: no checkpoint of the Model Garden that can be read: {reason}") from None


def load_garden_weights(variables: Sequence[Variable], model: Model) -> nn.Module:
    """Our network with a checkpoint's weights; every variable and every tensor is accounted for.

    Args:
        variables: of the checkpoint.
        model: what it holds; its convention should be "garden".

    Raises:
        ModelError: naming the variables that are left over, and the tensors that are missing or of another
            shape.
    """
    if not isinstance(model.spec, SpineNetSpec):
        raise ModelError("the checkpoint of a SpineNet is wanted, so the model must have a SpineNet spec")
    taken: dict[str, Tensor] = {}
    used: set[str] = set()

    def take(name: str, value: Array, variable: str) -> None:
        taken[name] = torch.from_numpy(np.ascontiguousarray(value))
        used.add(variable)

    _take_backbone(_layers(variables), model.spec, model.scale.repeats, take)
    if model.kind == "classifier":
        _take_classifier(variables, take)
    else:
        _take_retinanet(variables, model, take)
    net = build_model(model)
    counters = {n: t for n, t in net.state_dict().items() if n.endswith("num_batches_tracked")}
    fault = tensor_fault(net, {**taken, **counters})
    left = [variable.path for variable in variables if variable.path not in used]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        fault = "; ".join(filter(None, [fault, f"variables without a place: {', '.join(left[:3])}{more}"]))
    if fault:
        raise ModelError(f"the checkpoint does not fit {model.name}: {fault}")
    net.load_state_dict({**taken, **counters})
    return net.eval()


@dataclass
class _Layer:
    """One layer of the backbone: its parts ("kernel", "_conv1/kernel") with the variable each comes from."""

    parts: dict[str, Variable] = field(default_factory=dict)


def _layers(variables: Sequence[Variable]) -> dict[str, Iterator[_Layer]]:
    """The layers outside heads by type, in the order in which they were made."""
    found: dict[str, dict[int, _Layer]] = {}
    for variable in variables:
        match = LAYER.match(variable.path)
        if match is None or HEAD.search(variable.path):
            continue
        numbered = NUMBERED.match(variable.name.split("/")[0])
        assert numbered is not None
        kind = numbered["kind"].removeprefix("sync_")
        layer = found.setdefault(kind, {}).setdefault(int(numbered["number"] or 0), _Layer())
        layer.parts[match["part"]] = variable
    return {kind: iter([layers[n] for n in sorted(layers)]) for kind, layers in found.items()}


def _take_backbone(
    layers: Mapping[str, Iterator[_Layer]], spec: SpineNetSpec, repeats: int, take: Take
) -> None:
    mobile = spec.stem[0].kind == "mbconv"
    wiring = wire(spec)

    def next_of(kind: str, at: str) -> _Layer:
        layer = next(layers.get(kind, iter(())), None)
        if layer is None:
            raise ModelError(f"the checkpoint has no {kind} layer for backbone.{at}")
        return layer

    def conv_norm(at: str, depthwise: bool = False) -> None:
        _take_conv(
            next_of("depthwise_conv2d" if depthwise else "conv2d", at), "", f"backbone.{at}.conv", take
        )
        _take_norm(next_of("batch_normalization", at), "", f"backbone.{at}.norm", take)

    def body(at: str, kind: str) -> None:
        for repeat in range(repeats):
            name = "inverted_bottleneck_block" if kind == "mbconv" else f"{kind}_block"
            _take_block(next_of(name, at), f"backbone.{at}.{repeat}", kind, take)

    conv_norm("stem.conv")
    for i, block in enumerate(spec.stem[: wiring.live_stem]):
        body(f"stem.blocks.{i}", block.kind)
    features = spec.features
    for index, block_of, _ in live_blocks(spec, wiring):
        for slot, parent in enumerate(block_of.parents):
            at, steps = f"blocks.{index}.resample.{slot}", block_of.level - features[parent].level
            if mobile:
                for step in range(max(0, steps)):
                    conv_norm(f"{at}.down.{step}", depthwise=True)
            else:
                conv_norm(f"{at}.down.0")
                if steps > 0:
                    conv_norm(f"{at}.down.1")
            conv_norm(f"{at}.expand")
        body(f"blocks.{index}.body", block_of.kind)
    for level in spec.output_levels:
        conv_norm(f"endpoints.P{level}")


def _take_block(layer: _Layer, at: str, kind: str, take: Take) -> None:
    if kind == "mbconv":
        pairs = [
            ("_conv0", "_norm0", "expand.0"),
            ("_conv1", "_norm1", "expand.1"),
            ("_conv2", "_norm2", "project"),
        ]
        _take_conv(layer, "_squeeze_excitation/_se_reduce/", f"{at}.gate.1", take)
        _take_conv(layer, "_squeeze_excitation/_se_expand/", f"{at}.gate.3", take)
    else:
        count = 3 if kind == "bottleneck" else 2
        pairs = [(f"_conv{i + 1}", f"_norm{i + 1}", f"convs.{i}") for i in range(count)]
        if any(part.startswith("_shortcut/") for part in layer.parts):
            pairs.insert(0, ("_shortcut", "_norm0", "shortcut"))
    for conv, norm, ours in pairs:
        _take_conv(layer, f"{conv}/", f"{at}.{ours}.conv", take)
        _take_norm(layer, f"{norm}/", f"{at}.{ours}.norm", take)


def _take_conv(layer: _Layer, prefix: str, at: str, take: Take) -> None:
    for part, ours in (("kernel", "weight"), ("depthwise_kernel", "weight"), ("bias", "bias")):
        variable = layer.parts.get(prefix + part)
        if variable is not None:
            take(f"{at}.{ours}", _as_ours(part, variable.value), variable.path)


def _take_norm(layer: _Layer, prefix: str, at: str, take: Take) -> None:
    for part, ours in NORM:
        variable = layer.parts.get(prefix + part)
        if variable is not None:
            take(f"{at}.{ours}", variable.value, variable.path)


NORM = (
    ("gamma", "weight"),
    ("beta", "bias"),
    ("moving_mean", "running_mean"),
    ("moving_variance", "running_var"),
)


def _as_ours(part: str, value: Array) -> Array:
    """Kernels [h, w, in, out] to [out, in, h, w]; depthwise ones [h, w, channels, 1] to [channels, 1, h, w].

    Matrices are transposed.
    """
    if part.endswith("bias"):
        return value
    if value.ndim == 2:
        return value.T
    return value.transpose((2, 3, 0, 1) if part == "depthwise_kernel" else (3, 2, 0, 1))


def _take_retinanet(variables: Sequence[Variable], model: Model, take: Take) -> None:
    """Convolutions shared over levels, norms by level; a box's numbers are (y, x, height, width) there."""
    layer = _Layer({m[1]: v for v in variables if (m := HEAD.search(v.path)) is not None})
    assert isinstance(model.spec, SpineNetSpec)
    separable = model.spec.stem[0].kind == "mbconv"
    for tower, convs, norms, predict in (
        ("class_tower", "_cls_convs", "_cls_norms", "_classifier"),
        ("box_tower", "_box_convs", "_box_norms", "_box_regressor"),
    ):
        for i in range(model.scale.head_convs):
            _take_head_conv(layer, f"{convs}/{i}/", f"{tower}.convs.{i}", separable, take, boxes=False)
            for k, level in enumerate(model.spec.output_levels):
                _take_norm(layer, f"{norms}/{k}/{i}/", f"{tower}.norms.P{level}.{i}", take)
        _take_head_conv(layer, f"{predict}/", f"{tower}.predict", separable, take, tower == "box_tower")


def _take_head_conv(layer: _Layer, prefix: str, at: str, separable: bool, take: Take, boxes: bool) -> None:
    names = (
        (("depthwise_kernel", "0.weight"), ("pointwise_kernel", "1.weight"), ("bias", "1.bias"))
        if separable
        else (("kernel", "weight"), ("bias", "bias"))
    )
    for part, ours in names:
        variable = layer.parts.get(prefix + part)
        if variable is None:
            continue
        value = _as_ours(part, variable.value)
        if boxes and part != "depthwise_kernel":
            grouped = value.reshape(-1, 4, *value.shape[1:])
            value = grouped[:, [1, 0, 3, 2]].reshape(value.shape)
        take(f"{at}.{ours}", value, variable.path)


def _take_classifier(variables: Sequence[Variable], take: Take) -> None:
    for variable in variables:
        layer, _, part = variable.name.rpartition("/")
        if NUMBERED.match(layer) and re.fullmatch(r"(predictions|dense)(_\d+)?", layer):
            take(
                f"linear.{'weight' if part == 'kernel' else 'bias'}",
                _as_ours(part, variable.value),
                variable.path,
            )
