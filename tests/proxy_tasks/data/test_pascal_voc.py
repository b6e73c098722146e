"""Pascal VOC roots: coordinates, difficult objects, categories, and what is wrong in their files."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.readers import inspect_split, read_split
from tests.proxy_tasks.small_data import voc_annotation, voc_object


def write_root(
    root: Path, documents: dict[str, str], split: str = "train", listed: str | None = None
) -> Path:
    """A root with a list of images, and an image of 40 x 20 pixels for every document."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in documents.items():
        Image.new("RGB", (40, 20)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(text)
    lines = listed if listed is not None else "\n".join(documents)
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text(lines)
    return root


def document(*objects: str, name: str = "a.jpg") -> str:
    return voc_annotation(name, 40, 20, list(objects))


def bounded(xmin: object, ymin: object, xmax: object, ymax: object, name: str = "cat") -> str:
    box = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


def test_coordinates_count_from_one_and_include_the_last_pixel(tmp_path: Path) -> None:
    objects = (bounded(1, 1, 40, 20), bounded(1, 1, 1, 1), bounded(46.7 - 40, 2.1, 12.3, 9.9))
    dataset, faults = inspect_split(write_root(tmp_path, {"a": document(*objects)}), "train")
    assert faults == []
    assert dataset.boxes[:2].tolist() == [[0, 0, 40, 20], [0, 0, 1, 1]]
    assert dataset.areas.tolist() == [800, 1, pytest.approx(6.6 * 8.8)]
    assert dataset.boxes[2].tolist() == pytest.approx([5.7, 1.1, 12.3, 9.9])


def test_difficult_objects_do_not_count_and_truncated_ones_do(tmp_path: Path) -> None:
    truncated = voc_object("cat", [2, 2, 5, 5]).replace("<bndbox>", "<truncated>1</truncated><bndbox>")
    objects = (voc_object("cat", [1, 1, 9, 9], difficult=1), truncated)
    dataset = read_split(write_root(tmp_path, {"a": document(*objects)}), "train")
    assert dataset.crowd.tolist() == [True, False]


def test_categories_are_those_of_both_splits_by_name_or_a_file_orders_them(tmp_path: Path) -> None:
    root = write_root(tmp_path / "set", {"a": document(bounded(1, 1, 9, 9, "dog"))})
    write_root(root, {"b": document(bounded(1, 1, 9, 9, "ant"), name="b.jpg")}, "val")
    for split in ("train", "val"):
        assert read_split(root, split).categories == ((1, "ant"), (2, "dog"))
    (root / "labels.txt").write_text("zebra\ndog\n")
    assert read_split(root, "train").categories == ((1, "zebra"), (2, "dog"))
    assert read_split(root, "train").labels.tolist() == [1]
    dataset, faults = inspect_split(root, "val")
    assert len(dataset.boxes) == 0
    assert ("Annotations/b.xml object 1", "unknown category 'ant'", "the box") in [
        (f.where, f.what, f.skipped) for f in faults
    ]
    (root / "labels.txt").write_text("dog\ndog\n")
    with pytest.raises(DataError, match=r"labels\.txt: must name each category once"):
        read_split(root, "train")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (bounded(9, 1, 3, 9), "box from 9, 1 to 3, 9 is empty"),
        (bounded("x", 1, 3, 9), "bndbox must have the numbers xmin, ymin, xmax and ymax"),
        (bounded("nan", 1, 3, 9), "bndbox must have the numbers"),
        (bounded("", 1, 3, 9), "bndbox must have the numbers"),
        ("<object><name>cat</name></object>", "bndbox must have the numbers"),
        (bounded(1, 1, 9, 9, ""), "has no name"),
        (bounded(90, 1, 95, 9), "box [89, 0, 6, 9] lies outside the image"),
        (
            bounded(1, 1, 9, 9).replace("<bndbox>", "<difficult>2</difficult><bndbox>"),
            "difficult must be 0 or 1",
        ),
    ],
)
def test_a_wrong_object_is_a_fault_with_file_and_number(tmp_path: Path, wrong: str, told: str) -> None:
    root = write_root(tmp_path, {"a": document(bounded(1, 1, 9, 9), wrong)})
    dataset, faults = inspect_split(root, "train")
    assert len(dataset.boxes) == 1
    (fault,) = faults
    assert fault.where == "Annotations/a.xml object 2"
    assert told in fault.what
    assert fault.skipped == "the box"


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cat"><!ENTITY c "&b;&b;&b;&b;">]>'
    "<annotation><object><name>&c;</name></object></annotation>"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<annotation>", "not readable as XML"),
        ("", "not readable as XML"),
        (BOMB, "a document type (<!DOCTYPE ...>) is not read"),
        (
            document().replace("<width>40", "<width>0"),
            "height and width must be whole numbers above 0, not '20' and '0'",
        ),
        ("<annotation/>", "height and width must be whole numbers above 0, not None and None"),
    ],
)
def test_a_wrong_file_is_a_fault_and_the_others_are_read(tmp_path: Path, text: str, told: str) -> None:
    root = write_root(tmp_path, {"a": document(bounded(1, 1, 9, 9)), "b": text})
    dataset, faults = inspect_split(root, "train")
    assert dataset.file_names == ("a.jpg",)
    (fault,) = faults
    assert fault.where == "Annotations/b.xml"
    assert told in fault.what
    assert fault.skipped == "the image"


