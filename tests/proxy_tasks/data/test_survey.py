"""Nothing is left out in silence: the line about a data set, and the part for the finalists."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.image_folder import LabeledImages
from proxy_tasks.data.shapes import ShapesConfig, make_labeled_shapes
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.training_task import TrainingTask
from search_space import Scale
from tests.proxy_tasks.small_data import box, change_annotations, data_of, entry, write_both, write_set


def test_a_sound_set_is_counted_and_nothing_else_is_said(tmp_path: Path) -> None:
    survey = data_of(write_both(tmp_path / "set")).survey()
    assert survey.line() == (
        "train: 4 images, 4 objects. val: 4 images, 4 objects. train has no object of 1 class: 'class 7'"
    )
    assert survey.details() == []
    assert survey.refusals == survey.remarks == ()


def test_of_many_classes_without_an_object_some_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    boxes = [box(1, 1, [2, 3, 10, 12]), box(2, 2, [2, 3, 10, 12])]
    for split in ("train", "val"):
        write_set(tmp_path / "set", [entry(1), entry(2)], boxes, split, categories=tuple(range(1, 9)))
    line = data_of(tmp_path / "set").survey().line()
    named = ", ".join(f"'class {number}'" for number in range(2, 7))
    assert line.endswith(f"train has no object of 7 classes: {named} and 2 more")


def test_a_search_or_a_training_announces_its_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_both(tmp_path / "set", 20)
    (root / "images" / "train" / "5.png").write_bytes(b"none")
    change_annotations(root, "train", lambda data: data["annotations"][0].update(image_id=77))
    task = TrainingTask(
        data=data_of(root),
        train=TrainConfig(steps=1, batch=2, image_size=64, learning_rate=0.01),
        scale=Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1),
        device="cpu",
    )
    with caplog.at_level(logging.INFO, logger="proxy_tasks"):
        task.setup(tmp_path)
    notices = [record for record in caplog.records if record.name == "proxy_tasks.notices"]
    assert [record.levelname for record in notices] == ["WARNING"]
    assert notices[0].message.startswith(
        "train: 19 images, 18 objects; left out: 1 of 20 images, 2 of 20 objects"
    )
    assert (
        "train: instances_train.json annotation 1: unknown image id 77; skipped: the box" in caplog.messages
    )
    assert any("5.png: cannot be decoded: no image of a kind" in message for message in caplog.messages)


def test_labeled_images_are_surveyed_too(tmp_path: Path) -> None:
    root = make_labeled_shapes(tmp_path / "set", ShapesConfig(train=15, val=10, size=32))
    (root / "train" / "disc" / "broken.png").write_bytes(b"")
    for path in (root / "train" / "cross").iterdir():
        path.rename(path.with_suffix(".heic"))
    data = LabeledImages(str(root), str(tmp_path / "cache"), allow_left_out=0.5)
    line = data.survey().line()
    assert "left out: 4 of 16 images" in line
    assert "train has no image of 1 class: 'cross'" in line
    with pytest.raises(DataError, match="4 of 16 images of train cannot be used"):
        LabeledImages(str(root)).splits()
    shutil.rmtree(root / "val")
    with pytest.raises(DataError, match=r"nas data import .* --out SET divides the images"):
        data.splits()


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("validation", ["val", "held-out"])
def test_images_for_the_finalists_are_no_longer_those_of_the_search(
    tmp_path: Path, share: float, validation: Any
) -> None:
    root = write_both(tmp_path / "set", 40)
    whole = data_of(root, validation=validation)
    data = data_of(root, validation=validation, selection=share)
    finalists = data.for_finalists()
    assert whole.for_finalists() is None
    assert finalists is not None
    assert finalists.for_finalists() is None
    training, everything = whole.splits()
    search, kept = data.splits(), finalists.splits()
    assert search[0].file_names == kept[0].file_names == training.file_names
    assert {*search[1].file_names, *kept[1].file_names} == {*everything.file_names}
    assert len(search[1]) + len(kept[1]) == len(everything)
    wanted = share * len(everything)
    assert abs(len(kept[1]) - wanted) <= 0.5 or len(kept[1]) in (1, len(everything) - 1)
    assert {cache.key for cache in data.caches(32)} & {finalists.caches(32)[1].key} == set()
    images, objects = len(kept[1]), len(kept[1].boxes)
    assert finalists.survey().line().startswith(f"val, for the finalists: {images} images, {objects} object")
    assert "left out" not in finalists.survey().line() + data.survey().line()


def test_one_validation_image_cannot_be_divided(tmp_path: Path) -> None:
    data = data_of(write_both(tmp_path / "set", 1), selection=0.5)
    with pytest.raises(DataError, match="one validation image cannot be divided"):
        data.splits()
    with pytest.raises(DataError, match="selection must be"):
        data_of(tmp_path / "set", selection=1.0)


def test_faults_of_the_validation_images_are_told_once_and_judged_as_before(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set", 20)
    for name in ("3.png", "5.png"):  # A tenth of all, and more of a part of them.
        (root / "images" / "val" / name).unlink()
    data = data_of(root, selection=0.5)
    finalists = data.for_finalists()
    assert finalists is not None
    assert data.survey().refusals == finalists.survey().refusals == ()
    assert "val: 9 images, 9 objects; left out: 2 of 11 images" in data.survey().line()
    assert finalists.survey().line() == "val, for the finalists: 9 images, 9 objects"
    assert finalists.survey().details() == []
    strict = data_of(root, selection=0.5, allow_left_out=0.05).survey()
    assert len(strict.refusals) == 1
    assert "2 of 20 images of val cannot be used" in strict.refusals[0]


def test_files_that_cannot_be_decoded_are_judged_over_all_validation_images(tmp_path: Path) -> None:
    """Two of twenty are not too many, wherever they fall."""
    root = write_both(tmp_path / "set", 20)
    finalists = data_of(root, selection=0.2).for_finalists()
    assert finalists is not None
    for name in finalists.splits()[1].file_names[:2]:
        (root / "images" / "val" / name).write_bytes(b"broken")
    os.utime(root / "annotations" / "instances_val.json")
    assert len(finalists.caches(32)[1]) == 2
    line = finalists.survey().line((), finalists.caches(32)[1].skipped)
    assert line == "val, for the finalists: 2 images, 2 objects; left out: 2 of 4 images, 2 of 4 objects"
    strict = data_of(root, selection=0.2, allow_left_out=0.05).for_finalists()
    assert strict is not None
    with pytest.raises(DataError, match="2 of 20 images of val, for the finalists cannot be used"):
        strict.caches(32)


def test_a_part_without_boxes_is_told_with_the_share_that_made_it(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set", 10)
    finalists = data_of(root, selection=0.1).for_finalists()
    assert finalists is not None
    (name,) = finalists.splits()[1].file_names

    def empty(data: dict[str, Any]) -> None:
        kept = {image["id"] for image in data["images"] if image["file_name"] == name}
        data["annotations"] = [item for item in data["annotations"] if item["image_id"] not in kept]

    change_annotations(root, "val", empty)
    message = "no boxes to evaluate on in the 1 of 10 validation images that are kept for the finalists"
    with pytest.raises(DataError, match=f"{message}; give another share than task.data.selection=0.1"):
        finalists.splits()
    assert data_of(root, selection=0.1).survey().refusals == ()
