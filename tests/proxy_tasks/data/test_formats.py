"""A set in COCO's, YOLO's and Pascal VOC's format is the same set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from proxy_tasks.data.dataset import SPLITS, DataError, DetectionDataset, held_out
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.readers import ALL_READERS, find_reader, inspect_split, read_split
from proxy_tasks.data.shapes import ShapesConfig, make_labeled_shapes, make_shapes
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.task import Score
from proxy_tasks.training_task import TrainingTask
from search_space import Scale, published_spec
from tests.proxy_tasks.small_data import (
    box,
    entry,
    plain_boxes,
    real_root,
    voc_annotation,
    voc_object,
    write_set,
    write_voc,
    write_yolo,
)

FIELDS = ("image_ids", "sizes", "boxes", "labels", "crowd", "areas", "image_index", "category_ids")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One generated set in every format, by the format's name."""
    folder = tmp_path_factory.mktemp("formats")
    shapes = make_shapes(folder / "shapes", ShapesConfig(train=10, val=5, size=64, seed=5))
    coco = plain_boxes(shapes, folder / "coco")
    return {
        "COCO": coco,
        "YOLO": write_yolo(coco, folder / "yolo"),
        "Pascal VOC": write_voc(coco, folder / "voc"),
    }


def assert_same(one: DetectionDataset, other: DetectionDataset) -> None:
    """Field by field, to the last bit."""
    for name in FIELDS:
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == theirs.dtype, name
        assert np.array_equal(ours, theirs), name
    assert one.file_names == other.file_names
    assert one.category_names == other.category_names
    assert one.masks == other.masks


def test_every_format_is_recognized_by_one_reader_alone(roots: dict[str, Path], tmp_path: Path) -> None:
    labeled = make_labeled_shapes(tmp_path / "labeled", ShapesConfig(train=5, val=5, size=32))
    for name, root in (*roots.items(), ("labeled images", labeled)):
        assert [reader.name for reader in ALL_READERS if reader.recognizes(root)] == [name]


@pytest.mark.parametrize("name", ["YOLO", "Pascal VOC"])
def test_a_copy_in_another_format_is_the_same_dataset(roots: dict[str, Path], name: str) -> None:
    for split in SPLITS:
        ours, faults = inspect_split(roots[name], split)
        assert [fault for fault in faults if fault.skipped != "nothing"] == []
        theirs = read_split(roots["COCO"], split)
        assert len(theirs.boxes) > 10
        assert_same(ours, theirs)


def test_the_order_does_not_depend_on_ids(tmp_path: Path) -> None:
    """COCO's ids run against the file names here, and a copy has no ids at all."""
    images = [entry(number) | {"id": 50 - number} for number in (1, 2, 3, 4, 10, 11)]
    boxes = [box(i, 50 - i, [i, i, 9, 9], category=7 if i % 2 else 1) for i in (11, 3, 1, 10)]
    boxes += [box(20, 49, [0, 0, 20, 20])]
    coco = tmp_path / "coco"
    for split in SPLITS:
        write_set(coco, images, boxes, split)
    ours = read_split(write_yolo(coco, tmp_path / "yolo"), "train")
    theirs = read_split(coco, "train")
    assert theirs.image_ids.tolist() == [49, 40, 39, 48, 47, 46]
    assert ours.file_names == theirs.file_names == ("1.png", "10.png", "11.png", "2.png", "3.png", "4.png")
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    np.testing.assert_array_equal(ours.image_index, theirs.image_index)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    held_ours, held_theirs = held_out(ours, 2)[1], held_out(theirs, 2)[1]
    assert held_ours.file_names == held_theirs.file_names


def train(root: Path, cache: Path) -> tuple[Score, dict[str, torch.Tensor]]:
    """A training of three steps: its score and its weights."""
    task = TrainingTask(
        train=TrainConfig(steps=3, batch=4, image_size=64, learning_rate=0.02),
        data=DetectionData(str(root), str(cache)),
        scale=Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1),
        device="cpu",
    )
    weights: dict[str, torch.Tensor] = {}

    def keep(net: torch.nn.Module, step: int, score: Score) -> None:
        weights.update({name: value.clone() for name, value in net.state_dict().items()})

    spec = published_spec("spinenet-49")
    return task.fit(spec, 1.0, 0, lambda *_: None, None, on_evaluation=keep), weights


def without_time(score: Score) -> dict[str, float]:
    return {name: value for name, value in score.metrics.items() if name != "training_seconds"}


def test_all_formats_give_the_same_training_to_the_last_bit(roots: dict[str, Path], tmp_path: Path) -> None:
    (score, weights), *others = (train(root, tmp_path / name) for name, root in roots.items())
    assert len(weights) > 100
    for other_score, other_weights in others:
        assert without_time(other_score) == without_time(score)
        assert other_weights.keys() == weights.keys()
        assert all(torch.equal(value, weights[name]) for name, value in other_weights.items())


