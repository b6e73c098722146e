"""Where TensorFlow checkpoints of SpineNets come from, and what their networks do differently from ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from proxy_tasks.converters.model_garden import GardenVariables
from proxy_tasks.converters.tf_checkpoint import NamedVariables, Variable, fill_network
from proxy_tasks.converters.tpu_models import TPUVariables, is_tpu_checkpoint
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
        named: finds variables by the names that its code gives them.
    """

    name: str
    convention: Convention
    heads: Mapping[str, ReleasedHead]
    named: Callable[[Sequence[Variable]], NamedVariables]

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

    def load(self, variables: Sequence[Variable], model: Model) -> nn.Module:
        """Builds our network with a checkpoint's weights.

        Args:
            variables: of the checkpoint.
            model: what it holds; its convention should be that of this origin.

        Raises:
            ModelError: see `proxy_tasks.converters.tf_checkpoint.fill_network`.
        """
        return fill_network(model, variables, self.named(variables))


def _retinanet(*ratios: float) -> Callable[[float], Head]:
    """RetinaNet's head with anchors of these ratios, height by width, in the origin's order."""
    return lambda base: RetinaNetHead(anchors=AnchorConfig(base=base, ratios=ratios))


def _released(
    *,
    ratios: tuple[float, ...],
    pooling: Literal["pyramid", "coarsest"],
    norm_eps: float,
    classifier_eps: float,
) -> dict[str, ReleasedHead]:
    """The models that both repositories released: detectors of COCO, classifiers of ImageNet, backbones.

    Args:
        ratios: of the anchors, see `_retinanet`.
        pooling: of the classifier.
        norm_eps: added to variances.
        classifier_eps: the same in classifiers.
    """
    return {
        "retinanet": ReleasedHead(make=_retinanet(*ratios), classes=91, image_size=640, norm_eps=norm_eps),
        "classifier": ReleasedHead(
            make=lambda _: ClassifierHead(pooling=pooling),
            classes=1001,
            image_size=224,
            norm_eps=classifier_eps,
        ),
        "none": ReleasedHead(make=lambda _: NoHead(), classes=1, image_size=640, norm_eps=norm_eps),
    }


GARDEN = Origin(
    name="Model Garden",
    convention="garden",
    heads=_released(ratios=(2.0, 1.0, 0.5), pooling="coarsest", norm_eps=1e-3, classifier_eps=1e-3),
    named=GardenVariables,
)
"""tensorflow/models, official/vision."""


TPU = Origin(
    name="TPU repository",
    convention="tpu",
    heads=_released(ratios=(1.0, 0.5, 2.0), pooling="pyramid", norm_eps=1e-4, classifier_eps=1e-5),
    named=TPUVariables,
)
"""tensorflow/tpu, models/official/detection."""


def find_origin(variables: Sequence[Variable]) -> Origin:
    """Finds the origin that gives variables such names."""
    return TPU if is_tpu_checkpoint(variables) else GARDEN
