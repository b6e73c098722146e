"""Models of the TPU repository give the same outputs here with their checkpoints' weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from proxy_tasks.converters.origins import GARDEN, TPU, origin_of
from proxy_tasks.converters.tf_checkpoint import Variable
from proxy_tasks.models.model import Model, ModelError, numbered_categories
from search_space import Scale, published_spec
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
    assert origin_of(ours) is TPU
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
