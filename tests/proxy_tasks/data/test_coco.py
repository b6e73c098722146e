from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from proxy_tasks.data import records
from proxy_tasks.data.dataset import DataError, Split
from proxy_tasks.data.image_io import open_rgb
from proxy_tasks.data.readers import inspect_split, read_split
from proxy_tasks.data.records import decoding_faults
from tests.proxy_tasks.small_data import box, entry, real_root, write_set


def test_a_sound_set_has_no_faults_and_is_read_whole(tmp_path: Path) -> None:
    boxes = [
        box(5, 2, [1, 2, 10, 12]),
        box(4, 1, [0, 0, 40, 30], category=7),
        box(9, 1, [3, 3, 4, 4], iscrowd=1),
    ]
    write_set(tmp_path, [entry(2), entry(1)], boxes)
    assert inspect_split(tmp_path, "train").faults == []
    split = read_split(tmp_path, "train")
    assert split.image_ids.tolist() == [1, 2]
    assert split.image_index.tolist() == [0, 0, 1]
    assert split.labels.tolist() == [1, 0, 0]
    assert split.crowd.tolist() == [False, True, False]
    assert split.boxes.tolist() == [[0, 0, 40, 30], [3, 3, 7, 7], [1, 2, 11, 14]]
    assert split.boxes_of(1) == slice(2, 3)


def test_both_layouts_are_found(tmp_path: Path) -> None:
    write_set(tmp_path / "a", [entry(1)], [box(1, 1, [0, 0, 9, 9])])
    write_set(tmp_path / "b", [entry(1)], [box(1, 1, [0, 0, 9, 9])], coco_2017=True)
    assert len(read_split(tmp_path / "a", "train")) == len(read_split(tmp_path / "b", "train")) == 1


def test_every_fault_is_named_with_what_is_skipped(tmp_path: Path) -> None:
    images = [
        entry(1),
        entry(2),
        entry(3),
        {**entry(4), "width": 0, "file_name": "1.png"},
        {**entry(5), "file_name": "../5.png"},
    ]
    boxes = [
        box(1, 1, [0, 0, 9, 9]),
        box(2, 1, [50, 50, 9, 9]),
        box(3, 1, [5, 5, 0, 9]),
        box(4, 99, [0, 0, 9, 9]),
        box(5, 1, [0, 0, 9, 9], category=99),
        box(1, 1, [1, 1, 9, 9]),
        box(6, 1, [30, 20, 30, 5]),
        box(7, 1, [0, 0, float("nan"), 9]),
        {"id": 8, "image_id": 1, "category_id": 1, "bbox": "x"},
        {"id": "nine"},
        {"id": None},
    ]
    write_set(tmp_path, images[:3], boxes, categories=(1, 7))
    data = json.loads((tmp_path / "annotations" / "instances_train.json").read_text())
    data["images"] = [*images, entry(1)]
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(data))
    (tmp_path / "images" / "train" / "2.png").unlink()
    broken = tmp_path / "images" / "train" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    lines = [f"{f.where}: {f.what}: {f.skipped}" for f in inspect_split(tmp_path, "train").faults]
    for expected in (
        "image 1: the id stands twice: the second image",
        "image 2: no file '2.png'",
        "image 4: height and width must be whole numbers above 0, not 30 and 0",
        "image 5: no file '../5.png'",
        "annotation 2: box [50, 50, 9, 9] lies outside the image: the box",
        "annotation 3: box [5, 5, 0, 9] is empty: the box",
        "annotation 4: unknown image id 99: the box",
        "annotation 5: unknown category id 99: the box",
        "annotation 1: the id stands twice: the second annotation",
        "annotation 6: box [30, 20, 30, 5] reaches over the image's edge: the part outside",
        "annotation 7: bbox must be four finite numbers",
        "annotation 8: bbox must be four finite numbers",
        "annotation 'nine': unknown image id None",
        "annotation entry 10: must have a number or a text as id",
        "3.png: cannot be decoded",
        "category 7: 'class 7' has no box: nothing",
    ):
        assert any(expected in line for line in lines), expected
    assert len(lines) == 16
    split = read_split(tmp_path, "train")
    assert split.image_ids.tolist() == [1, 3]
    assert split.boxes.tolist() == [[0, 0, 9, 9], [30, 20, 40, 25]]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"images": []}', '{"images": {}, "annotations": [], "categories": []}', "[" * 99999]
)
def test_files_that_are_no_annotations_are_named(tmp_path: Path, text: str) -> None:
    write_set(tmp_path, [entry(1)], [])
    (tmp_path / "annotations" / "instances_train.json").write_text(text)
    with pytest.raises(DataError, match=r"instances_train\.json"):
        read_split(tmp_path, "train")


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_split(tmp_path / "absent", "train")
    with pytest.raises(DataError, match=r"Looked for COCO: annotations/instances_train\.json"):
        read_split(tmp_path, "train")
    write_set(tmp_path, [entry(1)], [])
    with pytest.raises(DataError, match=r"neither annotations/instances_val2017\.json nor"):
        read_split(tmp_path, "val")
    for path in (tmp_path / "images" / "train").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no usable image"):
        read_split(tmp_path, "train")


