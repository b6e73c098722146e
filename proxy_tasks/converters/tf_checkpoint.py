"""TensorFlow checkpoints: their variables, and our networks filled with them, every one accounted for.

TensorFlow is needed only to read the file.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proxy_tasks.models.model import Model, ModelError, build_model
from proxy_tasks.models.model_file import size_fault, tensor_fault
from search_space import Scale, SpineNetSpec, require_spinenet
from search_space.spinenet.widths import stem_level, stem_width
from search_space.spinenet.wiring import wire
from search_space.utils.extras import install_hint
from search_space.utils.parsing import explain, reading, shown

Array = NDArray[np.float32]


Take = Callable[[str, Array, str], None]
"""Takes (name of our tensor, its values, path of the variable that they come from)."""


GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


SMALLEST_NUMBER = 2
"""Bytes of the smallest number that a weight may be, in half precision."""


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
        live: whether our network has the part; it does not build dead blocks.
        projects: whether the shortcut of a bottleneck or residual block is a convolution.
    """

    kind: str
    at: str
    scope: str
    live: bool = True
    projects: bool = False


def backbone_parts(spec: SpineNetSpec, scale: Scale) -> Iterator[Part]:
    """The parts in the order in which TensorFlow's code makes them.

    Stem, then for every block its two resampled parents and its body, then the endpoints. Dead blocks are
    among them.
    """
    mobile = spec.stem[0].kind == "mbconv"
    live = set(wire(spec).live)

    def body(at: str, kind: str, scope: str, is_live: bool, projects: bool = False) -> Iterator[Part]:
        for repeat in range(scale.repeats):
            yield Part(kind, f"backbone.{at}.{repeat}", scope, is_live, projects and repeat == 0)

    yield Part("conv", "backbone.stem.conv", "")
    channels, level = stem_width(scale, spec.stem[0].kind), stem_level(spec.stem[0])
    for i, stem_block in enumerate(spec.stem):
        shape = channels, level
        channels, level = scale.channels(stem_block.level, stem_block.kind), stem_block.level
        yield from body(f"stem.blocks.{i}", stem_block.kind, "", i in live, shape != (channels, level))
    features = spec.features
    for index, block in enumerate(spec.blocks, start=len(spec.stem)):
        number, is_live = index - len(spec.stem), index in live
        for slot, parent in enumerate(block.parents):
            at, steps = f"backbone.blocks.{index}.resample.{slot}", block.level - features[parent].level
            how = "sepconv" if mobile else "alpha"
            scope = f"sub_policy{number}/resample_with_{how}_resample_{number}_{slot}/"
            downs = max(0, steps) if mobile else 2 if steps > 0 else 1
            for step in range(downs):
                yield Part("depthwise" if mobile else "conv", f"{at}.down.{step}", scope, is_live)
            yield Part("conv", f"{at}.expand", scope, is_live)
        scope = f"sub_policy{number}/scale_permuted_block_{index}/"
        yield from body(f"blocks.{index}.body", block.kind, scope, is_live)
    for level in spec.output_levels:
        yield Part("conv", f"backbone.endpoints.P{level}", "")


def read_checkpoint(path: str | Path) -> list[Variable]:
    """All weights of a checkpoint, given by its prefix (without ".index").

    Raises:
        ModelError: if TensorFlow is missing, or the checkpoint is, or is broken.
    """
    prefix = str(path).removesuffix(".index")
    size = _file_size(prefix)
    tf, new_graph = _import_tensorflow()
    with reading(ModelError, f"{prefix}: no TensorFlow checkpoint that can be read: "):
        reader = tf.train.load_checkpoint(prefix)
        shapes = {
            key: shape
            for key, shape in reader.get_variable_to_shape_map().items()
            if not NOT_WEIGHTS.search(key)
        }
        if not shapes:
            raise ModelError(f"{prefix}: the checkpoint holds no weights")
        # A false index must not make TensorFlow ask for memory that no weight fills.
        claimed = sum(math.prod(shape) for shape in shapes.values())
        if SMALLEST_NUMBER * claimed > size:
            raise ModelError(f"{prefix}: its index tells of {claimed} numbers, its data has {size} bytes")
        names = {key: key for key in shapes}
        if reader.has_tensor(GRAPH):
            graph = new_graph()
            graph.ParseFromString(reader.get_tensor(GRAPH))
            names = {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes}
        return [
            Variable(key.removesuffix(VALUE), names.get(key, ""), _read_weights(prefix, reader, key))
            for key in sorted(shapes)
        ]


def _file_size(prefix: str) -> int:
    """Gives the bytes of a checkpoint's data.

    Raises:
        ModelError: if a file of it is missing.
    """
    if not Path(f"{prefix}.index").is_file():
        raise ModelError(
            f"{prefix}.index: there is no such file; give the name that a checkpoint's files have in common, "
            "without .index"
        )
    folder, name = Path(prefix).parent, Path(prefix).name
    data = [path for path in folder.iterdir() if path.name.startswith(f"{name}.data-") and path.is_file()]
    if not data:
        raise ModelError(f"{prefix}.data-00000-of-00001: there is no such file beside {name}.index")
    if wild := re.search(r"[*?\[\]\\]", prefix):
        raise ModelError(f"{prefix}: TensorFlow takes {wild[0]} for a pattern; rename the checkpoint's files")
    return sum(path.stat().st_size for path in data)


