"""Exports agree with the network, at several sizes and batches."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from proxy_tasks.converters.export import ExportError, export_model
from proxy_tasks.models.retinanet import RetinaNet
from search_space import Scale, published_space, published_spec
from tests.proxy_tasks.small_networks import small_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

R23 = published_space("r23-sp30")
SPECS = {
    "spinenet-49": published_spec("spinenet-49"),
    "r23-sp30": R23.decode(R23.sample(np.random.default_rng(1))),
}


def trained(name: str) -> RetinaNet:
    """Weights and statistics of a network that has seen something and is sure of some objects."""
    torch.manual_seed(0)
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
    net = small_network("retinanet", 3, spec=SPECS[name], scale=scale)
    assert isinstance(net, RetinaNet)
    with torch.no_grad():
        for _ in range(3):
            net.outputs(torch.randn(4, 3, 128, 128))
        net.class_tower.predict.weight.normal_(std=0.3)  # type: ignore[operator]
        net.class_tower.predict.bias.fill_(-1.0)  # type: ignore[operator]
    return net.eval()


@pytest.mark.parametrize(("name", "size"), [("spinenet-49", 128), ("r23-sp30", 192)])
def test_onnx_and_torch_programs_agree_with_the_network(tmp_path: Path, name: str, size: int) -> None:
    net = trained(name)
    export_model(net, size, tmp_path / "raw.onnx", "onnx", False, [(7, "cat")])
    export_model(net, size, tmp_path / "raw.pt2", "torch", False, [(7, "cat")])
    session = onnxruntime.InferenceSession(str(tmp_path / "raw.onnx"))
    extra = {"about.json": ""}
    program = torch.export.load(str(tmp_path / "raw.pt2"), extra_files=extra).module()
    about = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert about == json.loads(extra["about.json"])
    assert (about["size"], about["categories"]) == (size, [[7, "cat"]])
    assert about["mean"] == pytest.approx([0.485, 0.456, 0.406])
    for count in (1, 3):
        images = torch.randn(count, 3, size, size)
        with torch.no_grad():
            expected = list(net.outputs(images).values())
            for a, b in zip(expected, program(images), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        for a, found in zip(expected, session.run(None, {"images": images.numpy()}), strict=True):
            torch.testing.assert_close(a, torch.from_numpy(found), rtol=1e-4, atol=1e-4)


def test_the_exported_detector_finds_what_the_network_finds(tmp_path: Path) -> None:
    net = trained("spinenet-49")
    export_model(net, 128, tmp_path / "whole.onnx", "onnx", postprocess=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"))
    images = torch.randn(3, 3, 128, 128)
    with torch.no_grad():
        expected = net(images)
    image, boxes, scores, labels = session.run(None, {"images": images.numpy()})
    assert len(image) > 10
    for number, wanted in enumerate(expected):
        here = image == number
        rows = np.column_stack([scores, labels, boxes])[here]
        ours = np.column_stack([wanted["scores"], wanted["labels"], wanted["boxes"]])
        assert len(rows) == len(ours)
        # Equal scores may stand in another order, so every detection looks for its like.
        apart = abs(rows[:, None] - ours[None]).max(2)
        assert apart.min(0).max() < 1e-2
        assert apart.min(1).max() < 1e-2


def test_a_missing_package_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"pip install 'spinenas\[export\]'"):
        export_model(trained("spinenet-49"), 64, tmp_path / "x.onnx", "onnx", postprocess=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("head", "names"), [("classifier", ["logits"]), ("none", ["P3", "P4", "P5", "P6", "P7"])]
)
def test_other_networks_export_their_raw_outputs(tmp_path: Path, head: str, names: list[str]) -> None:
    torch.manual_seed(0)
    net = small_network(head, 4).eval()
    export_model(net, 64, tmp_path / "m.onnx", "onnx", postprocess=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    assert [output.name for output in session.get_outputs()] == names
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = net.outputs(images)  # type: ignore[operator]
    for name, array in zip(names, session.run(None, {"images": images.numpy()}), strict=True):
        torch.testing.assert_close(expected[name], torch.from_numpy(array), rtol=1e-4, atol=1e-4)


def test_a_network_without_raw_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a MaskRCNN cannot be exported yet"):
        export_model(small_network("mask-rcnn").eval(), 64, tmp_path / "m.onnx", "onnx", postprocess=True)
