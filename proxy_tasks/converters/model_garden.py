"""Weights of the TensorFlow Model Garden's SpineNets (tensorflow/models, official/vision) for our networks.

A checkpoint names its variables twice: by the path through Python objects ("_backbone/layer_with_weights-7/
_conv1/kernel") and by the layer's own name ("bottleneck_block_3/conv2d/kernel"). Layers are numbered in the
order in which the Garden makes them, which is the order of the data: stem, then for every block its two
resampled parents and its body, then the endpoints. So the layers of each type, sorted by number, are ours in
the order in which this file lists them. Heads are found by their paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from proxy_tasks.converters.tf_checkpoint import (
    Layer,
    Part,
    Take,
    Variable,
    as_ours,
    take_conv,
    take_head_conv,
    take_norm,
)
from proxy_tasks.models.model import Model, ModelError
from search_space import require_spinenet

HEAD = re.compile(r"(?:^|/)_?head/(.*)$")


LAYER = re.compile(r"^(?P<layer>(?:.*/)?layer_with_weights-\d{1,9})/(?P<part>.*)$", re.DOTALL)


NUMBERED = re.compile(r"^(?P<kind>.*?)(?:_(?P<number>\d{1,9}))?$", re.DOTALL)


class GardenVariables:
    """The variables of a checkpoint by the Garden's names; see `NamedVariables`.

    Args:
        variables: of the checkpoint.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._variables, self._layers = variables, _layers(variables)

    def take_part(self, part: Part, take: Take) -> None:
        """See `NamedVariables`."""
        if not part.live:
            return  # A Keras model holds only layers on a path to an output.

        def next_of(kind: str) -> Layer:
            layer = next(self._layers.get(kind, iter(())), None)
            if layer is None:
                raise ModelError(f"the checkpoint has no {kind} layer for {part.at}")
            return layer

        if part.kind in ("conv", "depthwise"):
            conv = next_of("conv2d" if part.kind == "conv" else "depthwise_conv2d")
            take_conv(conv, "", f"{part.at}.conv", take)
            take_norm(next_of("batch_normalization"), "", f"{part.at}.norm", take)
        else:
            name = "inverted_bottleneck_block" if part.kind == "mbconv" else f"{part.kind}_block"
            _take_block(next_of(name), part.at, part.kind, take)

    def take_classifier(self, take: Take) -> None:
        """See `NamedVariables`."""
        for variable in self._variables:
            layer, _, part = variable.name.rpartition("/")
            if part in ("kernel", "bias") and re.fullmatch(r"(predictions|dense)(_\d+)?", layer):
                ours = "weight" if part == "kernel" else "bias"
                take(f"linear.{ours}", as_ours(part, variable), variable.path)

    def take_retinanet(self, model: Model, take: Take) -> None:
        """Convolutions are shared over levels, norms are not; a box is (y, x, height, width) there."""
        layer = Layer({m[1]: v for v in self._variables if (m := HEAD.search(v.path)) is not None})
        spec = require_spinenet(model.spec, "the checkpoint of a SpineNet")
        separable = spec.separable_head
        for tower, convs, norms, predict in (
            ("class_tower", "_cls_convs", "_cls_norms", "_classifier"),
            ("box_tower", "_box_convs", "_box_norms", "_box_regressor"),
        ):
            for i in range(model.scale.head_convs):
                take_head_conv(layer, f"{convs}/{i}/", f"{tower}.convs.{i}", separable, take, boxes=False)
                for k, level in enumerate(spec.output_levels):
                    take_norm(layer, f"{norms}/{k}/{i}/", f"{tower}.norms.P{level}.{i}", take)
            take_head_conv(layer, f"{predict}/", f"{tower}.predict", separable, take, tower == "box_tower")


def _layers(variables: Sequence[Variable]) -> dict[str, Iterator[Layer]]:
    """The layers outside heads by type, in the order in which they were made."""
    found: dict[str, dict[int, Layer]] = {}
    for variable in variables:
        match = LAYER.match(variable.path)
        if match is None or HEAD.search(variable.path):
            continue
        numbered = NUMBERED.match(variable.name.split("/")[0])
        assert numbered is not None
        kind = numbered["kind"].removeprefix("sync_")
        layer = found.setdefault(kind, {}).setdefault(int(numbered["number"] or 0), Layer())
        layer.parts[match["part"]] = variable
    return {kind: iter([layers[n] for n in sorted(layers)]) for kind, layers in found.items()}


def _take_block(layer: Layer, at: str, kind: str, take: Take) -> None:
    if kind == "mbconv":
        pairs = [
            ("_conv0", "_norm0", "expand.0"),
            ("_conv1", "_norm1", "expand.1"),
            ("_conv2", "_norm2", "project"),
        ]
        take_conv(layer, "_squeeze_excitation/_se_reduce/", f"{at}.gate.1", take)
        take_conv(layer, "_squeeze_excitation/_se_expand/", f"{at}.gate.3", take)
    else:
        count = 3 if kind == "bottleneck" else 2
        pairs = [(f"_conv{i + 1}", f"_norm{i + 1}", f"convs.{i}") for i in range(count)]
        if any(part.startswith("_shortcut/") for part in layer.parts):
            pairs.insert(0, ("_shortcut", "_norm0", "shortcut"))
    for conv, norm, ours in pairs:
        take_conv(layer, f"{conv}/", f"{at}.{ours}.conv", take)
        take_norm(layer, f"{norm}/", f"{at}.{ours}.norm", take)
