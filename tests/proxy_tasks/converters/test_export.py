"""Exports agree with the network, at several sizes and batches."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from proxy_tasks.converters.export import ExportError, _add_suppression, export_model
from proxy_tasks.models.detector import Candidates, Prediction
from proxy_tasks.models.fixed_mask_rcnn import suppress_fixed
from proxy_tasks.models.mask_rcnn import MaskRCNN
from proxy_tasks.models.postprocess import DETECTIONS, OVERLAP, suppress
from proxy_tasks.models.retinanet import RetinaNet
from search_space import MaskRCNNHead, Scale, published_spec
from search_space.heads import RoIConfig
from tests.proxy_tasks.small_networks import SMALL, small_network, sure_retinanet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(autouse=True)
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both formats hold the same program of the one network of a test, and tracing it takes seconds."""
    trace, programs = torch.export.export, list[Any]()

    def trace_once(net: torch.nn.Module, *arguments: Any, **more: Any) -> Any:
        if not programs:
            programs.append(trace(net, *arguments, **more))
        return programs[0]

    monkeypatch.setattr(torch.export, "export", trace_once)


SPECS = {"spinenet-49": published_spec("spinenet-49"), "small": SMALL}


def trained(name: str) -> RetinaNet:
    return sure_retinanet(spec=SPECS[name])[1]


@pytest.mark.parametrize(("name", "size"), [("spinenet-49", 128), ("small", 192)])
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
        assert_same_objects(
            np.column_stack([scores, labels, boxes])[here],
            np.column_stack([wanted["scores"], wanted["labels"], wanted["boxes"]]),
        )


def crowd(classes: int, size: int) -> tuple[Candidates, list[Prediction]]:
    """Small boxes of two images that overlap by about a half, and those that are left of them."""
    torch.manual_seed(0)
    corner = torch.rand(2, 300, 2).mul(size - 20)
    first = torch.cat([corner, corner + 8 + 6 * torch.rand(2, 300, 2)], -1)
    boxes = torch.cat([first, first + torch.tensor([2.5, 1.5, 2.5, 1.5]) * torch.rand(2, 300, 1)], 1)
    labels = torch.randint(classes, (2, 300)).repeat(1, 2)
    scores, order = (0.1 + 0.9 * torch.rand(2, 600)).sort(1, descending=True)
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    found = (boxes, scores, labels.gather(1, order))
    return found, suppress(found)


@pytest.mark.parametrize("classes", [3, 40, 1203])
def test_boxes_of_many_classes_are_suppressed_as_in_the_network(tmp_path: Path, classes: int) -> None:
    (boxes, scores, labels), wanted = crowd(classes, 1024)
    at, best = suppress_fixed(boxes, scores, labels, overlap=OVERLAP, count=DETECTIONS, apart=1025.0)
    for number, found in enumerate(wanted):
        torch.testing.assert_close(best[number], found["scores"])
        torch.testing.assert_close(boxes[number, at[number]], found["boxes"])
    kinds = {
        "boxes": onnx.TensorProto.FLOAT,
        "scores": onnx.TensorProto.FLOAT,
        "labels": onnx.TensorProto.INT64,
    }
    values = {"boxes": boxes, "scores": scores, "labels": labels}
    describe = onnx.helper.make_tensor_value_info
    given = [describe(f"{name}_in", kind, list(values[name].shape)) for name, kind in kinds.items()]
    made = [describe(name, kind, list(values[name].shape)) for name, kind in kinds.items()]
    same = [onnx.helper.make_node("Identity", [f"{name}_in"], [name]) for name in kinds]
    graph = onnx.helper.make_graph(same, "candidates", given, made)
    _add_suppression(graph, 1024)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    image, *rows = session.run(None, {f"{name}_in": value.numpy() for name, value in values.items()})
    for number, found in enumerate(wanted):
        order = np.argsort(-rows[1][image == number], kind="stable")
        for row, name in zip(rows, ("boxes", "scores", "labels"), strict=True):
            np.testing.assert_array_equal(row[image == number][order], found[name].numpy())


def test_a_missing_package_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trace(*_: object, **__: object) -> None:
        raise AssertionError("a network is traced in vain")

    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(torch.export, "export", trace)
    with pytest.raises(ExportError, match=r"pip install onnx onnxruntime onnxscript, or"):
        export_model(trained("small"), 64, tmp_path / "x.onnx", "onnx", postprocess=False)
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


