"""Classification: layouts of labeled images, the head, learning, and backbones that move between tasks."""

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
from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.batches import Batches
from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.image_folder import LabeledImages, LabeledReader
from proxy_tasks.data.shapes import ShapesConfig, make_labeled_shapes, make_shapes
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.evaluation.evaluators import LabelEvaluator
from proxy_tasks.models.classifier import pool_pyramid
from proxy_tasks.models.model import ModelError, build_model
from proxy_tasks.models.model_file import load_model, save_model
from proxy_tasks.task import Score
from proxy_tasks.testing import check_task
from proxy_tasks.training_task import TrainingTask
from search_space import SCALES, ClassifierHead, NormConfig, RetinaNetHead, Scale, published_spec, spec_cost
from tests.proxy_tasks.learning import train_until
from tests.proxy_tasks.small_networks import SMALL, small_network

TINY = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
PLAN = TrainConfig(
    steps=6, batch=4, image_size=64, learning_rate=0.02, augmentation=Augmentation(low=0.8, high=1.2)
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_labeled_shapes(
        tmp_path_factory.mktemp("labeled") / "set", ShapesConfig(train=20, val=10, size=64)
    )


def task(root: Path) -> TrainingTask:
    return TrainingTask(
        scale=TINY,
        train=PLAN,
        data=LabeledImages(str(root), str(root.parent / "cache")),
        head=ClassifierHead(),
        norm=NormConfig(momentum=0.05),
        evaluations=2,
        device="cpu",
    )


@pytest.mark.slow
def test_the_task_keeps_the_contract(root: Path, tmp_path: Path) -> None:
    check_task(task(root), SMALL, tmp_path)


def test_folders_and_inaturalists_annotations_say_the_same(root: Path, tmp_path: Path) -> None:
    folders = LabeledReader().read(root, "train")
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
    found = LabeledReader().read(tmp_path, "train")
    assert found.file_names == folders.file_names
    assert found.labels.tolist() == folders.labels.tolist()
    assert found.category_ids.tolist() == [1, 4, 7, 10, 13]
    np.testing.assert_array_equal(found.boxes, folders.boxes)


def test_what_is_no_set_of_labeled_images_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        LabeledReader().read(tmp_path / "absent", "train")
    with pytest.raises(DataError, match="neither train/<class>/ with images nor"):
        LabeledReader().read(tmp_path, "train")
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "x.png").write_text("no image")
    with pytest.raises(DataError, match="no usable image"):
        LabeledReader().read(tmp_path, "train")
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(DataError, match="no annotations of labeled images"):
        LabeledReader().read(tmp_path, "train")


@pytest.mark.parametrize("sizes", [(16, 8, 4, 2, 1), (28, 14, 7, 4, 2)])
def test_the_head_is_the_papers(sizes: tuple[int, ...]) -> None:
    """A fifth of the sum of all levels upsampled to P3, then the mean over places."""
    pyramid = OrderedDict((f"P{k}", torch.randn(2, 6, s, s)) for k, s in enumerate(sizes, start=3))
    upsampled = [F.interpolate(x, sizes[0], mode="nearest") for x in pyramid.values()]
    expected = (torch.stack(upsampled).sum(0) / 5).mean((2, 3))
    torch.testing.assert_close(pool_pyramid(pyramid), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "params"), [("49", 22_088_745), ("96", 36_520_233), ("143", 60_504_873), ("190", 127_101_177)]
)
def test_parameters_of_the_published_classifiers_are_exact(scale: str, params: int) -> None:
    spec = published_spec("spinenet-49")
    with torch.device("meta"):
        net = small_network("classifier", 1001, spec=spec, scale=SCALES[scale])
    assert sum(p.numel() for p in net.parameters()) == params
    assert spec_cost(spec, SCALES[scale], 224, "classifier", 1001).params == params


@pytest.mark.slow
def test_a_short_training_tells_the_shapes_apart(tmp_path: Path) -> None:
    root = make_labeled_shapes(tmp_path / "set", ShapesConfig(train=800, val=200, size=64))
    words = (f"data.root={root}", f"data.cache={tmp_path}", "device=cpu", "evaluations=5")

    def learned(score: Score) -> bool:  # Six classes: chance is a sixth.
        return score.reward >= 0.8 and score.metrics["top5"] >= 0.99

    assert learned(train_until(learned, load_task("classification", *words), SMALL, 0.75)[-1])


