"""COCO's images are known by their folders or lists, and no others are."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.proxy_tasks.small_data import box, data_of, entry, write_both, write_coco_in_yolo, write_set


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