def trained_mask_rcnn() -> MaskRCNN:
    """One that finds objects."""
    torch.manual_seed(1)
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
    head = MaskRCNNHead(rois=RoIConfig(proposals_test=60, detections_per_image=20))
    net = small_network(head, 3, scale=scale)
    assert isinstance(net, MaskRCNN)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                module.running_mean.normal_(std=0.2)  # type: ignore[union-attr]
        net.proposals.head.scores.weight.normal_(std=0.5)
        net.proposals.head.offsets.weight.normal_(std=0.1)
        net.heads.box_predictor.cls_score.weight.normal_(std=0.3)
        net.heads.box_predictor.bbox_pred.weight.normal_(std=0.02)
        net.heads.mask_predictor[-1].weight.normal_(std=0.5)
    return net.eval()


def rows_of(boxes: Any, scores: Any, labels: Any, masks: Any) -> NDArray[np.float64]:
    """One row for each object, in which masks count as much as all else together."""
    flat = np.asarray(masks).reshape(len(scores), 28 * 28)
    return np.column_stack([np.asarray(scores), np.asarray(labels), np.asarray(boxes), flat])


def assert_same_objects(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> None:
    """Equal scores may stand in another order, so every object looks for its like."""
    assert len(found) == len(wanted)
    if len(wanted):
        apart = abs(found[:, None] - wanted[None]).max(2)
        assert apart.min(0).max() < 1e-2
        assert apart.min(1).max() < 1e-2


def test_an_exported_mask_rcnn_finds_what_the_network_finds(tmp_path: Path) -> None:
    """At a size that is no multiple of all strides, where features are rounded up."""
    net, size = trained_mask_rcnn(), 96
    batches = [torch.randn(n, 3, size, size) * torch.linspace(0.2, 2, n)[:, None, None, None] for n in (1, 3)]
    with torch.no_grad():
        scores = np.sort(np.concatenate([found["scores"] for images in batches for found in net(images)]))
    gaps = np.diff(scores)[len(scores) // 4 : -len(scores) // 4]
    at = int(gaps.argmax()) + len(scores) // 4
    net.heads.score_thresh = float(
        scores[at : at + 2].mean()
    )  # Far from every score, so that none is in doubt.
    fresh = copy.deepcopy(net)
    for pool in (net.heads.box_roi_pool, net.heads.mask_roi_pool):
        pool.scales = pool.map_levels = None
    with torch.no_grad():
        net(torch.zeros(1, 3, 160, 160))  # torchvision keeps the scales of the first size; a copy must not.
    export_model(net, size, tmp_path / "m.onnx", "onnx", True, [(1, "cat"), (2, "dog"), (3, "cow")])
    export_model(net, size, tmp_path / "m.pt2", "torch", True)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    program = torch.export.load(str(tmp_path / "m.pt2")).module()
    names = [output.name for output in session.get_outputs()]
    assert names == [f"detected_{name}" for name in ("image", "boxes", "scores", "labels", "masks")]
    counts = []
    for images in batches:
        with torch.no_grad():
            expected, fixed = fresh(images), program(images)
        rows = dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))
        for number, wanted in enumerate(expected):
            ours = rows_of(wanted["boxes"], wanted["scores"], wanted["labels"], wanted["masks"])
            counts.append(len(ours))
            here = rows["detected_image"] == number
            assert_same_objects(rows_of(*(rows[name][here] for name in names[1:])), ours)
            there = fixed[1][number] > 0
            assert_same_objects(rows_of(*(output[number][there] for output in fixed)), ours)
    assert 3 < sum(counts) < 20 * len(counts), "some places of the fixed outputs are empty"


def test_what_an_export_cannot_give_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"a MaskRCNN has no raw outputs.* export it without --raw"):
        export_model(small_network("mask-rcnn").eval(), 64, tmp_path / "m.onnx", "onnx", postprocess=False)
    with pytest.raises(ExportError, match="a Linear cannot be exported"):
        export_model(torch.nn.Linear(1, 1).eval(), 64, tmp_path / "m.onnx", "onnx", postprocess=True)
    assert not list(tmp_path.iterdir())
