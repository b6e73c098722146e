"""Nothing is left out in silence: counts, limits, and why a training refuses a set."""

from __future__ import annotations

import json
import logging
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from proxy_tasks.data import survey as module
from proxy_tasks.data.dataset import DataError, _short_names
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.image_folder import LabeledImages
from proxy_tasks.data.shapes import ShapesConfig, make_labeled_shapes
from proxy_tasks.data.survey import Limits
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.training_task import TrainingTask
from search_space import Scale
from tests.proxy_tasks.small_data import box, entry, write_set


def write_both(root: Path, count: int = 4) -> Path:
    """A set of so many images in each split, each with one box."""
    for split in ("train", "val"):
        images = [entry(i) for i in range(1, count + 1)]
        write_set(root, images, [box(i, i, [2, 3, 10, 12]) for i in range(1, count + 1)], split)
    return root


def change(root: Path, split: str, edit: Any) -> None:
    path = root / "annotations" / f"instances_{split}.json"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def data_of(root: Path, **more: Any) -> DetectionData:
    return DetectionData(str(root), str(root.parent / "cache"), **more)


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


def test_what_is_left_out_is_counted_with_the_objects_of_missing_images(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set", 12)
    (root / "images" / "train" / "3.png").unlink()

    def spoil(data: dict[str, Any]) -> None:
        data["annotations"][0]["bbox"] = [0, 0, 0, 0]
        data["annotations"].append(box(20, 2, [3, 3, 5, 5]))

    change(root, "train", spoil)
    line = data_of(root, allow_left_out=0.5).survey().line([("1.png", "truncated")])
    assert line.startswith(
        "train: 10 images, 11 objects; left out: 2 of 12 images, 2 of 13 objects. val: 12 images"
    )
    details = data_of(root, allow_left_out=0.5).survey().details([("1.png", "truncated")])
    assert len(details) == 3
    assert details[-1] == "train: 1.png: cannot be decoded: truncated; skipped: the image"


@pytest.mark.parametrize(
    ("bad", "allowed", "refused"),
    [(1, 0.1, False), (2, 0.1, True), (2, 0.5, False), (1, 0.0, True), (4, 1.0, False)],
)
def test_more_than_a_share_is_refused(tmp_path: Path, bad: int, allowed: float, refused: bool) -> None:
    root = write_both(tmp_path / "set", 5)
    for i in range(1, bad + 1):
        (root / "images" / "train" / f"{i}.png").unlink()
    data = data_of(root, allow_left_out=allowed)
    if not refused:
        assert len(data.splits()[0]) == 5 - bad
        return
    with pytest.raises(DataError) as caught:
        data.splits()
    told = str(caught.value)
    assert f"{bad} of 5 images of train cannot be used" in told
    assert f"task.data.allow_left_out={bad / 5:g} " in told
    assert "nas data check" in told
    assert len(told.splitlines()) == 1


def test_the_share_of_objects_counts_too(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set", 5)
    change(root, "val", lambda data: [a.update(category_id=99) for a in data["annotations"][:2]])
    with pytest.raises(DataError, match="2 of 5 objects of val cannot be used"):
        data_of(root).splits()


def all_crowd(data: dict[str, Any]) -> None:
    for annotation in data["annotations"]:
        annotation["iscrowd"] = 1


@pytest.mark.parametrize(
    ("split", "edit", "told"),
    [
        ("train", all_crowd, "no boxes to train on: all 4 are marked iscrowd"),
        ("val", all_crowd, "no boxes to evaluate on: all 4 are marked iscrowd"),
        ("val", lambda data: data["annotations"].clear(), "instances_val.json: no boxes to evaluate on"),
        (
            "val",
            lambda data: [data[k].clear() for k in ("images", "annotations")],
            "instances_val.json: no usable",
        ),
        (
            "train",
            lambda data: [data[k].clear() for k in ("images", "annotations")],
            "instances_train.json: no us",
        ),
        ("val", lambda data: data["categories"].pop(), "train and val have other categories"),
    ],
)
def test_what_a_training_refuses_the_survey_says(tmp_path: Path, split: str, edit: Any, told: str) -> None:
    root = write_both(tmp_path / "set")
    change(root, split, edit)
    survey = data_of(root).survey()
    assert any(told in reason for reason in survey.refusals), survey.refusals
    with pytest.raises(DataError, match="nas data check"):
        data_of(root).splits()


def test_held_out_needs_no_val_and_a_missing_val_names_it(tmp_path: Path) -> None:
    root = write_set(
        tmp_path / "set", [entry(i) for i in range(1, 6)], [box(i, i, [2, 3, 9, 9]) for i in range(1, 6)]
    )
    training, validation = data_of(root, validation="held-out").splits()
    assert (len(training), len(validation)) == (4, 1)
    assert (
        data_of(root, validation="held-out")
        .survey()
        .line()
        .startswith("train: 4 images, 4 objects. val: 1 im")
    )
    with pytest.raises(
        DataError, match=r"neither annotations/instances_val2017.*task\.data\.validation=held-out"
    ):
        data_of(root).splits()
    survey = data_of(root).survey()
    assert len(survey.training.dataset) == 5
    assert survey.validation is None


def test_a_part_of_one_image_cannot_be_held_out(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", [entry(1)], [box(1, 1, [2, 3, 9, 9])])
    with pytest.raises(DataError, match="cannot hold out a part of one image"):
        data_of(root, validation="held-out").splits()


def test_a_part_of_no_image_cannot_be_held_out(tmp_path: Path) -> None:
    survey = data_of(write_set(tmp_path / "set", [], []), validation="held-out").survey()
    assert [reason.rpartition(": ")[2] for reason in survey.refusals_of["train"]] == ["no usable image"]
    assert survey.refusals_of["val"] == (f"{tmp_path / 'set'}: cannot hold out a part of no image",)


def test_a_file_that_is_in_train_and_in_val_is_left_out_of_train(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set")
    for how in ("symlink", "hard link"):
        path = root / "images" / "val" / "2.png"
        path.unlink(missing_ok=True)
        target = root / "images" / "train" / "2.png"
        path.symlink_to(target) if how == "symlink" else os.link(target, path)
        survey = data_of(root).survey()
        assert "2.png" not in survey.training.dataset.file_names
        assert survey.training.left_out_images == 1
        (fault,) = survey.training.faults
        assert (fault.where, fault.what) == ("2.png", "the file is in train and in val")
        os.utime(root / "annotations" / "instances_val.json")
    shutil.rmtree(root / "images" / "val")
    (root / "images" / "val").symlink_to(root / "images" / "train")
    with pytest.raises(DataError, match=r"all 4 images of train are in val too.*held-out divides train"):
        data_of(root).splits()


def test_a_copy_in_val_is_remarked_and_still_used(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set")
    shutil.copy(root / "images" / "train" / "2.png", root / "images" / "val" / "2.png")
    survey = data_of(root).survey()
    assert len(survey.training.dataset) == 4
    (remark,) = survey.remarks
    assert "1 image of train is in val too, as a copy of the same name, such as '2.png'" in remark
    assert remark in survey.line()


def test_files_that_cannot_be_read_are_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(path)

    root = write_both(tmp_path / "set")
    shutil.copy(root / "images" / "train" / "2.png", root / "images" / "val" / "2.png")
    monkeypatch.setattr(module, "read_regular", refuse)
    assert data_of(root).survey().remarks == ()


def write_large_jpeg(path: Path) -> None:
    """A picture of 20,000 x 11,000 pixels as far as its header tells; there are fewer in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8)).save(path)
    data = path.read_bytes()
    size = data.index(b"\xff\xc0") + 5
    path.write_bytes(data[:size] + struct.pack(">HH", 11_000, 20_000) + data[size + 4 :])


@pytest.mark.parametrize("kind", ["yolo", "labels"])
def test_the_setting_reads_large_images_whose_files_tell_their_size(kind: str, tmp_path: Path) -> None:
    make: Any
    if kind == "yolo":
        make = DetectionData
        for split in ("train", "val"):
            for name in ("a.jpg", "b.jpg"):
                write_large_jpeg(tmp_path / "images" / split / name)
                (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
                (tmp_path / "labels" / split / name).with_suffix(".txt").write_text("0 0.5 0.5 0.2 0.2\n")
        (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [one]\n")
    else:
        make = LabeledImages
        for split in ("train", "val"):
            for name in ("a/1.jpg", "b/2.jpg"):
                write_large_jpeg(tmp_path / split / name)
    (fault, *_) = make(tmp_path, allow_left_out=1.0).survey().training.faults
    assert "20000x11000 are more than 128,000,000 pixels; task.data.max_pixels=220000000" in fault.what
    survey = make(tmp_path, max_pixels=220_000_000).survey()
    assert (survey.training.faults, len(survey.training.dataset)) == ([], 2)


def test_large_images_are_left_out_and_the_setting_reads_them(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set")

    def grow(data: dict[str, Any]) -> None:
        data["images"][0].update(width=4_000_000_000, height=3_000_000_000)

    change(root, "train", grow)
    survey = data_of(root).survey()
    (fault,) = survey.training.faults
    assert "4000000000x3000000000 are more than 128,000,000 pixels; task.data.max_pixels=" in fault.what
    assert len(data_of(root, max_pixels=1100, allow_left_out=1.0).survey().training.dataset) == 0
    assert len(data_of(root, max_pixels=1200).survey().training.dataset) == 3


def test_a_search_or_a_training_announces_its_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_both(tmp_path / "set", 20)
    (root / "images" / "train" / "5.png").write_bytes(b"none")
    change(root, "train", lambda data: data["annotations"][0].update(image_id=77))
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


@pytest.mark.parametrize(
    ("key", "value"),
    [("allow_left_out", 2.0), ("allow_left_out", -0.1), ("max_pixels", 0), ("max_pixels", 2.5)],
)
def test_settings_out_of_their_range_are_named(key: str, value: float) -> None:
    settings: dict[str, Any] = {"root": "set", key: value}
    for kind in (DetectionData, LabeledImages):
        with pytest.raises(DataError, match=key):
            kind(**settings)


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


@pytest.mark.parametrize(
    ("broken", "elsewhere", "told"),
    [
        (1, 4, ""),
        (2, 4, "16 of 20 objects of train cannot be used"),
        (2, 19, ""),
        (1, 0, "no object of train is in an image that can be used"),
    ],
)
def test_objects_of_images_that_cannot_be_decoded_are_left_out_too(
    tmp_path: Path, broken: int, elsewhere: int, told: str
) -> None:
    """One or two images of twenty are not too many, but most objects may be in them."""
    root = write_both(tmp_path / "set", 20)

    def crowd_into_one(data: dict[str, Any]) -> None:
        for item in data["annotations"]:
            item["image_id"] = 1 if item["id"] <= 20 - elsewhere else 20

    change(root, "train", crowd_into_one)
    for number in range(1, broken + 1):
        (root / "images" / "train" / f"{number}.png").write_bytes(b"broken")
    assert data_of(root).survey().refusals == ()
    if told:
        with pytest.raises(DataError, match=told):
            data_of(root).caches(32)
    else:
        assert len(data_of(root).caches(32)[0]) == 20 - broken
    tolerant = data_of(root, allow_left_out=1.0)
    if elsewhere:
        found = tolerant.caches(32)[0]
        left = f"{broken} of 20 images, {20 - elsewhere} of 20 objects"
        assert (
            f"train: {20 - broken} images, {elsewhere} objects; left out: {left}"
            in tolerant.survey().line(found.skipped)
        )
    else:
        with pytest.raises(DataError, match=told):
            tolerant.caches(32)


def test_a_part_without_boxes_is_told_with_the_share_that_made_it(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set", 10)
    finalists = data_of(root, selection=0.1).for_finalists()
    assert finalists is not None
    (name,) = finalists.splits()[1].file_names

    def empty(data: dict[str, Any]) -> None:
        kept = {image["id"] for image in data["images"] if image["file_name"] == name}
        data["annotations"] = [item for item in data["annotations"] if item["image_id"] not in kept]

    change(root, "val", empty)
    message = "no boxes to evaluate on in the 1 of 10 validation images that are kept for the finalists"
    with pytest.raises(DataError, match=f"{message}; give another share than task.data.selection=0.1"):
        finalists.splits()
    assert data_of(root, selection=0.1).survey().refusals == ()


@pytest.mark.parametrize(("left", "total"), [(29, 100), (57, 100), (58, 200), (2, 3)])
def test_the_share_that_a_refusal_names_is_enough(left: int, total: int) -> None:
    told = Limits(left_out=0.1).refuse(left, total, "images", Path("set"))
    share = float(told.partition("allow_left_out=")[2].split()[0])
    assert Limits(left_out=share).refuse(left, total, "images", Path("set")) == ""
    assert Limits(left_out=share - 0.01).refuse(left, total, "images", Path("set"))


def write_coco_in_yolo(root: Path, train: str, val: str, folders: tuple[str, str]) -> Path:
    """A YOLO set of 40 and 4 images in these folders below images/; `train` and `val` stand in data.yaml."""
    for folder, count in zip(folders, (40, 4), strict=True):
        (root / "labels" / folder).mkdir(parents=True)
        (root / "images" / folder).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (40, 30), (i, 9, 9)).save(root / "images" / folder / f"{i}.png")
            (root / "labels" / folder / f"{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        lines = [f"./images/{folder}/{i}.png\n" for i in range(count)]
        (root / f"{folder}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text(f"train: {train}\nval: {val}\nnames: [one]\n")
    return root


@pytest.mark.parametrize(
    ("train", "val", "folders"),
    [
        ("train2017.txt", "val2017.txt", ("train2017", "val2017")),
        ("images/train2017", "images/val2017", ("train2017", "val2017")),
        ("[images/train2017]", "images/val2017", ("train2017", "val2017")),
        ("train2017.txt", "val2017.txt", ("TRAIN2017", "VAL2017")),
        ("images/a", "images/val2014", ("a", "val2014")),
    ],
)
def test_coco_is_held_out_of_train_however_data_yaml_names_its_folders(
    tmp_path: Path, train: str, val: str, folders: tuple[str, str]
) -> None:
    root = write_coco_in_yolo(tmp_path / "set", train, val, folders)
    if folders[0].isupper():
        for name in folders:
            (root / f"{name}.txt").rename(root / f"{name.lower()}.txt")
    training, validation = data_of(root).splits()
    assert (len(training), len(validation)) == (38, 2)
    assert not any(folders[1] in name for name in validation.file_names)
    assert {name.rpartition("/")[2] for name in validation.file_names} == {"22.png", "25.png"}
    assert len(data_of(root, validation="val").splits()[1]) == 4


@pytest.mark.parametrize("folder", ["TRAIN2017", "images/train", "images", "link"])
def test_coco_is_held_out_of_train_wherever_its_images_lie(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "set"
    boxes = [box(i, i, [2, 3, 10, 12]) for i in range(1, 41)]
    for split, count in (("train", 40), ("val", 4)):
        images = [entry(i) | {"file_name": f"{split}{i}.png"} for i in range(1, count + 1)]
        write_set(root, images, boxes[:count], split, coco_2017=True)
        other = root / folder.replace("train", split).replace("TRAIN", split.upper())
        if folder == "link":
            name = root / "annotations" / f"instances_{split}2017.json"
            name.rename(root / "annotations" / f"instances_{split}.json")
            (root / "images").mkdir(exist_ok=True)
            (root / "images" / split).symlink_to(root / f"{split}2017")
        elif other.is_dir():
            for path in (root / f"{split}2017").iterdir():
                path.rename(other / path.name)
            (root / f"{split}2017").rmdir()
        else:
            other.parent.mkdir(exist_ok=True)
            (root / f"{split}2017").rename(other)
    training, validation = data_of(root).splits()
    assert (len(training), len(validation)) == (38, 2)
    assert all(name.startswith("train") for name in validation.file_names)


@pytest.mark.parametrize("entries", ["{}2017/images", "[{}2017/images]", "{}2017/a/images", "link-{}"])
def test_coco_is_known_by_the_folders_above_its_images(tmp_path: Path, entries: str) -> None:
    root = tmp_path / "set"
    for split, count in (("train", 40), ("val", 4)):
        part = entries.strip("[]").format(split)
        folder = tmp_path / f"{split}2017" / "images" if part.startswith("link") else root / part
        labels = Path(str(folder).replace("images", "labels"))
        folder.mkdir(parents=True)
        labels.mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (40, 30), (i, 9, 9)).save(folder / f"{split}{i}.png")
            (labels / f"{split}{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        if part.startswith("link"):
            for kind, place in (("images", folder), ("labels", labels)):
                (root / kind).mkdir(parents=True, exist_ok=True)
                (root / kind / split).symlink_to(place)
    given = "images/{}" if entries.startswith("link") else entries
    lines = [f"{split}: {given.format(split)}\n" for split in ("train", "val")]
    (root / "data.yaml").write_text(f"{''.join(lines)}names: [one]\n")
    training, validation = data_of(root).splits()
    assert (len(training), len(validation)) == (38, 2)
    assert not any("val" in name.rpartition("/")[2] for name in validation.file_names)


def test_the_folder_around_a_set_says_nothing_of_its_images(tmp_path: Path) -> None:
    root = write_both(tmp_path / "train2017" / "set", 4)
    assert [len(split) for split in data_of(root).splits()] == [4, 4]


def test_folders_whose_names_only_end_like_those_of_coco_are_other_sets(tmp_path: Path) -> None:
    names = "images/my_train2017", "images/my_val2017"
    root = write_coco_in_yolo(tmp_path / "set", *names, ("my_train2017", "my_val2017"))
    assert [len(split) for split in data_of(root).splits()] == [40, 4]


@pytest.mark.parametrize("val", ["images/val", "val.txt", "[images/val]"])
def test_how_data_yaml_names_a_folder_does_not_change_which_images_are_kept(tmp_path: Path, val: str) -> None:
    root = write_coco_in_yolo(tmp_path / "set", "images/val", val, ("val", "train"))
    (root / "data.yaml").write_text(f"train: images/train\nval: {val}\nnames: [one]\n")
    finalists = data_of(root, selection=0.05).for_finalists()
    assert finalists is not None
    kept = finalists.splits()[1].file_names
    assert {name.rpartition("/")[2] for name in kept} == {"22.png", "25.png"}


def test_two_folders_or_the_one_around_them_hold_out_the_same_images(tmp_path: Path) -> None:
    found = []
    for name, train in (("a", "[images/x, images/y]"), ("b", "images")):
        root = write_coco_in_yolo(tmp_path / name, train, train, ("x", "y"))
        validation = data_of(root, validation="held-out").splits()[1]
        found.append([name.removeprefix("images/") for name in validation.file_names])
    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_an_image_in_a_further_folder_leaves_the_others_where_they_are(tmp_path: Path) -> None:
    root = tmp_path / "set"

    def held_out_names() -> set[str]:
        validation = data_of(root, validation="held-out").splits()[1]
        return {name.removeprefix("day1/") for name in validation.file_names}

    def add(folder: str, names: list[str]) -> None:
        for kind in ("images", "labels"):
            (root / kind / "train" / folder).mkdir(parents=True)
        for i, name in enumerate(names):
            Image.new("RGB", (40, 30), (i, 9, 9)).save(root / "images" / "train" / folder / name)
            labels = (root / "labels" / "train" / folder / name).with_suffix(".txt")
            labels.write_text("0 0.5 0.5 0.5 0.5\n")

    root.mkdir()
    (root / "data.yaml").write_text("train: images/train\nnames: [one]\n")
    add("day1", [f"{i}.png" for i in range(60)])
    before = held_out_names()
    assert len(before) == 4
    add("day2", ["61.png"])
    assert held_out_names() == before
    add("day3", [sorted(before)[0], "1.png"])  # Names that are there already.
    assert held_out_names() == before


def test_images_of_one_file_name_are_told_apart_by_as_much_as_is_needed() -> None:
    names = ["a/i/0.png", "b/i/0.png", "b/i/1.png", "c/i/0.png", "d/i/0.png"]
    wanted = ["0.png", "i/0.png", "1.png", "c/i/0.png", "d/i/0.png"]
    assert _short_names(names) == wanted
    assert _short_names([f"images/{name}" for name in names]) == wanted


def test_where_nothing_is_left_no_share_is_advised(tmp_path: Path) -> None:
    told = Limits(left_out=0.1).refuse(6, 6, "objects of train", Path("set"))
    assert told.endswith("which is more than the share of 0.1 that may be left out")
