"""COCO files as other programs write them: layouts, names, ids, numbers; and hostile ones."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.readers import find_reader, inspect_split, read_split
from tests.proxy_tasks.small_data import box, entry, write_set


def picture(path: Path, tint: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:30, :40]
    pixels = np.stack([x * 3 % 256, y * 3 % 256, (x + y + tint) % 256], -1).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def described(names: list[str], **more: Any) -> dict[str, Any]:
    images = [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(names)]
    boxes = [box(i, i, [2, 3, 10, 12]) for i in range(len(names))]
    return {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}], **more}


def write(root: Path, file: str, folder: str, names: list[str], written: list[str] | None = None) -> None:
    for name in names:
        picture(root / folder / name, tint=len(file))
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(described(written or names)))


def dated(name: str) -> tuple[str, str]:
    return (
        f"annotations/instances_{name.format('train')}.json",
        f"annotations/instances_{name.format('val')}.json",
    )


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        (dated("{}2014"), ("train2014", "val2014")),
        (dated("{}2017"), ("train2017", "val2017")),
        (dated("{}2017"), ("images/train2017", "images/val2017")),
        (dated("{}"), ("images/train", "images/val")),
        (dated("{}"), ("train", "val")),
        (dated("{}"), ("images", "images")),
        (
            ("annotations/instances_Train.json", "annotations/instances_Validation.json"),
            ("images/Train", "images/Validation"),
        ),
        (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train", "valid")),
    ],
)
def test_layouts_of_other_programs_are_read(
    tmp_path: Path, files: tuple[str, str], folders: tuple[str, str]
) -> None:
    for file, folder, names in zip(files, folders, (["a.png", "b.png"], ["c.png"]), strict=True):
        write(tmp_path, file, folder, names)
    assert find_reader(tmp_path).name == "COCO"
    training, validation = DetectionData(str(tmp_path), str(tmp_path / "cache"), validation="val").splits()
    assert training.file_names == ("a.png", "b.png")
    assert validation.file_names == ("c.png",)
    assert len(training.boxes) == 2


def test_of_several_years_2017_comes_first_and_2014_last(tmp_path: Path) -> None:
    for year, folder in (("2014", "train2014"), ("", "images/train"), ("2017", "train2017")):
        write(tmp_path, f"annotations/instances_train{year}.json", folder, [f"{year or 'none'}.png"])
        assert read_split(tmp_path, "train").file_names == (f"{year or 'none'}.png",)


def test_a_search_does_not_see_the_val_of_coco_2014(tmp_path: Path) -> None:
    write(
        tmp_path,
        "annotations/instances_train2014.json",
        "train2014",
        [f"COCO_train2014_{i}.png" for i in range(9)],
    )
    training, validation = DetectionData(str(tmp_path), str(tmp_path / "cache")).splits()
    assert len(training) + len(validation) == 9


@pytest.mark.parametrize(
    ("there", "written"),
    [
        ("sub/a.png", "sub\\a.png"),
        ("a.png", "images/a.png"),
        ("a.png", "images\\train\\a.png"),
        ("a.PNG", "a.png"),
        (unicodedata.normalize("NFC", "äö.png"), unicodedata.normalize("NFD", "äö.png")),
        ("COCO_train_7.png", "7.png"),
    ],
)
def test_names_are_found_however_they_are_written(tmp_path: Path, there: str, written: str) -> None:
    write(tmp_path, "annotations/instances_train.json", "images/train", [there], [written])
    found = inspect_split(tmp_path, "train")
    assert found.faults == []
    assert found.dataset.file_names == (there,)


@pytest.mark.parametrize(
    "written",
    ["https://host/a/1.png?sig=" + "a" * 400, "b" * 300 + ".png", "../train/a.png", "a\0b.png", None, 7],
)
def test_a_name_that_no_file_can_have_is_the_fault_of_that_image(tmp_path: Path, written: Any) -> None:
    write(tmp_path, "annotations/instances_train.json", "images/train", ["a.png", "b.png"])
    path = tmp_path / "annotations" / "instances_train.json"
    data = json.loads(path.read_text())
    data["images"][1]["file_name"] = written
    path.write_text(json.dumps(data))
    found = inspect_split(tmp_path, "train")
    assert found.dataset.file_names == ("a.png",)
    (fault,) = found.faults
    assert fault.where == "instances_train.json image 1"
    assert fault.what.startswith("no file ")
    assert len(fault.what) < 250 + len(str(tmp_path))


def test_one_file_under_two_ids_is_a_fault_with_both(tmp_path: Path) -> None:
    write(tmp_path, "annotations/instances_train.json", "images/train", ["a.png"], ["a.png", "./a.png"])
    found = inspect_split(tmp_path, "train")
    (fault,) = [fault for fault in found.faults if fault.skipped != "nothing"]
    assert fault.where == "instances_train.json image 1"
    assert fault.what == "its file 'a.png' is that of image 0 too"
    assert (found.left_out_images, found.left_out_objects) == (1, 1)


def test_numbers_may_be_text_and_nothing_may_be_null(tmp_path: Path) -> None:
    plain, written = tmp_path / "plain", tmp_path / "written"
    for root in (plain, written):
        write(root, "annotations/instances_train.json", "images/train", ["a.png", "b.png"])
    path = written / "annotations" / "instances_train.json"
    data = json.loads(path.read_text())
    for image in data["images"]:
        image.update(id=float(image["id"]), width="40", height=30.0)
    for annotation in data["annotations"]:
        annotation.update(
            id=str(annotation["id"]), image_id=f"{annotation['image_id']}.0", category_id="1", iscrowd=None,
            area=None, bbox=["2", 3, "10.0", 12.0], segmentation=None,
        )  # fmt: skip
    path.write_text(json.dumps(data))
    found = inspect_split(written, "train")
    assert found.faults == []
    ours, theirs = found.dataset, read_split(plain, "train")
    assert np.array_equal(ours.boxes, theirs.boxes)
    assert np.array_equal(ours.image_ids, theirs.image_ids)
    assert np.array_equal(ours.areas, theirs.areas)
    assert not ours.crowd.any()


def test_ids_that_are_texts_are_kept_apart(tmp_path: Path) -> None:
    write(tmp_path, "annotations/instances_train.json", "images/train", ["a.png", "b.png", "c.png"])
    path = tmp_path / "annotations" / "instances_train.json"
    data = json.loads(path.read_text())
    ids = ["007", "7", "img-x"]
    for image, name in zip(data["images"], ids, strict=True):
        image["id"] = name
    for annotation, name in zip(data["annotations"], ids, strict=True):
        annotation.update(id=f"box-{name}", image_id=name, category_id="cat")
    data["categories"] = [{"id": "dog", "name": None}, {"id": "cat", "name": "Katze"}]
    path.write_text(json.dumps(data))
    found = inspect_split(tmp_path, "train")
    assert [fault.skipped for fault in found.faults] == ["nothing"]  # dog has no box.
    assert found.dataset.categories == ((1, "Katze"), (2, "dog"))
    assert len(set(found.dataset.image_ids.tolist())) == len(found.dataset.boxes) == 3


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"images": ' + "[" * 100_000,
        '{"images": [], "annotations": [' + "9" * 5000 + '], "categories": []}',
        "\x00\x01",
        "null",
        '{"images": null, "annotations": [], "categories": []}',
        '{"images": 3, "annotations": {}, "categories": "x"}',
    ],
)
def test_files_that_are_no_annotations_are_one_error(tmp_path: Path, text: str) -> None:
    write(tmp_path, "annotations/instances_train.json", "images/train", ["a.png"])
    path = tmp_path / "annotations" / "instances_train.json"
    path.write_bytes(text.encode())
    with pytest.raises(DataError, match=r"instances_train\.json"):
        read_split(tmp_path, "train")
    path.write_bytes(b'{"images": "\xff"}')
    with pytest.raises(DataError, match="not readable as JSON"):
        read_split(tmp_path, "train")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, "annotations/instances_train.json", "images/train", ["a.png"])
    path = tmp_path / "annotations" / "instances_train.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_split(tmp_path, "train")) == 1


ODD: tuple[Any, ...] = (
    *(None, True, -1, 2**63, 10**300, 1e308, float("nan"), float("-inf"), "", "9" * 400, "x"),
    *(
        [],
        {},
        [[]],
        {"a": {"b": []}},
        [None] * 4,
        ["1", "2", "3", "4"],
        [[1e308] * 6],
        {"size": [-1, 40], "counts": "0"},
    ),
)


def test_odd_values_anywhere_are_faults_and_never_crash(tmp_path: Path) -> None:
    """Each value of a small set is replaced by each odd one; the rest of the set is still read."""
    write_set(tmp_path, [entry(1), entry(2)], [])
    path = tmp_path / "annotations" / "instances_train.json"
    square = [[5, 5, 15, 5, 15, 15, 5, 15]]
    whole = described(["1.png", "2.png"])
    for annotation in whole["annotations"]:
        annotation.update(segmentation=square, iscrowd=0)
    read = 0
    for kind in ("images", "annotations", "categories"):
        for key in (*whole[kind][0], None):
            for odd in ODD:
                data = json.loads(json.dumps(whole))
                if key is None:
                    data[kind][0] = odd
                else:
                    data[kind][0][key] = odd
                path.write_text(json.dumps(data))
                try:
                    found = inspect_split(tmp_path, "train", decode=False, masks=True)
                except DataError:
                    continue
                read += 1
                assert np.isfinite(found.dataset.boxes).all()
                assert np.isfinite(found.dataset.areas).all()
                assert found.left_out_images >= 0
                assert all(len(fault.what) < 400 for fault in found.faults)
    assert read > 200