def test_a_backbone_moves_from_detection_to_classification_and_back(root: Path, tmp_path: Path) -> None:
    detection_root = make_shapes(tmp_path / "shapes", ShapesConfig(train=8, val=4, size=64))
    data = DetectionData(str(detection_root), str(tmp_path / "cache"))
    config = replace(PLAN, steps=1)
    detection = TrainingTask(head=RetinaNetHead(), scale=TINY, train=config, data=data, device="cpu")
    classification = replace(task(root), train=replace(PLAN, steps=1, learning_rate=0.0), evaluations=1)
    for source, target in ((detection, classification), (classification, detection)):
        model = source.model(SMALL, source.categories())
        torch.manual_seed(7)
        net = build_model(model)
        path = tmp_path / f"{model.head.name}.safetensors"
        save_model(path, model, net, {})
        still = replace(target, train=replace(target.train, learning_rate=0.0))
        kept: list[torch.nn.Module] = []

        def keep(net: torch.nn.Module, step: int, score: Score, kept: list[torch.nn.Module] = kept) -> None:
            kept.append(net)

        still.fit(SMALL, 1.0, 0, lambda *_: None, None, on_evaluation=keep, weights=path)
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
    model = other.model(SMALL, ours.categories())
    save_model(path, model, build_model(model), {})
    with pytest.raises(ModelError, match=r"another scale: alpha 0.25 instead of 0.5"):
        ours.fit(SMALL, 1.0, 0, lambda *_: None, None, weights=path)
    model = ours.model(published_spec("r0-sp53"), ours.categories())
    save_model(path, model, build_model(model), {})
    with pytest.raises(ModelError, match="its backbone has another spec"):
        ours.fit(SMALL, 1.0, 0, lambda *_: None, None, weights=path)
    assert load_model(path)[0] == model


def test_images_with_boxes_are_no_labeled_images(tmp_path: Path) -> None:
    root = make_shapes(tmp_path / "shapes", ShapesConfig(train=8, val=4, size=64))
    data = DetectionData(str(root), str(tmp_path / "cache"))
    wrong = TrainingTask(head=ClassifierHead(), scale=TINY, train=PLAN, data=data, device="cpu")
    with pytest.raises(DataError, match="a classifier needs images with one label each"):
        wrong.check()


def test_the_loss_is_cross_entropy_and_leaves_out_images_without_a_label() -> None:
    net = small_network(ClassifierHead(label_smoothing=0.1), classes=4).train()
    images = torch.randn(3, 3, 64, 64)
    logits = net.outputs(images)["logits"]  # type: ignore[operator]
    labels = torch.tensor([2, 0])
    targets = [{"labels": labels[:1]}, {"labels": labels[1:]}, {"labels": torch.zeros(0, dtype=torch.int64)}]
    smooth = torch.full((2, 4), 0.1 / 4)
    smooth[[0, 1], labels] += 0.9
    expected = -(smooth * logits[:2].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(net(images, targets)["classes"], expected)


def test_shares_of_right_answers_are_counted(root: Path) -> None:
    """A network that always orders the classes in the same way; the shares follow from the labels."""

    class Constant(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
            return [{"scores": torch.tensor([0.1, 0.4, 0.2, 0.2, 0.1, 0.0])[:5]} for _ in images]

    _, validation = LabeledImages(str(root), str(root.parent / "cache")).caches(64)
    metrics = LabelEvaluator().measure(Constant(), Batches(validation, 64, torch.device("cpu")), batch=3)
    share = float((validation.split.labels == 1).mean())
    assert metrics == {"top1": pytest.approx(share), "top5": 1.0}
    assert 0 < share < 1


def test_a_batch_without_any_label_teaches_nothing() -> None:
    """Such as one of a single image that is thinner than a pixel."""
    net = small_network("classifier", 3, size=64).train()
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    loss = net(torch.randn(2, 3, 64, 64), [none, none])["classes"]
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())