def test_faults_of_lists_and_images_are_named(tmp_path: Path) -> None:
    documents = {name: document(bounded(1, 1, 9, 9), name=f"{name}.jpg") for name in "abcd"}
    root = write_root(tmp_path, documents, listed="a\nb\na\nx\n../secret\nc\nd\n")
    (root / "JPEGImages" / "b.jpg").unlink()
    Image.new("RGB", (40, 20)).save(root / "JPEGImages" / "c.png")
    (root / "JPEGImages" / "d.jpg").unlink()
    for ending in ("png", "bmp"):
        Image.new("RGB", (40, 20)).save(root / "JPEGImages" / f"d.{ending}")
    dataset, faults = inspect_split(root, "train")
    assert dataset.file_names == ("a.jpg", "c.jpg")
    assert [(f.where, f.what) for f in faults] == [
        ("train.txt line 3", "'a' stands in line 1 too"),
        ("train.txt line 4", "no file Annotations/x.xml"),
        ("train.txt line 5", "no file Annotations/../secret.xml"),
        ("Annotations/b.xml", "no image 'b' in JPEGImages"),
        ("Annotations/d.xml", "JPEGImages holds d.bmp and d.png, and filename says neither"),
    ]


def test_missing_parts_and_masks_are_refused(tmp_path: Path) -> None:
    root = write_root(tmp_path, {"a": document(bounded(1, 1, 9, 9))})
    with pytest.raises(DataError, match=r"val\.txt: no such file; it must list the images of val"):
        read_split(root, "val")
    with pytest.raises(DataError, match="Pascal VOC data has boxes only"):
        read_split(root, "train", masks=True)
    (root / "JPEGImages").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="JPEGImages: no such folder"):
        read_split(root, "train")


def test_an_image_of_another_size_than_annotated_is_found_by_decoding(tmp_path: Path) -> None:
    root = write_root(tmp_path, {"a": document(bounded(1, 1, 9, 9))})
    Image.new("RGB", (40, 60)).save(root / "JPEGImages" / "a.jpg")
    assert "the file has 40x60 pixels, 40x20 are annotated" in inspect_split(root, "train").faults[0].what


def test_a_changed_annotation_is_read_again(tmp_path: Path) -> None:
    root = write_root(tmp_path / "set", {"a": document(bounded(1, 1, 9, 9))})
    write_root(root, {"b": document(bounded(1, 1, 9, 9), name="b.jpg")}, "val")
    data = DetectionData(str(root), str(tmp_path / "cache"))
    assert len(data.splits()[0].boxes) == 1
    (root / "Annotations" / "a.xml").write_text(document(bounded(1, 1, 9, 9), bounded(2, 2, 9, 9)))
    assert len(data.splits()[0].boxes) == 2
