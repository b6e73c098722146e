"""Models: all that it takes to build a network that a spec became."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated

import torch
from torch import nn

from search_space import Convention, Head, NormConfig, Scale, Spec, spec_cost
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import reading, shown
from search_space.utils.regular_file import read_regular
from search_space.utils.validation import AtLeast, AtMost, is_whole, validate

Categories = tuple[tuple[int, str], ...]
"""(id, name) of every class, in the order of the network's outputs."""


MAX_IMAGE_SIZE = 8192
"""Longest side of an input in pixels: whoever predicts with a model makes images of its size."""


class ModelError(ValueError):
    """A model or a model file that cannot be used: the message says which one and why."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What to build.

    Args:
        spec: the architecture of the backbone.
        scale: widths and depths, the head's included.
        head: what stands on the backbone.
        categories: (id, name) of every class; at least one.
        image_size: side of the square input in pixels, at most `MAX_IMAGE_SIZE`.
        norm: settings of all batch norms.
        convention: padding and pooling, see `search_space.Convention`.

    Raises:
        ModelError: if a field is wrong.
    """

    spec: Spec
    scale: Scale
    head: Head
    categories: Categories
    image_size: Annotated[int, AtLeast(1), AtMost(MAX_IMAGE_SIZE)]
    norm: NormConfig = field(default_factory=NormConfig)
    convention: Convention = "torch"

    def __post_init__(self) -> None:
        validate(self, ModelError)
        if not self.categories:
            raise ModelError("a model needs at least one category")

    @property
    def name(self) -> str:
        """Head, backbone and size in words, for titles."""
        title = self.spec.title
        if not self.head.evaluator:
            return f"{title} alone, {self.image_size} px"
        return f"{self.head.name} on {title}, {len(self.categories)} classes, {self.image_size} px"


def build_model(model: Model) -> nn.Module:
    """Builds the untrained network, see `proxy_tasks.models.detector`; torch's seed gives its weights.

    Raises:
        ModelError: if the head names a network that cannot be imported.
        ValueError: if the scale leaves a block without filters.
    """
    backbone = model.spec.build(model.scale, norm=model.norm, convention=model.convention)
    net: nn.Module = find_network(model.head)(
        backbone=backbone,
        classes=len(model.categories),
        head=model.head,
        scale=model.scale,
        norm=model.norm,
        separable=model.spec.separable_head,
    )
    return net.to(memory_format=torch.channels_last)


def find_network(head: Head) -> type[nn.Module]:
    """Imports the class of a head's network.

    Raises:
        ModelError: if it cannot be imported or is no module.
    """
    try:
        found = resolve_name(head.network)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(f"the network {head.network!r} of the head {head.name!r}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ModelError(f"the network {head.network!r} of the head {head.name!r} is no class of a module")
    return found


def model_cost(model: Model) -> tuple[int, int]:
    """Counts parameters and multiply-adds for one image, without building the network.

    Raises:
        ValueError: if the scale leaves a block without filters.
    """
    cost = spec_cost(model.spec, model.scale, model.image_size, model.head, len(model.categories))
    return cost.params, cost.macs


def numbered_categories(classes: int) -> Categories:
    """Makes `classes` categories, named by their numbers from 0."""
    return tuple((i, str(i)) for i in range(classes))


def name_categories(categories: Categories, annotations: Path) -> Categories:
    """Gives categories the names that COCO annotations give their ids; unnamed ones keep theirs.

    Raises:
        ModelError: if the file is no COCO annotations, or names none of the categories.
    """
    names: dict[int, str] = {}
    with reading(ModelError, f"{annotations}: no COCO annotations with categories: "):
        for entry in parse_json(read_regular(annotations))["categories"]:
            number, name = entry["id"], entry["name"]
            if not is_whole(number) or not isinstance(name, str):
                raise ValueError(
                    f"a category has a whole number as id and a text as name, not {shown(entry)}"
                )
            if names.setdefault(number, name) != name:
                raise ValueError(f"the id {number} has two names, {shown(names[number])} and {shown(name)}")
    if not any(number in names for number, _ in categories):
        raise ModelError(
            f"{annotations}: no category has an id in 0..{len(categories) - 1}, as the outputs do"
        )
    return tuple((number, names.get(number, name)) for number, name in categories)