def test_an_empty_annotation_list_is_a_set_without_boxes(tmp_path: Path) -> None:
    write_set(tmp_path, [entry(1)], [])
    split = read_split(tmp_path, "train")
    assert len(split) == 1
    assert split.boxes.shape == (0, 4)
    assert split.boxes_of(0) == slice(0, 0)


@pytest.mark.parametrize("area", [-1, 0, None])
def test_an_area_that_is_none_is_that_of_the_box(tmp_path: Path, area: int | None) -> None:
    write_set(tmp_path, [entry(1)], [{**box(1, 1, [2, 3, 10, 12]), "area": area}])
    assert read_split(tmp_path, "train").areas.tolist() == [120]


@pytest.mark.parametrize(
    ("name", "split", "images", "boxes", "crowd"),
    [
        ("bccd-320", "train", 292, 3941, 0),
        ("bccd-320", "val", 72, 945, 0),
        ("coco-mini-320", "train", 477, 3775, 27),
        ("coco-mini-320", "val", 158, 1424, 16),
    ],
)
def test_the_real_sets_are_read_whole(name: str, split: Split, images: int, boxes: int, crowd: int) -> None:
    found = read_split(real_root(name), split)
    assert (len(found), len(found.boxes), int(found.crowd.sum())) == (images, boxes, crowd)
    assert inspect_split(real_root(name), split).faults == []


def test_a_link_that_leads_in_a_circle_is_a_fault_of_its_image(tmp_path: Path) -> None:
    root = write_set(tmp_path, [entry(1), entry(2)], [box(1, 1, [2, 3, 10, 12]), box(2, 2, [2, 3, 10, 12])])
    image = next(iter(sorted((root / "images" / "train").iterdir())))
    image.unlink()
    image.symlink_to(image)
    found = decoding_faults(read_split(root, "train"))
    assert [Path(fault.where).name for fault in found] == [image.name]
    assert "symbolic links" in found[0].what


@pytest.mark.parametrize("bbox", [[30, 20, 1e-7, 10], [30, 20, 10, 1e-7], [30, 20, 1e-20, 10]])
def test_a_box_that_vanishes_in_32_bits_is_a_fault(tmp_path: Path, bbox: list[float]) -> None:
    """No detector could find it, and the AP of perfect detections would be below 1."""
    write_set(tmp_path, [entry(1)], [box(1, 1, [2, 3, 10, 12]), box(2, 1, bbox)])
    dataset, faults = inspect_split(tmp_path, "train", decode=False)
    assert dataset.boxes.tolist() == [[2, 3, 12, 15]]
    (fault,) = (fault for fault in faults if fault.skipped == "the box")
    assert fault.where == "instances_train.json annotation 2"
    assert fault.what.endswith("is empty, as its sides are too short for 32-bit numbers")


def test_images_are_decoded_several_at_a_time_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_set(tmp_path, [entry(i) for i in range(1, 7)], [box(1, 1, [2, 3, 10, 12])])
    for name in ("2.png", "5.png"):
        (root / "images" / "train" / name).write_bytes(b"none")
    two = threading.Barrier(2, timeout=60)
    whole = open_rgb

    def together(*values: Any, **more: Any) -> Any:
        two.wait()
        return whole(*values, **more)

    monkeypatch.setattr(records, "open_rgb", together)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    told: list[tuple[int, int]] = []
    found = decoding_faults(read_split(root, "train"), progress=lambda *count: told.append(count))
    assert [Path(fault.where).name for fault in found] == ["2.png", "5.png"]
    assert told == [(i, 6) for i in range(1, 7)]


def test_no_path_is_made_of_every_image_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All images may lie in images/, and the folder is looked through often."""
    root = write_set(tmp_path, [entry(1)], [box(1, 1, [2, 3, 10, 12])])

    def refuse(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert read_split(root, "train").file_names == ("1.png",)
