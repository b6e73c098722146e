"""Weights of the TPU repository's SpineNets (tensorflow/tpu, models/official/detection) for our networks.

Its variables are TensorFlow 1's: every variable scope numbers the convolutions and norms made in it
("conv2d", "conv2d_1", ...). Scopes are those of `proxy_tasks.converters.tf_checkpoint.backbone_parts`; in
each, layers by number are ours in the order in which that lists them. Its code builds dead blocks too, whose
variables have no place in our networks. Heads have names of their own.
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

BACKBONE = re.compile(
    r"^spinenet(?:_mbconv)?/(?P<scope>.*/)?(?P<kind>[a-z0-9_]*?)(?:_(?P<number>\d{1,9}))?/(?P<part>\w+)$"
)


CONVS = {"bottleneck": 3, "residual": 2}


Layers = dict[tuple[str, str], Iterator[Layer]]
"""Layers in the order in which they were made, by scope and type."""


def is_tpu_checkpoint(variables: Sequence[Variable]) -> bool:
    """Whether the variables have the TPU repository's names."""
    return any(BACKBONE.match(variable.path) for variable in variables)


class TPUVariables:
    """The variables of a checkpoint by the TPU repository's names; see `NamedVariables`.

    Args:
        variables: of the checkpoint.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._variables, self._layers = variables, _layers(variables)

    def take_part(self, part: Part, take: Take) -> None:
        """See `NamedVariables`."""
        if not part.live and all(scope != part.scope for scope, _ in self._layers):
            return  # Nothing needs the variables of a dead block.

        def next_of(kind: str) -> Layer:
            layer = next(self._layers.get((part.scope, kind), iter(())), None)
            if layer is None:
                raise ModelError(f"the checkpoint has no {kind} in {part.scope or 'the stem'} for {part.at}")
            return layer

        def conv_norm(at: str, kind: str = "conv2d") -> None:
            take_conv(next_of(kind), "", f"{at}.conv", take)
            take_norm(next_of("batch_normalization"), "", f"{at}.norm", take)

        if part.kind == "conv":
            conv_norm(part.at)
        elif part.kind == "depthwise":
            conv_norm(part.at, "depthwise_conv2d")
        elif part.kind == "mbconv":
            conv_norm(f"{part.at}.expand.0")
            conv_norm(f"{part.at}.expand.1", "depthwise_conv2d")
            for gate in (1, 3):
                take_conv(next_of("conv2d"), "", f"{part.at}.gate.{gate}", take)
            conv_norm(f"{part.at}.project")
        else:
            if part.projects:
                conv_norm(f"{part.at}.shortcut")
            for i in range(CONVS[part.kind]):
                conv_norm(f"{part.at}.convs.{i}")

    def take_classifier(self, take: Take) -> None:
        """See `NamedVariables`."""
        for variable in self._variables:
            part = variable.path.removeprefix("classification_head/dense/")
            if part in ("kernel", "bias"):
                ours = "weight" if part == "kernel" else "bias"
                take(f"linear.{ours}", as_ours(part, variable), variable.path)

    def take_retinanet(self, model: Model, take: Take) -> None:
        """Convolutions are shared over levels, norms are not."""
        layer = Layer(
            {v.path.removeprefix("retinanet/"): v for v in self._variables if v.path.startswith("retinanet/")}
        )
        spec = require_spinenet(model.spec, "the checkpoint of a SpineNet")
        separable = spec.separable_head
        for ours, theirs in (("class_tower", "class"), ("box_tower", "box")):
            boxes = theirs == "box"
            for i in range(model.scale.head_convs):
                prefix = f"{theirs}_net/{theirs}-{i}"
                take_head_conv(layer, f"{prefix}/", f"{ours}.convs.{i}", separable, take, boxes=False)
                for level in spec.output_levels:
                    take_norm(layer, f"{prefix}-{level}/", f"{ours}.norms.P{level}.{i}", take)
            take_head_conv(
                layer, f"{theirs}_net/{theirs}-predict/", f"{ours}.predict", separable, take, boxes
            )


def _layers(variables: Sequence[Variable]) -> Layers:
    found: dict[tuple[str, str], dict[int, Layer]] = {}
    for variable in variables:
        match = BACKBONE.match(variable.path)
        if match is None:
            continue
        at = (match["scope"] or "", match["kind"])
        layer = found.setdefault(at, {}).setdefault(int(match["number"] or 0), Layer())
        layer.parts[match["part"]] = variable
    return {at: iter([layers[n] for n in sorted(layers)]) for at, layers in found.items()}
