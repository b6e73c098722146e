"""Model files: what is written is what is read, and what does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from proxy_tasks.models import Model, ModelError, build_model, load_model, model_cost, read_model, save_model
from proxy_tasks.resnet_fpn import R50FPNSpec
from proxy_tasks.retinanet import RetinaNet
from search_space import SCALES, Scale, published_space, published_spec, spec_cost

TINY = Scale(0.125, 0.5, 16, head_filters=16, head_convs=1)
MODEL = Model("retinanet", published_spec("spinenet-49"), TINY, ((3, "cat"), (7, "dog")), 64)
R23 = published_space("r23-sp30")


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        replace(MODEL, spec=R23.decode(R23.sample(np.random.default_rng(0))), norm_eps=1e-4),
        replace(MODEL, spec=R50FPNSpec(0.125), canvas=96),
        replace(MODEL, spec=published_spec("mobile-spinenet-49"), scale=SCALES["mobile-49XS"]),
        replace(MODEL, convention="tpu", scale=replace(TINY, activation="swish")),
    ],
    ids=["spinenet-49", "r23-sp30", "r50-fpn", "mobile", "tpu"],
)
def test_a_model_file_gives_back_the_very_network(tmp_path: Path, model: Model) -> None:
    torch.manual_seed(0)
    net = build_model(model)
    images = torch.randn(2, 3, 64, 64)
    net(images)  # Running statistics that are not those of a new network.
    save_model(tmp_path / "m.safetensors", model, net, {"seed": 3})
    found, loaded, training = load_model(tmp_path / "m.safetensors")
    assert found == model
    assert training == {"seed": 3}
    with torch.no_grad():
        for a, b in zip(net.eval()(images), loaded(images), strict=True):
            assert torch.equal(a, b)
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
    told = str(raised.value)
    assert f"missing: {lost}" in told
    assert "left over: extra.weight" in told
    assert "of another shape: class_tower.predict.bias" in told


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
        net = build_model(Model("retinanet", spec, SCALES[scale], tuple((i, "") for i in range(91)), 384))
    assert isinstance(net, RetinaNet)
    cost = spec_cost(spec, SCALES[scale], 384, "retinanet", 91)
    assert sum(p.numel() for p in net.parameters()) == cost.params
