"""Mask R-CNN: published sizes, masks that go where the boxes go, AP of masks by pycocotools, learning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

from nas.config import load_task
from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.batches import Batches
from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.image_folder import LabeledImages
from proxy_tasks.data.pixel_cache import open_cache
from proxy_tasks.data.readers import inspect_split, read_split
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.evaluation.coco_eval import mask_metrics
from proxy_tasks.evaluation.evaluators import MaskEvaluator, encode_masks
from proxy_tasks.evaluation.inference import evaluate_model, predict
from proxy_tasks.models.model import build_model, model_cost
from proxy_tasks.models.model_file import load_model, save_model
from proxy_tasks.task import Score
from proxy_tasks.testing import check_task
from proxy_tasks.training_task import TrainingTask
from search_space import SCALES, MaskRCNNHead, NormConfig, Scale, published_spec, spec_cost
from search_space.heads import RoIConfig
from search_space.resnet_fpn.spec import R50FPNSpec
from tests.proxy_tasks.learning import train_until
from tests.proxy_tasks.small_data import box, entry, write_set
from tests.proxy_tasks.small_networks import SMALL, small_model, small_network

SPEC = published_spec("spinenet-49")
CPU = torch.device("cpu")
TINY = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
PLAN = TrainConfig(
    steps=4, batch=4, image_size=64, learning_rate=0.02, augmentation=Augmentation(low=0.8, high=1.2)
)
FEW = RoIConfig(proposals_train=40, proposals_test=20, batch_size_per_image=16)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("masks") / "set", ShapesConfig(train=16, val=6, size=64))


def task(root: Path) -> TrainingTask:
    return TrainingTask(
        scale=TINY,
        train=PLAN,
        data=DetectionData(str(root), str(root.parent / "cache")),
        head=MaskRCNNHead(rois=FEW),
        norm=NormConfig(momentum=0.05),
        evaluations=2,
        device="cpu",
    )


@pytest.mark.parametrize(
    ("scale", "size", "params", "macs", "within"),
    [
        # Facts of the paper and the zoo in millions and billions; the zoo's profiler counts a little more.
        ("49S", 640, 13.9, 60.2, 0.01),
        ("49", 640, 40.8, 215.7, 0.002),
        ("96", 1024, 55.2, 314.6, 0.002),
        ("143", 1280, 79.2, 498.4, 0.002),
        ("190", 1536, 168.2, 1685.7, 0.002),
    ],
)
def test_published_sizes(scale: str, size: int, params: float, macs: float, within: float) -> None:
    model = small_model("mask-rcnn", 90, size, spec=SPEC, scale=SCALES[scale])
    with torch.device("meta"):
        net = build_model(model)
    cost = spec_cost(SPEC, SCALES[scale], size, "mask-rcnn", 90)
    assert sum(p.numel() for p in net.parameters()) == cost.params == model_cost(model)[0]
    assert round(cost.params / 1e6, 1) == params
    assert cost.macs / 1e9 == pytest.approx(macs, rel=within)


def test_multiply_adds_are_those_of_the_layers_that_run() -> None:
    """With as many regions as the cost counts, every convolution and linear layer is counted as it runs."""
    model = small_model("mask-rcnn", 2, spec=R50FPNSpec(width=0.125), scale=TINY)
    net = build_model(model).eval()
    counted = 0

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor], out: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(module, torch.nn.ConvTranspose2d):
            counted += module.weight.numel() * inputs[0].shape[0] * inputs[0].shape[2] * inputs[0].shape[3]
        elif isinstance(module, torch.nn.Conv2d):
            counted += module.weight.numel() * out.shape[0] * out.shape[2] * out.shape[3]
        elif isinstance(module, torch.nn.Linear):
            counted += module.weight.numel() * out.shape[0]

    for module in net.modules():
        module.register_forward_hook(count)
    features = net.backbone(torch.zeros(1, 3, 128, 128))  # type: ignore[operator]
    net.proposals.head(list(features.values()))  # type: ignore[operator, union-attr]
    heads = net.heads
    heads.box_predictor(heads.box_head(torch.zeros(1000, 16, 7, 7)))  # type: ignore[operator, union-attr]
    heads.mask_predictor(heads.mask_head(torch.zeros(100, 16, 14, 14)))  # type: ignore[operator, union-attr]
    assert counted == model_cost(model)[1]


def test_masks_go_where_boxes_go(root: Path, tmp_path: Path) -> None:
    pack = open_cache(read_split(root, "train", masks=True), 64, tmp_path)
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(4):
        batch = Batches(pack, 96, CPU).training(
            np.arange(16), Augmentation(low=0.5, high=2.0), rng.random((16, 4))
        )
        for target in batch.targets:
            boxes, labels, masks = target["boxes"], target["labels"], target["masks"]
            assert masks.shape == (len(boxes), 96, 96) == (len(labels), 96, 96)
            for (x0, y0, x1, y1), mask in zip(boxes.tolist(), masks, strict=True):
                rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
                if (x1 - x0) < 6 or (y1 - y0) < 6 or min(x0, y0) <= 0 or max(x1, y1) >= 96:
                    continue
                seen += 1
                found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                assert [float(f) for f in found] == pytest.approx([x0, y0, x1, y1], abs=2.1)
    assert seen > 25


def test_masks_of_a_large_image_are_decoded_a_few_at_a_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = open_cache(read_split(root, "train", masks=True), 64, tmp_path)
    noise = np.random.default_rng(1).random((16, 4))

    def masks() -> tuple[torch.Tensor, ...]:
        return Batches(pack, 96, CPU).training(np.arange(16), Augmentation(), noise).targets.masks

    whole = masks()
    monkeypatch.setattr("proxy_tasks.data.batches.MASK_PIXELS", 1)
    assert max(map(len, whole)) > 1
    assert all(map(torch.equal, whole, masks()))


def test_perfect_masks_have_an_ap_of_one_and_shifted_ones_do_not(root: Path) -> None:
    split = read_split(root, "val", masks=True)
    perfect = []
    for i in range(len(split)):
        here = split.boxes_of(i)
        perfect.append((i, list(split.masks[here]), np.ones(here.stop - here.start), split.labels[here]))
    assert mask_metrics(split, perfect)["AP"] == pytest.approx(1.0)
    moved = []
    for i, masks, scores, labels in perfect:
        arrays = np.roll(coco_mask.decode(masks), 12, axis=1)
        moved.append(
            (
                i,
                [coco_mask.encode(np.asfortranarray(arrays[..., k])) for k in range(len(masks))],
                scores,
                labels,
            )
        )
    assert mask_metrics(split, moved)["AP"] < 0.3


def test_pasted_masks_fill_their_boxes() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 50], [0, 0, 60, 8]])
    arrays = coco_mask.decode(encode_masks(torch.ones(2, 1, 28, 28), boxes, 64, 64))
    for box_of, array in zip(boxes.tolist(), arrays.transpose(2, 0, 1), strict=True):
        area = (box_of[2] - box_of[0]) * (box_of[3] - box_of[1])
        assert array.sum() == pytest.approx(area, rel=0.25)


def test_a_mask_has_the_code_that_it_has_in_the_whole_image() -> None:
    """Also where its box lies at an edge, covers the image, is thin or is smaller than a pixel."""
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 5), (64, 48), (120, 333)):
        corners = rng.uniform(-0.1, 1.1, (40, 2, 2)).clip(0, 1) * [width, height]
        boxes = torch.tensor(np.concatenate([corners.min(1), corners.max(1)], 1), dtype=torch.float32)
        boxes[0] = torch.tensor([0, 0, width, height])
        masks = torch.tensor(rng.random((40, 1, 28, 28)), dtype=torch.float32)
        masks[1:20:3], masks[2:20:3] = 1.0, 0.0
        for mask, box_of, code in zip(masks, boxes, encode_masks(masks, boxes, height, width), strict=True):
            whole = np.zeros((height, width), np.uint8)
            if box_of[0] < width and box_of[1] < height:
                whole = paste_masks_in_image(mask[None], box_of[None], (height, width))[0, 0].numpy() >= 0.5
            assert code == coco_mask.encode(np.asfortranarray(whole, np.uint8))


@pytest.mark.parametrize("size", [64, 128, 200, 300])
def test_anchors_stand_where_their_features_do(size: int) -> None:
    net: Any = small_network(MaskRCNNHead())
    images = torch.zeros(2, 3, size, size)
    features = list(net.backbone(images).values())
    anchors = net.proposals.anchor_generator(ImageList(images, [(size, size)] * 2), features)
    assert len(anchors) == 2
    centers = (anchors[0][:, :2] + anchors[0][:, 2:]) / 2
    wanted = []
    for level, feature in zip(net.backbone.levels, features, strict=True):
        at = torch.arange(feature.shape[-1]) * 2.0**level
        wanted.append(
            torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).reshape(-1, 1, 2).expand(-1, 3, 2)
        )
    torch.testing.assert_close(centers, torch.cat(wanted).flatten(0, 1))


def test_polygons_and_run_lengths_are_read_and_what_is_neither_is_a_fault(tmp_path: Path) -> None:
    polygon = [[5, 5, 15, 5, 15, 15, 5, 15]]
    plain = {"size": [30, 40], "counts": [100, 20, 1080]}
    annotations = [
        box(1, 1, [5, 5, 10, 10], segmentation=polygon),
        box(2, 1, [3, 10, 1, 20], segmentation=plain),
        box(3, 1, [5, 5, 10, 10], segmentation=[[1, 2]]),
        box(4, 1, [5, 5, 10, 10]),
        box(5, 1, [5, 5, 10, 10], segmentation={"size": [3, 4], "counts": "xx"}),
    ]
    write_set(tmp_path, [entry(1)], annotations)
    split, faults = inspect_split(tmp_path, "train", masks=True)
    assert len(split.masks) == len(split.boxes) == 2
    assert [int(coco_mask.area(mask)) for mask in split.masks] == [100, 20]
    told = [fault.what for fault in faults if fault.skipped == "the object"]
    assert told == [
        "segmentation has no polygon of three corners or more",
        "has no segmentation",
        "run lengths are of size [3, 4], but the image's height and width are 30 and 40",
    ]
    assert len(read_split(tmp_path, "train").boxes) == 5, "without masks every box counts"


@pytest.mark.slow
def test_the_task_keeps_the_contract(root: Path, tmp_path: Path) -> None:
    check_task(task(root), SMALL, tmp_path)


def test_the_head_asks_the_data_for_masks_and_data_without_them_is_refused(root: Path) -> None:
    data = task(root).data
    assert isinstance(data, DetectionData)
    assert data.masks
    with pytest.raises(ValueError, match="learns masks, which LabeledImages does not give"):
        replace(task(root), data=LabeledImages(str(root)))
    with pytest.raises(DataError, match="the data has no masks"):
        MaskEvaluator().check(read_split(root, "train"))


def test_labels_are_counted_from_zero_at_both_ends() -> None:
    """In training the last class is reached; in evaluation the first one is given back as 0."""
    net = small_network(MaskRCNNHead(rois=FEW), classes=2, scale=TINY)
    target = {
        "boxes": torch.tensor([[10.0, 10, 60, 60]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 128, 128, dtype=torch.uint8),
    }
    losses = net.train()(torch.randn(2, 3, 128, 128), [target, target])
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())
    assert len(losses) == 5
    bias = net.heads.box_predictor.cls_score.bias  # type: ignore[union-attr]
    with torch.no_grad():
        bias.copy_(torch.tensor([-5.0, 5.0, -5.0]))  # type: ignore[operator]
        predictions = net.eval()(torch.randn(2, 3, 128, 128))
    for prediction in predictions:
        assert len(prediction["labels"]) > 0
        assert set(prediction["labels"].tolist()) == {0}
        assert prediction["masks"].shape == (len(prediction["boxes"]), 1, 28, 28)


def test_a_model_file_gives_back_metrics_and_finds_masks(root: Path, tmp_path: Path) -> None:
    ours = task(root)
    model = ours.model(SMALL, ours.categories())
    torch.manual_seed(0)
    save_model(tmp_path / "m.safetensors", model, build_model(model), {})
    loaded, net, _ = load_model(tmp_path / "m.safetensors")
    assert loaded == model
    metrics = evaluate_model(loaded, net, root, "val", tmp_path, 4, CPU)
    assert {"AP", "mask_AP", "mask_AR100"} <= metrics.keys()
    image = sorted((root / "images" / "val").iterdir())[0]
    ((_, prediction),) = predict(loaded, net, [image], 0.0, CPU)
    assert not isinstance(prediction, str)
    assert len(prediction.masks) == len(prediction.scores)
    assert all(mask["size"] == [64, 64] for mask in prediction.masks)
    data = json.loads((root / "annotations" / "instances_val.json").read_text())
    for annotation in data["annotations"]:
        del annotation["segmentation"]
    (root.parent / "bare").mkdir(exist_ok=True)
    bare = root.parent / "bare"
    (bare / "annotations").mkdir(exist_ok=True)
    (bare / "annotations" / "instances_val.json").write_text(json.dumps(data))
    if not (bare / "images").exists():
        (bare / "images").symlink_to(root / "images")
    with pytest.raises(DataError):
        evaluate_model(replace(loaded, categories=((1, "x"),)), net, bare, "val", tmp_path, 4, CPU)


@pytest.mark.slow
def test_boxes_and_masks_are_learned(tmp_path: Path) -> None:
    """A few images by heart: what is found there are the objects."""
    root = make_shapes(tmp_path / "set", ShapesConfig(train=8, val=8, size=64))
    (root / "annotations" / "instances_val.json").write_bytes(
        (root / "annotations" / "instances_train.json").read_bytes()
    )
    for path in (root / "images" / "train").iterdir():
        (root / "images" / "val" / path.name).write_bytes(path.read_bytes())
    words = (
        f"data.root={root}",
        f"data.cache={tmp_path}",
        "device=cpu",
        "train.image_size=64",
        "train.steps=120",
        "evaluations=12",
    )

    def learned(score: Score) -> bool:
        return score.reward > 0.3 and score.metrics["mask_AP"] > 0.2

    assert learned(train_until(learned, load_task("mask-rcnn-cpu", *words), SMALL)[-1])


def test_an_object_in_the_padding_has_an_empty_mask() -> None:
    boxes = torch.tensor([[2.0, 2, 9, 9], [2, 25, 9, 40], [25, 2, 60, 9], [2, 19.9, 9, 40], [2, 20, 9, 40]])
    codes = encode_masks(torch.ones(5, 1, 28, 28), boxes, 20, 24)
    areas = [int(area) for area in coco_mask.area(codes)]
    assert areas[0] > 40
    assert areas[1] == areas[2] == areas[4] == 0
    assert [code["size"] for code in codes] == [[20, 24]] * 5
