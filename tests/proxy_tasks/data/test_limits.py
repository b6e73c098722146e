"""How large an image may be, and how much of a data set may be left out."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.image_folder import LabeledImages
from proxy_tasks.data.limits import Limits
from tests.proxy_tasks.small_data import change_annotations, data_of, write_both


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
    change_annotations(root, "val", lambda data: [a.update(category_id=99) for a in data["annotations"][:2]])
    with pytest.raises(DataError, match="2 of 5 objects of val cannot be used"):
        data_of(root).splits()


@pytest.mark.parametrize(("left", "total"), [(29, 100), (57, 100), (58, 200), (2, 3)])
def test_the_share_that_a_refusal_names_is_enough(left: int, total: int) -> None:
    told = Limits(left_out=0.1).refuse(left, total, "images", Path("set"))
    share = float(told.partition("allow_left_out=")[2].split()[0])
    assert Limits(left_out=share).refuse(left, total, "images", Path("set")) == ""
    assert Limits(left_out=share - 0.01).refuse(left, total, "images", Path("set"))


def test_where_nothing_is_left_no_share_is_advised(tmp_path: Path) -> None:
    told = Limits(left_out=0.1).refuse(6, 6, "objects of train", Path("set"))
    assert told.endswith("which is more than the share of 0.1 that may be left out")


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

    change_annotations(root, "train", grow)
    survey = data_of(root).survey()
    (fault,) = survey.training.faults
    assert "4000000000x3000000000 are more than 128,000,000 pixels; task.data.max_pixels=" in fault.what
    assert len(data_of(root, max_pixels=1100, allow_left_out=1.0).survey().training.dataset) == 0
    assert len(data_of(root, max_pixels=1200).survey().training.dataset) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [("allow_left_out", 2.0), ("allow_left_out", -0.1), ("max_pixels", 0), ("max_pixels", 2.5)],
)
def test_settings_out_of_their_range_are_named(key: str, value: float) -> None:
    settings: dict[str, Any] = {"root": "set", key: value}
    for kind in (DetectionData, LabeledImages):
        with pytest.raises(DataError, match=key):
            kind(**settings)