@pytest.mark.parametrize(("name", "decimals"), [("bccd-320", 6), ("coco-mini-320", 6), ("coco-mini-320", 12)])
def test_real_boxes_come_back_from_yolos_decimals(name: str, decimals: int, tmp_path: Path) -> None:
    coco = plain_boxes(real_root(name), tmp_path / "coco")
    yolo = write_yolo(coco, tmp_path / "yolo", decimals)
    for split in SPLITS:
        ours, theirs = read_split(yolo, split), read_split(coco, split)
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.areas, theirs.areas)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_real_boxes_and_crowds_come_back_from_voc(tmp_path: Path) -> None:
    coco = plain_boxes(real_root("coco-mini-320"), tmp_path / "coco")
    voc = write_voc(coco, tmp_path / "voc")
    for split in SPLITS:
        ours, theirs = read_split(voc, split), read_split(coco, split)
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.crowd, theirs.crowd)
        assert ours.crowd.sum() > 10


def test_a_root_of_no_format_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_reader(tmp_path / "absent")
    with pytest.raises(DataError) as caught:
        find_reader(tmp_path)
    for wanted in ("COCO: annotations/", "YOLO: data.yaml", "Pascal VOC: Annotations/"):
        assert wanted in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_root_of_two_formats_is_refused_and_a_named_reader_decides(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    from proxy_tasks import CocoReader, YoloReader

    both = write_yolo(roots["COCO"], tmp_path / "both")
    (both / "annotations").symlink_to(roots["COCO"] / "annotations")
    with pytest.raises(DataError, match=r"looks like COCO and YOLO.*task\.data\.reader\._target_="):
        DetectionData(str(both), str(tmp_path)).splits()
    for reader in (CocoReader(), YoloReader()):
        training, _ = DetectionData(str(both), str(tmp_path), reader=reader).splits()
        assert_same(training, read_split(roots["COCO"], "train"))


def test_voc_without_a_file_of_names_sorts_the_categories_of_both_splits(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    voc = write_voc(roots["COCO"], tmp_path / "voc")
    (voc / "labels.txt").unlink()
    training, validation = DetectionData(str(voc), str(tmp_path / "cache")).splits()
    assert training.categories == validation.categories
    assert training.category_names == tuple(sorted(training.category_names))


def test_masks_come_from_yolos_polygons(tmp_path: Path) -> None:
    images = [entry(1), entry(2)]
    outline = [2.0, 3.0, 20.0, 3.0, 20.0, 25.0, 2.0, 25.0]
    boxes = [
        box(1, 1, [2, 3, 18, 22], segmentation=[outline]),
        box(2, 2, [5, 5, 10, 20], segmentation=[[5, 5, 15, 5, 10, 25]]),
    ]
    coco = tmp_path / "coco"
    for split in SPLITS:
        write_set(coco, images, boxes, split, categories=(1, 2))
    yolo = write_yolo(coco, tmp_path / "yolo")
    ours, theirs = read_split(yolo, "train", masks=True), read_split(coco, "train", masks=True)
    assert_same(replace(ours, areas=theirs.areas), theirs)
    assert len(ours.masks) == 2
    (yolo / "labels" / "train" / "1.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    dataset, faults = inspect_split(yolo, "train", masks=True)
    assert len(dataset.masks) == 1
    assert "labels/train/1.txt line 1" in [fault.where for fault in faults]


def test_a_detection_task_says_what_labeled_images_are_for(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(tmp_path / split / name / "a.png")
    with pytest.raises(
        DataError, match="labeled images, which have no boxes; use task=classification"
    ) as told:
        find_reader(tmp_path)
    assert "nas data import" not in str(told.value)
    assert find_reader(tmp_path, ALL_READERS).name == "labeled images"


@pytest.mark.parametrize("layout", ["beside", "folders", "json", "yolo"])
def test_a_set_with_boxes_is_not_taken_for_labeled_images(tmp_path: Path, layout: str) -> None:
    """Its folders look like those of classes, or its JSON like that of labels."""
    root = tmp_path / "set"
    images, others = {
        "beside": ("batch1", "batch1"),
        "folders": ("JPEGImages", "Annotations"),
        "json": (".", "."),
        "yolo": ("batch1/images", "batch1/labels"),
    }[layout]
    for split in SPLITS:
        picture, boxes = root / split / images / "a.png", root / split / others / "a.xml"
        for path in (picture, boxes):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(picture)
        if layout == "json":
            data = {"images": [entry(1) | {"file_name": "a.png"}], "annotations": [box(1, 1, [1, 1, 9, 9])]}
            data["categories"] = [{"id": 1, "name": "x"}]
            (root / f"{split}.json").write_text(json.dumps(data))
        elif layout == "yolo":
            boxes.with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5\n")
        else:
            boxes.write_text(voc_annotation("a.png", 40, 30, [voc_object("x", [1, 1, 9, 9])]))
    with pytest.raises(DataError, match=f"nas data import {root} --out SET|write classes.txt") as told:
        find_reader(root)
    assert "classification" not in str(told.value)


def test_labels_in_json_are_told_from_boxes(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    annotations = [{"image_id": 1, "category_id": 1, "bbox": None}]
    data = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": annotations}
    (tmp_path / "train.json").write_text(json.dumps(data))
    (tmp_path / "readme.txt").write_text("labels")
    with pytest.raises(DataError, match="labeled images, which have no boxes; use task=classification"):
        find_reader(tmp_path)