def _import_tensorflow() -> tuple[Any, Any]:
    """Gives TensorFlow, and its message of a checkpoint's objects.

    Raises:
        ModelError: if it is missing or does not work.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # It greets every user with lines about the machine.
    try:
        import tensorflow as tf
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", None):
            raise ModelError(f"TensorFlow cannot be imported: {explain(error)}") from None
        raise ModelError(
            f"reading a TensorFlow checkpoint needs TensorFlow: {install_hint('weights')}"
        ) from None
    except Exception as error:  # A library that it needs may be missing, or of another version.
        raise ModelError(f"TensorFlow cannot be imported: {explain(error)}") from None
    return tf, TrackableObjectGraph


def _read_weights(prefix: str, reader: Any, key: str) -> Array:
    """Reads a variable.

    Raises:
        ModelError: if it holds no weights: texts, whole numbers, or numbers that are not finite.
    """
    value = np.asarray(reader.get_tensor(key))
    if value.dtype not in (np.float32, np.float16):
        raise ModelError(f"{prefix}: the variable {shown(key)} holds {value.dtype}, not float32")
    if not np.isfinite(value).all():
        raise ModelError(f"{prefix}: the variable {shown(key)} holds numbers that are not finite")
    return value.astype(np.float32)


class NamedVariables(Protocol):
    """The variables of a checkpoint, found by the names that the repository's code gives them."""

    def take_part(self, part: Part, take: Take) -> None:
        """Hands over the tensors of a part of the backbone.

        Raises:
            ModelError: if a variable is missing, or is not what its name says.
        """

    def take_classifier(self, take: Take) -> None:
        """Hands over the tensors of a classifier."""

    def take_retinanet(self, model: Model, take: Take) -> None:
        """Hands over the tensors of a model's RetinaNet head.

        Raises:
            ModelError: if a variable is not what its name says.
        """


def fill_network(model: Model, variables: Sequence[Variable], named: NamedVariables) -> nn.Module:
    """Builds the network of a model with a checkpoint's weights, and accounts for every variable and tensor.

    Args:
        model: what the checkpoint holds.
        variables: of the checkpoint.
        named: the same variables by their names. What they hand over of a dead block is dropped.

    Raises:
        ModelError: naming the variables that are left over, and the tensors that are missing or of another
            shape.
    """
    spec = require_spinenet(model.spec, "the checkpoint of a SpineNet")
    taken: dict[str, Tensor] = {}
    used: set[str] = set()

    def take(name: str, value: Array, variable: str) -> None:
        if name in taken:  # The second one has no place.
            return
        taken[name] = torch.from_numpy(np.ascontiguousarray(value))
        used.add(variable)

    def drop(_: str, __: Array, variable: str) -> None:
        used.add(variable)

    for part in backbone_parts(spec, model.scale):
        named.take_part(part, take if part.live else drop)
    if model.head.name == "classifier":
        named.take_classifier(take)
    elif model.head.name == "retinanet":
        named.take_retinanet(model, take)
    mean = ".running_mean"
    counts = [f"{name.removesuffix(mean)}.num_batches_tracked" for name in taken if name.endswith(mean)]
    counters = {name: torch.zeros((), dtype=torch.long) for name in counts}
    shapes = {name: tensor.shape for name, tensor in (taken | counters).items()}
    fault = size_fault(model, shapes)  # Before a network of whatever size is built.
    left = [shown(variable.path, 150) for variable in variables if variable.path not in used]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        fault = "; ".join(filter(None, [fault, f"variables without a place: {', '.join(left[:3])}{more}"]))
    if fault:
        raise ModelError(f"the checkpoint does not fit {model.name}: {fault}")
    net = build_model(model)
    if fault := tensor_fault(net, shapes):  # Only now it is known of a head of a user's own.
        raise ModelError(f"the checkpoint does not fit {model.name}: {fault}")
    net.load_state_dict({**taken, **counters})
    return net.eval()


def take_conv(layer: Layer, prefix: str, at: str, take: Take) -> None:
    """A convolution: kernel and bias, where there are any."""
    for part, ours in (("kernel", "weight"), ("depthwise_kernel", "weight"), ("bias", "bias")):
        variable = layer.parts.get(prefix + part)
        if variable is not None:
            take(f"{at}.{ours}", as_ours(part, variable), variable.path)


def take_norm(layer: Layer, prefix: str, at: str, take: Take) -> None:
    """A batch norm."""
    for part, ours in NORM:
        variable = layer.parts.get(prefix + part)
        if variable is not None:
            if part == "moving_variance" and (variable.value < 0).any():
                raise ModelError(f"the variable {shown(variable.path)} holds a variance below 0")
            take(f"{at}.{ours}", variable.value, variable.path)


def as_ours(part: str, variable: Variable) -> Array:
    """Kernels [h, w, in, out] to [out, in, h, w]; depthwise ones [h, w, channels, 1] to [channels, 1, h, w].

    Matrices are transposed.

    Raises:
        ModelError: if a kernel has another number of axes.
    """
    value = variable.value
    if part.endswith("bias"):
        return value
    if value.ndim == 2:
        return value.T
    if value.ndim != 4:
        raise ModelError(f"the variable {shown(variable.path)} has {value.ndim} axes; a kernel has 4")
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
        value = as_ours(part, variable)
        if boxes and part != "depthwise_kernel":
            if value.ndim == 0 or len(value) % 4:
                raise ModelError(f"the variable {shown(variable.path)} does not hold 4 numbers for each box")
            grouped = value.reshape(-1, 4, *value.shape[1:])
            value = grouped[:, [1, 0, 3, 2]].reshape(value.shape)
        take(f"{at}.{ours}", value, variable.path)
