"""Where TensorFlow checkpoints of SpineNets come from, and what their networks do differently from ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from proxy_tasks.converters.model_garden import load_garden_weights
from proxy_tasks.converters.tf_checkpoint import Variable
from proxy_tasks.converters.tpu_models import is_tpu_checkpoint, load_tpu_weights
from proxy_tasks.models.model import Categories, Model, ModelError
from search_space import (
    AnchorConfig,
    ClassifierHead,
    Convention,
    Head,
    NoHead,
    NormConfig,
    RetinaNetHead,
    Scale,
    Spec,
)
from search_space.utils.lookup import lookup


@dataclass(frozen=True, kw_only=True)
class ReleasedHead:
    """What an origin's released models with a head have in common.

    Args:
        make: makes the head, given the side of the smallest anchor of a level in strides.
        classes: number of outputs.
        image_size: side of the input in pixels.
        norm_eps: added to variances.
    """

    make: Callable[[float], Head]
    classes: int
    image_size: int
    norm_eps: float


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A repository whose code wrote checkpoints.

    Args:
        name: in words.
        convention: its padding and pooling.
        heads: what its released models have, by the head's name.
        load: fills a network with variables.
    """

    name: str
    convention: Convention
    heads: Mapping[str, ReleasedHead]
    load: Callable[[Sequence[Variable], Model], nn.Module]

    def head(self, name: str) -> ReleasedHead:
        """Finds the released models with a head.

        Raises:
            ModelError: if there are none.
        """
        return lookup(name, self.heads, f"head of the {self.name}", ModelError)

    def model(
        self,
        head: str,
        *,
        spec: Spec,
        scale: Scale,
        categories: Categories,
        image_size: int | None = None,
        anchor_base: float = 3.0,
        norm_eps: float | None = None,
    ) -> Model:
        """Says what a checkpoint of this origin holds.

        Args:
            head: name of the head.
            spec, scale, categories: see `proxy_tasks.models.model.Model`.
            image_size, norm_eps: as released unless given.
            anchor_base: side of the smallest anchor of a level, in strides.
        """
        released = self.head(head)
        return Model(
            spec=spec,
            scale=scale,
            head=released.make(anchor_base),
            categories=categories,
            image_size=released.image_size if image_size is None else image_size,
            norm=NormConfig(eps=released.norm_eps if norm_eps is None else norm_eps),
            convention=self.convention,
        )


def _retinanet(*ratios: float) -> Callable[[float], Head]:
    """RetinaNet's head with anchors of these ratios, height by width, in the origin's order."""
    return lambda base: RetinaNetHead(anchors=AnchorConfig(base=base, ratios=ratios))


GARDEN = Origin(
    name="Model Garden",
    convention="garden",
    heads={
        "retinanet": ReleasedHead(make=_retinanet(2.0, 1.0, 0.5), classes=91, image_size=640, norm_eps=1e-3),
        "classifier": ReleasedHead(
            make=lambda _: ClassifierHead(pooling="coarsest"), classes=1001, image_size=224, norm_eps=1e-3
        ),
        "none": ReleasedHead(make=lambda _: NoHead(), classes=1, image_size=640, norm_eps=1e-3),
    },
    load=load_garden_weights,
)
"""tensorflow/models, official/vision."""


TPU = Origin(
    name="TPU repository",
    convention="tpu",
    heads={
        "retinanet": ReleasedHead(make=_retinanet(1.0, 0.5, 2.0), classes=91, image_size=640, norm_eps=1e-4),
        "classifier": ReleasedHead(
            make=lambda _: ClassifierHead(pooling="pyramid"), classes=1001, image_size=224, norm_eps=1e-5
        ),
        "none": ReleasedHead(make=lambda _: NoHead(), classes=1, image_size=640, norm_eps=1e-4),
    },
    load=load_tpu_weights,
)
"""tensorflow/tpu, models/official/detection."""


def origin_of(variables: Sequence[Variable]) -> Origin:
    """Finds the origin that gives variables such names."""
    return TPU if is_tpu_checkpoint(variables) else GARDEN
