"""Labeled images: every kind of picture is taken, and what is left out is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.image_folder import LabeledImages
from proxy_tasks.data.readers import ALL_READERS, find_reader, inspect_split


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(crc32(path.name.encode())).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    kind = {".jfif": "JPEG"}.get(path.suffix.lower())
    Image.fromarray(pixels).save(path, kind)


def inspect(root: Path, split: Any = "train") -> Any:
    return inspect_split(root, split, reader=find_reader(root, ALL_READERS))


def test_every_kind_of_picture_is_taken_also_from_folders_below(tmp_path: Path) -> None:
    for name in (
        "cat/0.png",
        "cat/deep/1.TIF",
        "cat/2.gif",
        "dog/3.jfif",
        "dog/4.bmp",
        "dog/5.webp",
        "dog/6.tiff",
    ):
        picture(tmp_path / "train" / name)
    picture(tmp_path / "valid" / "cat" / "7.png")
    picture(tmp_path / "valid" / "dog" / "8.png")
    found = inspect(tmp_path)
    assert found.faults == []
    assert np.bincount(found.dataset.labels).tolist() == [3, 4]
    training, validation = LabeledImages(str(tmp_path), str(tmp_path / "cache")).splits()
    assert (len(training), len(validation)) == (7, 2)


def test_what_is_left_out_is_named_and_counted(tmp_path: Path) -> None:
    for name in ("cat/0.png", "cat/1.png", "stray.png"):
        picture(tmp_path / "train" / name)
    (tmp_path / "train" / "cat" / "broken.png").write_bytes(b"")
    (tmp_path / "train" / "cat" / "photo.heic").write_bytes(b"x")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "train" / "empty").mkdir()
    found = inspect(tmp_path)
    assert found.left_out_images == 3
    told = "\n".join(f"{fault.where}: {fault.what}" for fault in found.faults)
    assert "train/stray.png: lies in no folder of a class" in told
    assert "train/cat/broken.png: cannot be read as an image: the file is empty" in told
    assert "1 .heic files are not read, such as 'photo.heic'" in told
    assert "'empty' has no box" in told
    assert "notes" not in told


def labels(names: list[str], **more: Any) -> dict[str, Any]:
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    annotations = [{"id": i, "image_id": i, "category_id": i % 2} for i in range(len(names))]
    return {"images": images, "annotations": annotations, **more}


def write_labels(root: Path, data: Any, encoding: str = "utf-8") -> None:
    for i in range(4):
        picture(root / "images" / f"{i}.png")
    (root / "train.json").write_text(json.dumps(data), encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_annotations_may_begin_with_a_mark(tmp_path: Path, encoding: str) -> None:
    write_labels(tmp_path, labels([f"images/{i}.png" for i in range(4)]), encoding)
    assert inspect(tmp_path).dataset.labels.tolist() == [0, 1, 0, 1]


def test_ids_may_be_texts(tmp_path: Path) -> None:
    data = labels([f"images\\{i}.png" for i in range(4)])
    for i, image in enumerate(data["images"]):
        image["id"] = f"n{i}"
    for i, annotation in enumerate(data["annotations"]):
        annotation.update(image_id=f"n{i}", category_id="ab"[i % 2])
    data["categories"] = [{"id": "b", "name": "dog"}, {"id": "a", "name": "cat"}]
    write_labels(tmp_path, data)
    found = inspect(tmp_path)
    assert found.faults == []
    assert found.dataset.category_names == ("cat", "dog")
    assert found.dataset.labels.tolist() == [0, 1, 0, 1]


def test_images_without_a_label_and_labels_without_a_category_are_faults(tmp_path: Path) -> None:
    data = labels(
        [*(f"images/{i}.png" for i in range(4)), "images/0.png", "images/9.png", "https://host/x.png"]
    )
    data["categories"] = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    data["annotations"][0]["category_id"] = 77
    data["annotations"][1]["image_id"] = None
    data["annotations"].append({"image_id": 2, "category_id": 1})
    data["images"][4]["id"], data["annotations"][4]["image_id"] = 4, 4
    data["images"].append({"id": 50, "file_name": "images/3.png"})
    write_labels(tmp_path, data)
    found = inspect(tmp_path)
    told = "\n".join(f"{fault.where}: {fault.what}" for fault in found.faults)
    for expected in (
        "train.json annotation entry 0: unknown category or image: 77",
        "train.json annotation entry 1: unknown category or image",
        "train.json annotation entry 7: image 2 has another label already",
        "train.json image entry 0: has no label of a known category",
        "train.json image entry 1: has no label of a known category",
        "train.json image entry 5: no file 'images/9.png'",
        "train.json image entry 6: no file 'https://host/x.png'",
        "train.json image entry 7: has no label of a known category",
    ):
        assert expected in told
    assert found.dataset.file_names == ("images/0.png", "images/2.png", "images/3.png")
    assert found.left_out_images == 5


@pytest.mark.parametrize(
    "data",
    [
        [],
        None,
        {"images": 1, "annotations": []},
        {"images": [], "annotations": {}},
        {"images": [], "annotations": [], "categories": [3]},
        {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": "x", "name": "b"}]},
    ],
)
def test_what_is_no_such_file_is_one_error(tmp_path: Path, data: Any) -> None:
    write_labels(tmp_path, data)
    with pytest.raises(DataError, match=r"train\.json: "):
        inspect(tmp_path)


def test_odd_entries_are_faults(tmp_path: Path) -> None:
    values: tuple[Any, ...] = (
        None,
        3,
        "x",
        [],
        {},
        {"id": [], "image_id": {}, "category_id": 2**80, "file_name": {}},
        1e308,
    )
    for odd in values:
        data = labels([f"images/{i}.png" for i in range(4)])
        data["images"].append(odd)
        data["annotations"].append(odd)
        write_labels(tmp_path, data)
        found = inspect(tmp_path)
        assert len(found.dataset) == 4
        assert found.left_out_images == 1


@pytest.mark.parametrize("name", ["train_log.json", "training.json", "train-metrics.json"])
def test_other_files_of_json_are_no_annotations(tmp_path: Path, name: str) -> None:
    for split in ("train", "val"):
        for kind in ("cat", "dog"):
            picture(tmp_path / split / kind / "0.png")
    (tmp_path / name).write_text("[1, 2]")
    assert inspect(tmp_path).dataset.category_names == ("cat", "dog")


@pytest.mark.parametrize("how", ["folder", "file", "hard link"])
def test_a_file_under_two_classes_is_taken_once(tmp_path: Path, how: str) -> None:
    for split in ("train", "val"):
        for name in ("cat/0.png", "cat/1.png", "dog/2.png"):
            picture(tmp_path / split / name)
    cats, twins = tmp_path / "train" / "cat", tmp_path / "train" / "twin"
    if how == "folder":
        twins.symlink_to(cats)
    else:
        twins.mkdir()
        for path in cats.iterdir():
            if how == "file":
                (twins / path.name).symlink_to(path)
            else:
                (twins / path.name).hardlink_to(path)
    found = inspect(tmp_path)
    assert found.dataset.file_names == ("train/cat/0.png", "train/cat/1.png", "train/dog/2.png")
    told = [(fault.where, fault.what, fault.skipped) for fault in found.faults if "twin/" in fault.where]
    assert told == [
        (f"train/twin/{i}.png", f"is the same file as 'train/cat/{i}.png'", "the second image")
        for i in range(2)
    ]
    assert found.left_out_images == 2


def test_a_file_that_two_names_of_a_json_lead_to_is_taken_once(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    data = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": 2, "category_id": 2}],
        "categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(data))
    found = inspect(tmp_path)
    assert found.dataset.file_names == ("a.png",)
    assert found.faults[0].what == "is the same file as 'a.png'"


def test_links_may_repeat_the_images_of_a_class(tmp_path: Path) -> None:
    """So the images of a rare class are often repeated."""
    for split in ("train", "val"):
        for kind in ("cat", "dog"):
            for i in range(6):
                picture(tmp_path / split / kind / f"{i}.png")
    for i in range(4):
        (tmp_path / "train" / "dog" / f"again{i}.png").symlink_to(tmp_path / "train" / "dog" / f"{i}.png")
    training, validation = LabeledImages(str(tmp_path), str(tmp_path / "cache")).splits()
    assert (len(training), len(validation)) == (16, 12)
    found = inspect(tmp_path)
    told = [(fault.where, fault.what, fault.skipped) for fault in found.faults]
    assert told[0] == ("train/dog/again0.png", "is the same file as 'train/dog/0.png'", "nothing")
    assert (len(told), found.left_out_images, found.left_out_objects) == (4, 0, 0)


def test_labels_that_are_left_out_count_as_objects(tmp_path: Path) -> None:
    data = labels([f"images/{i}.png" for i in range(4)])
    data["categories"] = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    data["annotations"] += [{"image_id": i, "category_id": c} for i, c in ((0, 1), (1, 77), (2, 0))]
    write_labels(tmp_path, data)
    found = inspect(tmp_path)
    assert (len(found.dataset.boxes), found.named_objects, found.left_out_objects) == (4, 6, 2)
    data["annotations"][3]["category_id"] = 77  # The image loses its only label.
    write_labels(tmp_path, data)
    found = inspect(tmp_path)
    assert (found.left_out_images, found.named_objects, found.left_out_objects) == (1, 6, 3)
