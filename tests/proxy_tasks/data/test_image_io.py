"""Image files of all kinds, as trainings and predictions see them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.image_io import MisfitError, open_rgb
from proxy_tasks.data.pixel_cache import open_cache
from proxy_tasks.data.readers import inspect_split, read_split
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from tests.proxy_tasks.small_data import change_annotations


def picture(path: Path, orientation: int = 1, mode: str = "RGB") -> Path:
    """Left half dark, right half bright; 40 wide and 20 high as stored."""
    values = np.zeros((20, 40), np.uint8)
    values[:, 20:] = 200
    image = Image.fromarray(values).convert(mode) if mode != "I;16" else None
    if image is None:
        image = Image.fromarray(values.astype(np.uint16) * 256)
    exif = Image.Exif()
    exif[274] = orientation
    image.save(path, exif=exif)
    return path


@pytest.mark.parametrize(("orientation", "bright"), [(1, "right"), (3, "left"), (6, "bottom"), (8, "top")])
def test_images_stand_upright(tmp_path: Path, orientation: int, bright: str) -> None:
    pixels = np.asarray(open_rgb(picture(tmp_path / "a.jpg", orientation))).mean(2)
    height, width = pixels.shape
    assert (height, width) == ((40, 20) if bright in ("bottom", "top") else (20, 40))
    halves = {
        "left": pixels[:, : width // 2],
        "right": pixels[:, width // 2 :],
        "top": pixels[: height // 2],
        "bottom": pixels[height // 2 :],
    }
    assert max(halves, key=lambda name: halves[name].mean()) == bright


def test_images_lie_as_they_are_annotated(tmp_path: Path) -> None:
    """Boxes drawn upright and boxes drawn on the pixels as stored are both on their objects."""
    path = picture(tmp_path / "a.jpg", 6)
    assert open_rgb(path, (40, 20)).size == (20, 40)
    assert open_rgb(path, (20, 40)).size == (40, 20)
    assert open_rgb(path, (200, 100)).size == (20, 40)  # annotated before it was made smaller
    with pytest.raises(MisfitError, match="the file has 40x20 pixels, 30x30 are annotated"):
        open_rgb(path, (30, 30))


def test_a_nearly_square_image_lies_as_it_is_annotated(tmp_path: Path) -> None:
    """Both ways fit its size roughly; the way that fits exactly is meant."""
    values = np.zeros((100, 101), np.uint8)
    values[:30, :30] = 250
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "a.png"
    Image.fromarray(values).save(path, exif=exif)
    kept, shown = (np.asarray(open_rgb(path, size)).mean(2) for size in ((100, 101), (101, 100)))
    assert kept[:10, :10].min() == 250
    assert (kept.shape, shown.shape) == ((100, 101), (101, 100))
    assert shown[:10, -10:].min() == 250, "a quarter turn to the right"


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_all_depths_are_as_bright(tmp_path: Path, mode: str) -> None:
    pixels = np.asarray(open_rgb(picture(tmp_path / "a.png", mode=mode)))
    assert pixels.shape == (20, 40, 3)
    assert pixels[:, :20].max() == 0
    assert pixels[:, 20:].min() == pixels.max() == 200


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_shapes(tmp_path / "shapes", ShapesConfig(train=4, val=2, size=32))


def test_an_image_of_another_shape_than_annotated_is_a_fault(root: Path, tmp_path: Path) -> None:
    name = sorted(path.name for path in (root / "images" / "val").iterdir())[0]
    Image.new("RGB", (32, 64)).save(root / "images" / "val" / name)
    faults = inspect_split(root, "val").faults
    assert [f.what for f in faults if f.skipped == "the image"] == [
        "the file has 32x64 pixels, 32x32 are annotated"
    ]
    assert len(open_cache(read_split(root, "val"), 32, tmp_path / "cache")) == 1


def test_images_left_out_are_logged_and_none_left_is_an_error(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = sorted((root / "images" / "val").iterdir())
    files[0].write_bytes(b"none")
    cache = str(tmp_path / "cache")
    assert len(DetectionData(str(root), cache).caches(32)[1]) == 1  # A single one may be left out.
    assert "1 of 2 images" in caplog.text
    assert files[0].name in caplog.text
    with pytest.raises(DataError, match=r"1 of 2 images of val cannot be used.*task\.data\.allow_left_out"):
        DetectionData(str(root), cache, allow_left_out=0.0).caches(32)
    files[1].write_bytes(b"none")
    with pytest.raises(DataError, match=r"2 of 2 images .* none is left to evaluate on"):
        DetectionData(str(root), str(tmp_path / "cache")).caches(32)


def test_train_and_val_must_tell_the_same_categories_apart(root: Path, tmp_path: Path) -> None:
    def renamed(data: dict[str, list[dict[str, object]]]) -> None:
        data["categories"][0]["name"] = "other"

    change_annotations(root, "val", renamed)
    with pytest.raises(DataError, match=r"train and val have other categories: only train has .* 'other'"):
        DetectionData(str(root), str(tmp_path / "cache")).splits()


def test_ids_of_seventeen_digits_are_measured(root: Path, tmp_path: Path) -> None:
    from proxy_tasks.evaluation.coco_eval import coco_metrics

    def long_ids(data: dict[str, list[dict[str, int]]]) -> None:
        for image in data["images"]:
            image["id"] += 20200101123456789
        for box in data["annotations"]:
            box["image_id"] += 20200101123456789

    change_annotations(root, "val", long_ids)
    split = read_split(root, "val")
    found = [
        (i, split.boxes[split.boxes_of(i)].astype(np.float64), np.ones(n), split.labels[split.boxes_of(i)])
        for i in range(len(split))
        if (n := len(split.boxes[split.boxes_of(i)]))
    ]
    assert coco_metrics(split, found)["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change_of", "told"),
    [
        ({"image_id": [1]}, r"unknown image id [1]"),
        ({"category_id": {"a": 1}}, "unknown category id {'a': 1}"),
        ({"iscrowd": "2"}, "iscrowd must be 0 or 1, not '2'"),
        ({"iscrowd": [1]}, "iscrowd must be 0 or 1, not [1]"),
        ({"bbox": [10**400, 1, 1, 1]}, "bbox must be four finite numbers, not [1000"),
        ({"id": 2**70}, "has an id beyond 64 bits"),
    ],
)
def test_odd_annotations_are_faults(root: Path, change_of: dict[str, object], told: str) -> None:
    change_annotations(root, "train", lambda data: data["annotations"][0].update(change_of))
    assert any(f.what.startswith(told) for f in inspect_split(root, "train").faults)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [32, 32], "counts": [5, 10]},
        {"size": [32, 32], "counts": [5, 2000]},
        {"size": [32, 32], "counts": [-5, 1029]},
        [[1, 1, 9, 1, float("nan"), 9]],
        [],
    ],
)
def test_pixels_that_cannot_be_are_faults(root: Path, segmentation: object) -> None:
    change_annotations(root, "train", lambda data: data["annotations"][0].update(segmentation=segmentation))
    found = inspect_split(root, "train", masks=True)
    where = [f.where for f in found.faults if f.skipped == "the object"]
    assert where == ["instances_train.json annotation 1"]
    assert found.left_out_objects == 1


def test_files_may_lie_in_folders_below_and_not_above(root: Path) -> None:
    folder = root / "images" / "train"
    names = sorted(path.name for path in folder.iterdir())
    (folder / "sub").mkdir()
    (folder / names[0]).rename(folder / "sub" / names[0])

    def moved(data: dict[str, list[dict[str, str]]]) -> None:
        entry = next(e for e in data["images"] if e["file_name"] == names[0])
        entry["file_name"] = f"sub/{names[0]}"
        next(e for e in data["images"] if e["file_name"] == names[1])["file_name"] = f"../train/{names[1]}"

    change_annotations(root, "train", moved)
    split, faults = inspect_split(root, "train")
    assert f"sub/{names[0]}" in split.file_names
    assert len(split) == 3
    assert any("no file '../train" in f.what for f in faults)


def test_pillows_warnings_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """A picture with EXIF data cut off, and one with a transparent palette."""
    Image.new("P", (8, 8)).save(tmp_path / "b.png", transparency=bytes(4))
    image = Image.new("RGB", (8, 8))
    image.save(tmp_path / "c.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0")
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        for name in ("b.png", "c.jpg"):
            open_rgb(tmp_path / name)
    assert told == []
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        for name in ("b.png", "c.jpg"):
            image = Image.open(tmp_path / name)
            image.getexif()
            image.convert("RGB")
    assert told, "without the filter there are some"
