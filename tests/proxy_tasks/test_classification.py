"""Classification: layouts of labelled images, the head, learning, and backbones that move between tasks."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from nas.config import load_task
from proxy_tasks.batches import Augmentation
from proxy_tasks.classification import ClassificationTask
from proxy_tasks.classifier import pooled_pyramid
from proxy_tasks.coco import DataError
from proxy_tasks.data import DetectionData
from proxy_tasks.detection import DetectionTask
from proxy_tasks.labelled_images import LabelledImages, read_labelled
from proxy_tasks.models import Model, ModelError, build_model, load_model, save_model
from proxy_tasks.shapes import ShapesSpec, make_labelled_shapes, make_shapes
from proxy_tasks.testing import check_task
from proxy_tasks.training import Plan
from search_space import SCALES, Scale, published_spec, spec_cost

SPEC = published_spec("spinenet-49")
TINY = Scale(0.125, 0.5, 16, head_filters=16, head_convs=1)
PLAN = Plan(steps=6, batch=4, canvas=64, learning_rate=0.02, augmentation=Augmentation(0.8, 1.2))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_labelled_shapes(tmp_path_factory.mktemp("labelled") / "set", ShapesSpec(20, 10, 64))


def task(root: Path) -> ClassificationTask:
    data = LabelledImages(str(root), str(root.parent / "cache"))
    return ClassificationTask(TINY, PLAN, data, evaluations=2, device="cpu")


@pytest.mark.slow
def test_the_task_keeps_the_contract(root: Path, tmp_path: Path) -> None:
    check_task(task(root), SPEC, tmp_path)


def test_folders_and_inaturalists_annotations_say_the_same(root: Path, tmp_path: Path) -> None:
    folders = read_labelled(root, "train")
    assert folders.category_names == ("cross", "disc", "marked-square", "square", "triangle")
    assert np.bincount(folders.labels).tolist() == [4] * 5
    images = [{"id": i + 10, "file_name": name} for i, name in enumerate(folders.file_names)]
    annotations = [
        {"id": i, "image_id": i + 10, "category_id": int(label) * 3 + 1}
        for i, label in enumerate(folders.labels)
    ]
    categories = [{"id": i * 3 + 1, "name": name} for i, name in enumerate(folders.category_names)]
    for name in ("train", "val"):
        (tmp_path / name).symlink_to(root / name)
    data = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "train2017.json").write_text(json.dumps(data))
    found = read_labelled(tmp_path, "train")
    assert found.file_names == folders.file_names
    assert found.labels.tolist() == folders.labels.tolist()
    assert found.category_ids.tolist() == [1, 4, 7, 10, 13]
    np.testing.assert_array_equal(found.boxes, folders.boxes)


def test_what_is_no_set_of_labelled_images_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_labelled(tmp_path / "absent", "train")
    with pytest.raises(DataError, match="neither train/<class>/ with images nor"):
        read_labelled(tmp_path, "train")
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "x.png").write_text("no image")
    with pytest.raises(DataError, match="no usable image"):
        read_labelled(tmp_path, "train")
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(DataError, match="no annotations of labelled images"):
        read_labelled(tmp_path, "train")


@pytest.mark.parametrize("sizes", [(16, 8, 4, 2, 1), (28, 14, 7, 4, 2)])
def test_the_head_is_the_papers(sizes: tuple[int, ...]) -> None:
    """A fifth of the sum of all levels upsampled to P3, then the mean over places."""
    pyramid = OrderedDict((f"P{k}", torch.randn(2, 6, s, s)) for k, s in enumerate(sizes, start=3))
    upsampled = [F.interpolate(x, sizes[0], mode="nearest") for x in pyramid.values()]
    expected = (torch.stack(upsampled).sum(0) / 5).mean((2, 3))
    torch.testing.assert_close(pooled_pyramid(pyramid), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "params"), [("49", 22_088_745), ("96", 36_520_233), ("143", 60_504_873), ("190", 127_101_177)]
)
def test_parameters_of_the_published_classifiers_are_exact(scale: str, params: int) -> None:
    with torch.device("meta"):
        net = build_model(Model("classifier", SPEC, SCALES[scale], tuple((i, "") for i in range(1001)), 224))
    assert sum(p.numel() for p in net.parameters()) == params
    assert spec_cost(SPEC, SCALES[scale], 224, "classifier", 1001).params == params


@pytest.mark.slow
def test_a_short_training_tells_the_shapes_apart(tmp_path: Path) -> None:
    root = make_labelled_shapes(tmp_path / "set", ShapesSpec(800, 200, 64))
    learner = load_task("classification", f"data.root={root}", f"data.cache={tmp_path}", "device=cpu")
    score = learner.evaluate(SPEC, 0.75, 0, lambda *_: None, None)
    assert score.reward >= 0.8  # Six classes: chance is a sixth.
    assert score.metrics["top5"] >= 0.99


def test_a_backbone_moves_from_detection_to_classification_and_back(root: Path, tmp_path: Path) -> None:
    detection_root = make_shapes(tmp_path / "shapes", ShapesSpec(train=8, val=4, size=64))
    data = DetectionData(str(detection_root), str(tmp_path / "cache"))
    detection = DetectionTask(TINY, replace(PLAN, steps=1), data, device="cpu")
    classification = replace(task(root), plan=replace(PLAN, steps=1, learning_rate=0.0), evaluations=1)
    for source, target in ((detection, classification), (classification, detection)):
        model = source.model(SPEC, source.categories())
        torch.manual_seed(7)
        net = build_model(model)
        path = tmp_path / f"{model.kind}.safetensors"
        save_model(path, model, net, {})
        still = replace(target, plan=replace(target.plan, learning_rate=0.0))
        kept: list[torch.nn.Module] = []

        def keep(trained: torch.nn.Module, *_: object, kept: list[torch.nn.Module] = kept) -> None:
            kept.append(trained)

        still.fit(SPEC, 1.0, 0, lambda *_: None, None, keep, weights=path)
        for (name, a), b in zip(
            net.backbone.named_parameters(),  # type: ignore[union-attr]
            kept[0].backbone.parameters(),  # type: ignore[union-attr]
            strict=True,
        ):
            assert torch.equal(a, b), name


def test_a_backbone_of_another_spec_or_scale_is_refused(root: Path, tmp_path: Path) -> None:
    ours = task(root)
    path = tmp_path / "m.safetensors"
    other = replace(ours, scale=replace(TINY, alpha=0.25))
    model = other.model(SPEC, ours.categories())
    save_model(path, model, build_model(model), {})
    with pytest.raises(ModelError, match=r"another scale: alpha 0.25 instead of 0.5"):
        ours.fit(SPEC, 1.0, 0, lambda *_: None, None, weights=path)
    model = ours.model(published_spec("r0-sp53"), ours.categories())
    save_model(path, model, build_model(model), {})
    with pytest.raises(ModelError, match="its backbone has another spec"):
        ours.fit(SPEC, 1.0, 0, lambda *_: None, None, weights=path)
    assert load_model(path)[0] == model
