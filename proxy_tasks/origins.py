"""Where TensorFlow checkpoints of SpineNets come from, and what their networks do differently from ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from proxy_tasks.anchors import AnchorSpec
from proxy_tasks.backbones import AnySpec
from proxy_tasks.classifier import Pooling
from proxy_tasks.garden_weights import load_garden_weights
from proxy_tasks.models import Categories, Kind, Model
from proxy_tasks.tensorflow_weights import Variable
from proxy_tasks.tpu_weights import is_tpu_checkpoint, load_tpu_weights
from search_space import Scale
from search_space.backbone import Convention


@dataclass(frozen=True)
class Origin:
    """A repository whose code wrote checkpoints.

    Args:
        name: in words.
        convention: its padding and pooling.
        pooling: of its classifiers.
        ratios: of its anchors, height by width, in its order.
        norm_eps: of its released models, by kind; `None` stands for all others.
        load: fills a network with variables.
    """

    name: str
    convention: Convention
    pooling: Pooling
    ratios: tuple[float, ...]
    norm_eps: Mapping[str | None, float]
    load: Callable[[Sequence[Variable], Model], nn.Module]

    def model(
        self,
        kind: Kind,
        spec: AnySpec,
        scale: Scale,
        categories: Categories,
        canvas: int,
        anchor_size: float = 3.0,
        norm_eps: float | None = None,
    ) -> Model:
        """What a checkpoint of this origin holds; `norm_eps` as released unless given."""
        if norm_eps is None:
            norm_eps = self.norm_eps.get(kind, self.norm_eps[None])
        return Model(
            kind,
            spec,
            scale,
            categories,
            canvas,
            AnchorSpec(anchor_size, ratios=self.ratios),
            norm_eps=norm_eps,
            convention=self.convention,
            pooling=self.pooling,
        )


GARDEN = Origin("Model Garden", "garden", "coarsest", (2.0, 1.0, 0.5), {None: 1e-3}, load_garden_weights)
"""tensorflow/models, official/vision."""
TPU = Origin(
    "TPU repository",
    "tpu",
    "pyramid",
    (1.0, 0.5, 2.0),
    {"classifier": 1e-5, None: 1e-4},
    load_tpu_weights,
)
"""tensorflow/tpu, models/official/detection."""


def origin_of(variables: Sequence[Variable]) -> Origin:
    """The origin that gives variables such names."""
    return TPU if is_tpu_checkpoint(variables) else GARDEN
