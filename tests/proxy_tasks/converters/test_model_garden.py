"""Models of the TensorFlow Model Garden give the same outputs here with their checkpoints' weights."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proxy_tasks.converters.origins import GARDEN
from proxy_tasks.converters.tf_checkpoint import Variable, read_checkpoint
from proxy_tasks.models.model import Model, ModelError, numbered_categories
from search_space import AnchorConfig, ClassifierHead, Head, RetinaNetHead, Scale, published_spec
from tests.golden import weights

SMALL = Scale(width=0.125, alpha=0.5, endpoints=8, activation="swish", head_filters=8, head_convs=2)
MOBILE = Scale(width=1.0, alpha=0.5, endpoints=8, activation="swish", head_filters=8, head_convs=2)
ANCHORS = AnchorConfig(base=3.0, ratios=(2.0, 1.0, 0.5))


@cache
def golden() -> dict[str, Any]:
    with np.load(Path(__file__).parents[2] / "golden" / "garden_models.npz", allow_pickle=False) as file:
        return dict(file)


def variables(name: str) -> list[Variable]:
    rows = golden()[f"{name}/variables"].tolist()
    return [
        Variable(path, full, weights.variable(full, tuple(int(n) for n in shape.split("x"))))
        for path, full, shape in rows
    ]


def model(name: str) -> Model:
    spec = published_spec("mobile-spinenet-49" if name.endswith("mobile") else "spinenet-49")
    scale = MOBILE if name.endswith("mobile") else SMALL
    if name.endswith("deep"):
        scale = Scale(
            width=0.125, alpha=0.5, endpoints=8, repeats=2, activation="swish", head_filters=8, head_convs=2
        )
    heads: dict[str, tuple[Head, int]] = {"classifier": (ClassifierHead(pooling="coarsest"), 7)}
    head, classes = heads.get(name, (RetinaNetHead(anchors=ANCHORS), 5))
    return Model(
        spec=spec,
        scale=scale,
        head=head,
        categories=numbered_categories(classes),
        image_size=128,
        convention="garden",
    )


@pytest.mark.parametrize("name", ["retinanet", "retinanet-deep", "retinanet-mobile"])
def test_a_retinanet_gives_the_gardens_outputs(name: str) -> None:
    net = GARDEN.load(variables(name), model(name))
    images = torch.from_numpy(weights.images(2, 128))
    with torch.no_grad():
        logits, offsets, _ = net.outputs(images).values()  # type: ignore[operator]
    expected = torch.from_numpy(golden()[f"{name}/scores"])
    scale = float(expected.abs().max())
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * scale)
    boxes = torch.from_numpy(golden()[f"{name}/boxes"])[..., [1, 0, 3, 2]]
    torch.testing.assert_close(offsets, boxes, rtol=1e-4, atol=1e-4 * float(boxes.abs().max()))


def test_a_classifier_gives_the_gardens_outputs() -> None:
    net = GARDEN.load(variables("classifier"), model("classifier"))
    with torch.no_grad():
        logits = net.outputs(torch.from_numpy(weights.images(2, 128)))["logits"]  # type: ignore[operator]
    expected = torch.from_numpy(golden()["classifier/logits"])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_checkpoint_without_some_variables_is_refused_by_name() -> None:
    partial = [v for v in variables("retinanet") if not v.path.endswith("_classifier/bias")]
    with pytest.raises(ModelError, match=r"missing: class_tower\.predict\.bias"):
        GARDEN.load(partial, model("retinanet"))
    partial = [v for v in variables("retinanet") if "layer_with_weights-100/" not in v.path]
    with pytest.raises(ModelError):
        GARDEN.load(partial, model("retinanet"))


def test_variables_without_a_place_are_refused_by_name() -> None:
    more = [
        *variables("retinanet"),
        Variable("model/_decoder/kernel", "fpn/kernel", np.zeros((1, 1, 8, 8), np.float32)),
    ]
    with pytest.raises(ModelError, match=r"without a place: 'model/_decoder/kernel'"):
        GARDEN.load(more, model("retinanet"))


@pytest.mark.parametrize("other", ["classifier", "retinanet-deep", "retinanet-mobile"])
def test_a_checkpoint_of_another_model_is_refused(other: str) -> None:
    with pytest.raises(ModelError):
        GARDEN.load(variables("retinanet"), model(other))


def test_a_missing_tensorflow_is_told_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for ending in (".index", ".data-00000-of-00001"):
        (tmp_path / f"ckpt{ending}").touch()
    with pytest.raises(ModelError, match=r"pip install tensorflow, or"):
        read_checkpoint(tmp_path / "ckpt")


@pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="TensorFlow, of the extra `weights`, is not installed"
)
def test_a_checkpoint_that_was_cut_off_is_told(tmp_path: Path) -> None:
    import tensorflow as tf

    prefix = str(tmp_path / "ckpt")
    tf.train.Checkpoint(a=tf.Variable(np.ones(1000, np.float32))).write(prefix)
    data = tmp_path / "ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:2100])
    with pytest.raises(ModelError, match="no TensorFlow checkpoint that can be read"):
        read_checkpoint(prefix)
