"""TensorFlow checkpoints: their variables, and our networks filled with them, every one accounted for.

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

from proxy_tasks.models.model import Model, ModelError, build_model
from proxy_tasks.models.model_file import tensor_fault
from search_space import SpineNetSpec, require_spinenet
from search_space.spinenet.wiring import live_blocks, wire
from search_space.utils.extras import install_hint
from search_space.utils.parsing import reading

Array = NDArray[np.float32]


Take = Callable[[str, Array, str], None]
"""Takes (name of our tensor, its values, path of the variable that they come from)."""


GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


NOT_WEIGHTS = re.compile(
    r"OPTIMIZER_SLOT|^optimizer/|^save_counter/|^global_step|^_CHECKPOINTABLE|/iter/|/Momentum$|^moving_normalizer"
)


NORM = (
    ("gamma", "weight"),
    ("beta", "bias"),
    ("moving_mean", "running_mean"),
    ("moving_variance", "running_var"),
)


@dataclass(frozen=True)
class Variable:
    """One variable of a checkpoint.

    Args:
        path: through the objects, without the ending that all have; in checkpoints of TensorFlow 1 the name.
        name: of the layer and the variable in it.
        value: its array, in TensorFlow's order of axes.
    """

    path: str
    name: str
    value: Array


@dataclass
class Layer:
    """One layer: its parts ("kernel", "_conv1/kernel") with the variable each comes from."""

    parts: dict[str, Variable] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A convolution with its norm, or one repeat of a block.

    Args:
        kind: "conv", "depthwise", or the block's.
        at: name of the part in our network.
        scope: of TensorFlow 1's variables, below the backbone's own.
    """

    kind: str
    at: str
    scope: str


def backbone_parts(spec: SpineNetSpec, repeats: int) -> Iterator[Part]:
    """The parts in the order in which TensorFlow's code makes them.

    Stem, then for every block its two resampled parents and its body, then the endpoints.
    """
    mobile = spec.stem[0].kind == "mbconv"
    wiring = wire(spec)

    def body(at: str, kind: str, scope: str) -> Iterator[Part]:
        for repeat in range(repeats):
            yield Part(kind, f"backbone.{at}.{repeat}", scope)

    yield Part("conv", "backbone.stem.conv", "")
    for i, stem_block in enumerate(spec.stem[: wiring.live_stem]):
        yield from body(f"stem.blocks.{i}", stem_block.kind, "")
    features = spec.features
    for index, block, _ in live_blocks(spec, wiring):
        number = index - len(spec.stem)
        for slot, parent in enumerate(block.parents):
            at, steps = f"backbone.blocks.{index}.resample.{slot}", block.level - features[parent].level
            how = "sepconv" if mobile else "alpha"
            scope = f"sub_policy{number}/resample_with_{how}_resample_{number}_{slot}/"
            downs = max(0, steps) if mobile else 2 if steps > 0 else 1
            for step in range(downs):
                yield Part("depthwise" if mobile else "conv", f"{at}.down.{step}", scope)
            yield Part("conv", f"{at}.expand", scope)
        yield from body(
            f"blocks.{index}.body", block.kind, f"sub_policy{number}/scale_permuted_block_{index}/"
        )
    for level in spec.output_levels:
        yield Part("conv", f"backbone.endpoints.P{level}", "")


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
            f"reading a TensorFlow checkpoint needs TensorFlow: {install_hint('weights')}"
        ) from None
    prefix = str(path).removesuffix(".index")
    with reading(ModelError, f"{prefix}: no TensorFlow checkpoint that can be read: "):
        reader = tf.train.load_checkpoint(prefix)
        keys = sorted(key for key in reader.get_variable_to_shape_map() if not NOT_WEIGHTS.search(key))
        if not reader.has_tensor(GRAPH):
            return [Variable(key, key, reader.get_tensor(key)) for key in keys]
        graph = TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor(GRAPH))
        names = {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes}
        return [Variable(key.removesuffix(VALUE), names.get(key, ""), reader.get_tensor(key)) for key in keys]


def fill_network(
    model: Model,
    variables: Sequence[Variable],
    take_part: Callable[[Part, Take], None],
    heads: Mapping[str, Callable[[Take], None]],
) -> nn.Module:
    """Builds the network of a model with a checkpoint's weights, and accounts for every variable and tensor.

    Args:
        model: what the checkpoint holds.
        variables: of the checkpoint.
        take_part: hands over the tensors of a part of the backbone.
        heads: hand over those of the head, by its name; a backbone alone has none.

    Raises:
        ModelError: naming the variables that are left over, and the tensors that are missing or of another
            shape.
    """
    spec = require_spinenet(model.spec, "the checkpoint of a SpineNet")
    taken: dict[str, Tensor] = {}
    used: set[str] = set()

    def take(name: str, value: Array, variable: str) -> None:
        taken[name] = torch.from_numpy(np.ascontiguousarray(value))
        used.add(variable)

    for part in backbone_parts(spec, model.scale.repeats):
        take_part(part, take)
    if model.head.name in heads:
        heads[model.head.name](take)
    net = build_model(model)
    counters = {n: t for n, t in net.state_dict().items() if n.endswith("num_batches_tracked")}
    fault = tensor_fault(net, {name: tensor.shape for name, tensor in (taken | counters).items()})
    left = [variable.path for variable in variables if variable.path not in used]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        fault = "; ".join(filter(None, [fault, f"variables without a place: {', '.join(left[:3])}{more}"]))
    if fault:
        raise ModelError(f"the checkpoint does not fit {model.name}: {fault}")
    net.load_state_dict({**taken, **counters})
    return net.eval()


def take_conv(layer: Layer, prefix: str, at: str, take: Take) -> None:
    """A convolution: kernel and bias, where there are any."""
    for part, ours in (("kernel", "weight"), ("depthwise_kernel", "weight"), ("bias", "bias")):
        variable = layer.parts.get(prefix + part)
        if variable is not None:
            take(f"{at}.{ours}", as_ours(part, variable.value), variable.path)


def take_norm(layer: Layer, prefix: str, at: str, take: Take) -> None:
    """A batch norm."""
    for part, ours in NORM:
        variable = layer.parts.get(prefix + part)
        if variable is not None:
            take(f"{at}.{ours}", variable.value, variable.path)


def as_ours(part: str, value: Array) -> Array:
    """Kernels [h, w, in, out] to [out, in, h, w]; depthwise ones [h, w, channels, 1] to [channels, 1, h, w].

    Matrices are transposed.
    """
    if part.endswith("bias"):
        return value
    if value.ndim == 2:
        return value.T
    return value.transpose((2, 3, 0, 1) if part == "depthwise_kernel" else (3, 2, 0, 1))


def take_head_conv(layer: Layer, prefix: str, at: str, separable: bool, take: Take, boxes: bool) -> None:
    """A convolution of a RetinaNet head; a box's numbers are (y, x, height, width) in TensorFlow."""
    names = (
        (("depthwise_kernel", "0.weight"), ("pointwise_kernel", "1.weight"), ("bias", "1.bias"))
        if separable
        else (("kernel", "weight"), ("bias", "bias"))
    )
    for part, ours in names:
        variable = layer.parts.get(prefix + part)
        if variable is None:
            continue
        value = as_ours(part, variable.value)
        if boxes and part != "depthwise_kernel":
            grouped = value.reshape(-1, 4, *value.shape[1:])
            value = grouped[:, [1, 0, 3, 2]].reshape(value.shape)
        take(f"{at}.{ours}", value, variable.path)
