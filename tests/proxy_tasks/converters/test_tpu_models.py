"""Models of the TPU repository give the same outputs here with their checkpoints' weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from proxy_tasks.converters.origins import GARDEN, TPU, find_origin
from proxy_tasks.converters.tf_checkpoint import NORM, Variable
from proxy_tasks.models.model import Model, ModelError, numbered_categories
from search_space import Block, Scale, SpineNetSpec, StemBlock, published_spec
from search_space.spinenet.backbone import SpineNet
from tests.golden import weights

NAMES = ("backbone", "retinanet", "retinanet-deep", "retinanet-mobile", "classifier")


@cache
def golden() -> dict[str, Any]:
    with np.load(Path(__file__).parents[2] / "golden" / "tpu_models.npz", allow_pickle=False) as file:
        return dict(file)


def variables(name: str) -> list[Variable]:
    rows = golden()[f"{name}/variables"].tolist()
    return [Variable(p, p, weights.variable(p, tuple(map(int, shape.split("x"))))) for p, shape in rows]


def model(name: str) -> Model:
    mobile = name.endswith("mobile")
    spec = published_spec("mobile-spinenet-49" if mobile else "spinenet-49")
    scale = Scale(
        width=1.0 if mobile else 0.125,
        alpha=0.5,
        endpoints=8,
        repeats=2 if name.endswith("deep") else 1,
        activation="swish",
        head_filters=8,
        head_convs=2,
    )
    head, classes = {"classifier": ("classifier", 7), "backbone": ("none", 1)}.get(name, ("retinanet", 5))
    categories = numbered_categories(classes)
    return TPU.model(head, spec=spec, scale=scale, categories=categories, image_size=128, norm_eps=1e-3)


def loaded(name: str) -> nn.Module:
    ours = variables(name)
    assert find_origin(ours) is TPU
    return TPU.load(ours, model(name))


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_gives_the_repositorys_outputs(name: str) -> None:
    net, expected = (
        loaded(name),
        {
            key.split("/")[1]: torch.from_numpy(value)
            for key, value in golden().items()
            if key.startswith(f"{name}/") and not key.endswith("variables")
        },
    )
    with torch.no_grad():
        outputs = net.outputs(torch.from_numpy(weights.images(2, 128)))  # type: ignore[operator]
    if name == "backbone":
        for level, feature in expected.items():
            assert_near(outputs[level], feature.permute(0, 3, 1, 2))
    elif name == "classifier":
        assert_near(outputs["logits"], expected["logits"])
    else:
        assert_near(outputs["logits"], expected["scores"])
        assert_near(outputs["offsets"], expected["boxes"][..., [1, 0, 3, 2]])


def written(net: SpineNet, spec: SpineNetSpec) -> list[Variable]:
    """The weights of a network under the names that TensorFlow 1 gives them.

    Args:
        net: has all blocks of `spec`, and perhaps an endpoint more.
        spec: as TensorFlow builds it: with all its blocks, and endpoints for its outputs.
    """
    state, counts = net.state_dict(), Counter[str]()
    convs = [key.removesuffix(".conv.weight") for key in state if key.endswith(".conv.weight")]
    found: dict[str, Tensor] = {}

    def write(module: str, scope: str = "") -> None:
        for conv in convs:
            if f"{conv}.".startswith(f"{module}."):
                number = f"_{counts[scope]}" if counts[scope] else ""
                counts[scope] += 1
                found[f"{scope}conv2d{number}/kernel"] = state[f"{conv}.conv.weight"].permute(2, 3, 1, 0)
                for theirs, ours in NORM:
                    found[f"{scope}batch_normalization{number}/{theirs}"] = state[f"{conv}.norm.{ours}"]

    write("stem.conv")
    write("stem.blocks")
    for policy, index in enumerate(range(len(spec.stem), len(spec.features))):
        for slot in (0, 1):
            scope = f"sub_policy{policy}/resample_with_alpha_resample_{policy}_{slot}/"
            write(f"blocks.{index}.resample.{slot}", scope)
        write(f"blocks.{index}.body", f"sub_policy{policy}/scale_permuted_block_{index}/")
    for level in spec.output_levels:
        write(f"endpoints.P{level}")
    return [Variable(f"spinenet/{path}", path, value.numpy()) for path, value in found.items()]


def backbone(spec: SpineNetSpec, scale: Scale) -> Model:
    return TPU.model("none", spec=spec, scale=scale, categories=numbered_categories(1), image_size=128)


def assert_weights(loaded: nn.Module, net: SpineNet) -> None:
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, net.state_dict()[name.removeprefix("backbone.")]), name


@pytest.mark.parametrize("width", [0.125, 0.25])
def test_the_stem_has_a_projection_only_where_the_width_changes(width: float) -> None:
    """At a width of 0.25 its first block keeps the 64 channels that it gets."""
    spec, scale = published_spec("spinenet-49"), Scale(width=width, endpoints=8, repeats=2)
    net = SpineNet(spec, scale, convention="tpu")
    assert_weights(TPU.load(written(net, spec), backbone(spec, scale)), net)


def with_dead_blocks(output: bool) -> SpineNetSpec:
    """SpineNet-49 with a third stem block and a block on it, which are dead without the output."""
    spec = published_spec("spinenet-49")
    place = [0, 1, *range(3, 18)]  # The feature that a feature of SpineNet-49 becomes.
    moved = [replace(b, parents=(place[b.parents[0]], place[b.parents[1]])) for b in spec.blocks]
    return SpineNetSpec((*spec.stem, StemBlock(2)), (*moved, Block(2, "residual", (2, 8), output)))


def test_the_variables_of_dead_blocks_are_passed_over() -> None:
    """TensorFlow's code builds dead blocks, and numbers the endpoints' variables after a dead stem block."""
    spec, scale = with_dead_blocks(output=False), Scale(width=0.125, endpoints=8)
    net = SpineNet(with_dead_blocks(output=True), scale, convention="tpu")
    found = written(net, spec)
    loaded = TPU.load(found, backbone(spec, scale))
    assert_weights(loaded, net)
    assert len(loaded.state_dict()) < len(net.state_dict())
    more = Variable("spinenet/sub_policy16/conv2d/kernel", "", np.zeros((1, 1, 8, 8), np.float32))
    with pytest.raises(ModelError, match="without a place: 'spinenet/sub_policy16/conv2d/kernel'"):
        TPU.load([*found, more], backbone(spec, scale))


def test_what_is_missing_or_left_over_is_named() -> None:
    whole = variables("retinanet")
    with pytest.raises(ModelError, match=r"missing: box_tower\.norms\.P5\.1\.weight"):
        TPU.load([v for v in whole if v.path != "retinanet/box_net/box-1-5/gamma"], model("retinanet"))
    with pytest.raises(ModelError, match="conv2d in sub_policy3/resample_with_alpha_resample_3_0/ for"):
        TPU.load([v for v in whole if "resample_3_0" not in v.path], model("retinanet"))
    more = Variable("fpn/l3/kernel", "fpn/l3/kernel", np.zeros((1, 1, 8, 8), np.float32))
    with pytest.raises(ModelError, match="without a place: 'fpn/l3/kernel'"):
        TPU.load([*whole, more], model("retinanet"))


@pytest.mark.parametrize("other", ["classifier", "backbone", "retinanet-deep", "retinanet-mobile"])
def test_a_checkpoint_of_another_model_is_refused(other: str) -> None:
    with pytest.raises(ModelError):
        TPU.load(variables("retinanet"), model(other))


def test_the_released_models_are_described_as_they_were_released() -> None:
    spec, categories = published_spec("spinenet-49"), numbered_categories(2)
    for origin, name, size, eps in (
        (TPU, "retinanet", 640, 1e-4),
        (TPU, "classifier", 224, 1e-5),
        (GARDEN, "classifier", 224, 1e-3),
    ):
        described = origin.model(name, spec=spec, scale=Scale(), categories=categories)
        assert (described.image_size, described.norm.eps, described.convention) == (
            size,
            eps,
            origin.convention,
        )
    with pytest.raises(ModelError, match="unknown head of the TPU repository 'mask-rcnn'"):
        TPU.model("mask-rcnn", spec=spec, scale=Scale(), categories=categories)
