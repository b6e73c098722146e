"""Model files: what is written is what is read, and what does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from proxy_tasks.models.model import Model, ModelError, build_model, model_cost
from proxy_tasks.models.model_file import load_model, read_model, save_model
from proxy_tasks.models.retinanet import RetinaNet
from proxy_tasks.models.settings import head_from_dict, head_to_dict
from search_space import SCALES, NormConfig, Scale, published_space, published_spec, spec_cost
from search_space.heads import (
    AnchorConfig,
    ClassifierHead,
    HeadSite,
    MaskRCNNHead,
    NoHead,
    RetinaNetHead,
    RoIConfig,
)
from search_space.nas_fpn.spec import NAS_FPN
from search_space.resnet_fpn.spec import R50FPNSpec
from tests.proxy_tasks.small_networks import small_network

TINY = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
MODEL = Model(
    spec=published_spec("spinenet-49"),
    scale=TINY,
    head=RetinaNetHead(anchors=AnchorConfig(octaves=(0.0, 0.5))),
    categories=((3, "cat"), (7, "dog")),
    image_size=64,
)
R23 = published_space("r23-sp30")


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        replace(MODEL, spec=R23.decode(R23.sample(np.random.default_rng(0))), norm=NormConfig(eps=1e-4)),
        replace(MODEL, spec=R50FPNSpec(width=0.125), image_size=96),
        replace(MODEL, spec=replace(NAS_FPN, layers=(1, 1, 1, 1), stacks=1)),
        replace(MODEL, spec=published_spec("mobile-spinenet-49"), scale=SCALES["mobile-49XS"]),
        replace(MODEL, convention="tpu", scale=replace(TINY, activation="swish")),
        replace(MODEL, head=ClassifierHead(pooling="coarsest", label_smoothing=0.2)),
        replace(MODEL, head=MaskRCNNHead(rois=RoIConfig(proposals_test=50))),
        replace(MODEL, head=NoHead()),
    ],
    ids=["spinenet-49", "r23-sp30", "r50-fpn", "nas-fpn", "mobile", "tpu", "classifier", "mask-rcnn", "none"],
)
def test_a_model_file_gives_back_the_very_network(tmp_path: Path, model: Model) -> None:
    torch.manual_seed(0)
    net = build_model(model)
    images = torch.randn(2, 3, 64, 64)
    net.backbone(images)  # type: ignore[operator]
    save_model(tmp_path / "m.safetensors", model, net, {"seed": 3})
    described, loaded, training = load_model(tmp_path / "m.safetensors")
    assert described == model
    assert training == {"seed": 3}
    with torch.no_grad():
        for a, b in zip(net.eval()(images), loaded(images), strict=True):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[name], b[name]) for name in a)
    ours, theirs = net.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert sum(p.numel() for p in net.parameters()) == model_cost(model)[0]


def test_what_is_no_model_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(ModelError, match="no such file"):
        load_model(path)
    path.write_bytes(b"junk" * 20)
    with pytest.raises(ModelError, match="no model file"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="no model of ours"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path, {"format": "spinenas-model", "version": "9", "info": "{}"})
    with pytest.raises(ModelError, match="version 9, this program knows 1"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path, {"format": "spinenas-model", "version": "1", "info": "{}"})
    with pytest.raises(ModelError, match="description is damaged"):
        load_model(path)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, MODEL, build_model(MODEL), {})
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        head = file.metadata()
    lost = "box_tower.predict.bias"
    changed = {name: tensor for name, tensor in tensors.items() if name != lost}
    changed["extra.weight"] = torch.zeros(2)
    changed["class_tower.predict.bias"] = torch.zeros(5)
    save_file(changed, path, head)
    with pytest.raises(ModelError) as raised:
        load_model(path)
    message = str(raised.value)
    assert f"missing: {lost}" in message
    assert "left over: extra.weight" in message
    assert "of another shape: class_tower.predict.bias" in message


def test_a_file_with_another_spec_inside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, MODEL, build_model(MODEL), {})
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        head = file.metadata()
    info = json.loads(head["info"])
    info["model"]["spec"]["blocks"][3]["parents"] = [0, 1]
    save_file(load_file(path), path, {**head, "info": json.dumps(info)})
    with pytest.raises(ModelError, match="does not fit its own model"):
        load_model(path)
    info["model"]["spec"]["blocks"][3]["parents"] = [0, 99]
    save_file(load_file(path), path, {**head, "info": json.dumps(info)})
    with pytest.raises(ModelError, match="description is damaged: spec:"):
        read_model(path)


@pytest.mark.parametrize("scale", ["mobile-49", "mobile-49S", "mobile-49XS"])
def test_the_mobile_detector_has_the_parameters_of_its_cost(scale: str) -> None:
    spec = published_spec("mobile-spinenet-49")
    with torch.device("meta"):
        net = small_network("retinanet", 91, spec=spec, scale=SCALES[scale])
    assert isinstance(net, RetinaNet)
    cost = spec_cost(spec, SCALES[scale], 384, "retinanet", 91)
    assert sum(p.numel() for p in net.parameters()) == cost.params


@dataclass(frozen=True, kw_only=True)
class OwnHead:
    """A head of a user's own: RetinaNet's network under another name."""

    anchors: AnchorConfig
    wide: bool = False

    name: ClassVar[str] = "own"
    network: ClassVar[str] = "proxy_tasks.models.retinanet.RetinaNet"
    evaluator: ClassVar[str] = "boxes"
    reward: ClassVar[str] = "AP"

    def cost(self, site: HeadSite) -> Any:
        return RetinaNetHead(anchors=self.anchors).cost(site)


def test_a_head_of_ones_own_is_read_back_where_it_is_imported() -> None:
    head = OwnHead(anchors=AnchorConfig(base=2.0), wide=True)
    data = json.loads(json.dumps(head_to_dict(head)))
    assert data["class"].endswith(":OwnHead")
    assert head_from_dict(data) == head


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"class": "absent_module:Head", "settings": {}}, "is not imported, and a model file never imports"),
        ({"class": "subprocess:Popen", "settings": {"args": "true"}}, "is not imported"),
        ({"class": f"{__name__}:MODEL", "settings": {}}, "is not imported"),
        ({"name": "retinanut", "settings": {}}, "unknown head 'retinanut' \\(did you mean retinanet"),
        (
            {"name": "retinanet", "settings": {"anchor": {}}},
            "unknown field 'anchor'; known are anchors",
        ),
        (
            {"name": "retinanet", "settings": {"anchors": {"bases": 1}}},
            "retinanet.anchors: unknown field",
        ),
        ({"name": "retinanet", "settings": {"anchors": 3}}, "a mapping is needed, not 3"),
        ({"name": "classifier", "settings": {"pooling": "max"}}, "pooling must be pyramid or coarsest"),
    ],
)
def test_a_head_that_cannot_be_read_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        head_from_dict(data)


def test_a_network_that_cannot_be_imported_is_named() -> None:
    class Lost(OwnHead):
        network: ClassVar[str] = "proxy_tasks.models.absent.Net"

    class NoModule(OwnHead):
        network: ClassVar[str] = "proxy_tasks.models.model.Model"

    for kind, message in ((Lost, "has no attribute 'absent'"), (NoModule, "is no class of a module")):
        with pytest.raises(ModelError, match=message):
            build_model(replace(MODEL, head=kind(anchors=AnchorConfig())))
