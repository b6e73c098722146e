"""Subsets of a data set, which of its images are held out, and how its categories differ from others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proxy_tasks.data.dataset import DataError, DetectionDataset, _short_names, category_difference, held_out
from proxy_tasks.data.readers import read_split
from tests.proxy_tasks.small_data import box, data_of, entry, write_coco_in_yolo, write_set


def fake_split(count: int) -> DetectionDataset:
    none = np.zeros(0, np.int64)
    return DetectionDataset(
        image_folder=Path(),
        image_ids=np.arange(count) * 7 + 3,
        file_names=tuple(f"{i:06d}.jpg" for i in range(count)),
        sizes=np.full((count, 2), 9),
        boxes=np.zeros((0, 4), np.float32),
        labels=none,
        crowd=none.astype(bool),
        areas=none.astype(float),
        image_index=none,
        category_ids=np.array([1]),
        category_names=("x",),
        annotation_digest="",
    )


def test_subsets_keep_their_boxes(tmp_path: Path) -> None:
    boxes = [box(i, i, [i, i, 5, 5]) for i in (1, 2, 3)]
    write_set(tmp_path, [entry(i) for i in (1, 2, 3)], boxes)
    part = read_split(tmp_path, "train").subset(np.array([0, 2]))
    assert part.image_ids.tolist() == [1, 3]
    assert part.boxes[part.boxes_of(1)].tolist() == [[3, 3, 8, 8]]


def test_of_coco_7392_images_are_held_out_always_the_same() -> None:
    split = fake_split(118_287)
    train, validation = held_out(split)
    assert (len(train), len(validation)) == (110_895, 7_392)
    again = held_out(split)[1]
    assert np.array_equal(validation.image_ids, again.image_ids)
    assert not set(train.image_ids.tolist()) & set(validation.image_ids.tolist())
    # The rule goes by image, so that most held-out images stay so when others are taken away.
    fewer = held_out(split.subset(np.arange(0, 118_287, 2)))[1]
    assert len(set(fewer.image_ids.tolist()) & set(validation.image_ids.tolist())) > 0.95 * len(fewer)


@pytest.mark.parametrize("count", [0, 2])
def test_neither_no_image_nor_all_can_be_held_out(count: int) -> None:
    with pytest.raises(DataError, match=f"cannot hold out {count} of 2 images"):
        held_out(fake_split(2), count)


def test_the_part_that_is_held_out_is_the_same_in_every_version(tmp_path: Path) -> None:
    """Scores of a search that goes on after an update must be those of the same images."""
    split = read_split(
        write_set(tmp_path, [entry(i) for i in range(1, 41)], [box(1, 1, [1, 1, 9, 9])]), "train"
    )
    assert held_out(split)[1].file_names == ("25.png", "40.png")
    assert len(held_out(split.subset(np.arange(28)))[1]) == 2, "1.75, rounded"


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


def test_categories_in_another_order_differ() -> None:
    assert category_difference([(1, "a"), (2, "b")], [(2, "b"), (1, "a")]) == "their order differs"
