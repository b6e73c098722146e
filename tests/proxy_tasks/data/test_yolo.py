"""YOLO roots: their layouts, and what is wrong in their label files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from proxy_tasks.data import yolo
from proxy_tasks.data.dataset import DataError, Split
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.readers import find_reader, inspect_split, read_split


def write_image(path: Path, width: int = 40, height: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (width, height, 9)).save(path)


def write_root(root: Path, labels: dict[str, str], split: str = "train") -> Path:
    """A root with classes.txt, and an image of 40 x 20 pixels for every label text."""
    for name, text in labels.items():
        write_image(root / "images" / split / f"{name}.png")
        (root / "labels" / split).mkdir(parents=True, exist_ok=True)
        (root / "labels" / split / f"{name}.txt").write_text(text)
    (root / "classes.txt").write_text("cat\ndog\n")
    return root


def test_boxes_polygons_and_empty_files_are_read(tmp_path: Path) -> None:
    root = write_root(
        tmp_path,
        {"a": "1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.2 0.1 0.2 0.4\n", "b": "", "c": "\n0.0 0.5 0.5 1 1\n\n"},
    )
    dataset, faults = inspect_split(root, "train")
    assert faults == []
    assert dataset.file_names == ("a.png", "b.png", "c.png")
    assert dataset.image_ids.tolist() == [1, 2, 3]
    assert dataset.boxes.tolist() == [[15, 5, 25, 15], [4, 2, 8, 8], [0, 0, 40, 20]]
    assert dataset.labels.tolist() == [1, 0, 0]
    assert dataset.image_index.tolist() == [0, 0, 2]
    assert dataset.areas.tolist() == [100, 24, 800]
    assert dataset.categories == ((1, "cat"), (2, "dog"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0 0.5 0.5 0.2", "must be a class and 4 numbers cx cy w h, or"),
        ("0 0.5 0.5 0.2 0.2 0.9", "not 6 values"),
        ("0 0.5 0.5 0.2 0.2 0.9", "not 6 values; is the last one a confidence?"),
        ("0 .1 .1 .2 .2 .3 .3 .4", "not 8 values"),
        ("cat 0.5 0.5 0.2 0.2", "class must be a whole number from 0, not 'cat'"),
        ("-1 0.5 0.5 0.2 0.2", "class must be a whole number from 0, not '-1'"),
        ("0.5 0.5 0.5 0.2 0.2", "class must be a whole number from 0, not '0.5'"),
        ("2 0.5 0.5 0.2 0.2", "unknown class 2; 2 classes are named, from 0 to 1"),
        ("0 120 64 20 20", "coordinates must be parts of the image in 0..1, not 120"),
        ("0 -0.5 0.5 0.2 0.2", "coordinates must be parts of the image in 0..1, not -0.5"),
        ("0 nan 0.5 0.2 0.2", "coordinates must be parts of the image in 0..1, not nan"),
        ("0 0.5 x 0.2 0.2", "coordinates must be parts of the image in 0..1, not x"),
        ("0 0.5 0.5 0 0.2", "is empty"),
        ("0 .1 .1 .1 .2 .1 .3", "is empty"),
    ],
)
def test_a_wrong_line_is_a_fault_with_file_and_line(tmp_path: Path, line: str, told: str) -> None:
    root = write_root(tmp_path, {"a": f"0 0.5 0.5 0.1 0.1\n{line}\n1 0.5 0.5 0.1 0.1\n"})
    dataset, faults = inspect_split(root, "train")
    assert len(dataset.boxes) == 2
    (fault,) = faults
    assert fault.where == "labels/train/a.txt line 2"
    assert told in fault.what
    assert fault.skipped == "the box"


def test_a_box_over_the_edge_is_clipped_and_said(tmp_path: Path) -> None:
    root = write_root(tmp_path, {"a": "0 0.95 0.5 0.2 0.2\n1 0.5 0.5 1.000001 1\n"})
    dataset, faults = inspect_split(root, "train")
    assert dataset.boxes.tolist() == [[34, 8, 40, 12], [0, 0, 40, 20]]
    assert [(f.where, f.what, f.skipped) for f in faults] == [
        (
            "labels/train/a.txt line 1",
            "box [34, 8, 8, 4] reaches over the image's edge",
            "the part outside",
        )
    ]


def test_a_coordinate_over_the_edge_by_more_than_rounding_costs_the_box(tmp_path: Path) -> None:
    root = write_root(tmp_path, {"a": "0 1.009 0.5 0.2 0.2\n0 1.02 0.5 0.2 0.2\n"})
    faults = [fault for fault in inspect_split(root, "train").faults if fault.skipped == "the box"]
    assert [fault.where for fault in faults] == ["labels/train/a.txt line 2"]


def test_faults_of_files_are_named(tmp_path: Path) -> None:
    line = "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n"
    root = write_root(tmp_path, {"a": line, "b": line, "c": line, "d": line})
    (root / "images" / "train" / "b.png").unlink()
    (root / "images" / "train" / "c.png").write_text("no image")
    write_image(root / "images" / "train" / "a.jpg")
    (root / "labels" / "train" / "d.txt").write_bytes(b"\xff\xfe\x00")
    write_image(root / "images" / "train" / "e.png")
    dataset, faults = inspect_split(root, "train")
    assert dataset.file_names == ("a.jpg", "d.png", "e.png")
    assert {(f.where, f.what.split(":")[0], f.skipped) for f in faults} == {
        ("images/train/a.png", "has the label file of a.jpg too", "the second image"),
        ("labels/train/b.txt", "there is no image of this name", "its boxes"),
        ("images/train/c.png", "cannot be read as an image", "the image"),
        ("labels/train/d.txt", "not readable as text", "its boxes"),
        (
            "images/train",
            "e.png has no label file; it counts as an image without objects",
            "nothing",
        ),
    }


def test_lost_label_files_count_as_lost_objects(tmp_path: Path) -> None:
    """Their images would train as background. A note that lies among labels is none of them."""
    line = "0 0.5 0.5 0.2 0.2\n"
    root = write_root(tmp_path, dict.fromkeys("abcd", line))
    for name in "abc":
        (root / "labels" / "train" / f"{name}.txt").rename(root / "labels" / "train" / f"{name}_old.txt")
    (root / "labels" / "train" / "README.txt").write_text("made by hand\n")
    found = find_reader(root).inspect(root, "train")
    assert (found.left_out_objects, len(found.dataset.boxes)) == (3, 1)
    assert not any("README" in fault.where for fault in found.faults)


def test_numbers_of_classes_may_be_texts(tmp_path: Path) -> None:
    root = write_root(tmp_path, {"a": "1 0.5 0.5 0.2 0.2\n"})
    (root / "data.yaml").write_text('train: images/train\nnames: {"1": dog, "0": cat}')
    assert read_split(root, "train").category_names == ("cat", "dog")


def test_truncated_images_are_found_by_decoding(tmp_path: Path) -> None:
    root = write_root(tmp_path, {"a": "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n"})
    rng = np.random.default_rng(0)
    (root / "images" / "train" / "a.png").unlink()
    path = root / "images" / "train" / "a.jpg"
    Image.fromarray(rng.integers(0, 255, (20, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    assert inspect_split(root, "train", decode=False).faults == []
    assert "cannot be decoded" in inspect_split(root, "train").faults[0].what


@pytest.mark.parametrize(
    ("config", "folders"),
    [
        ("train: images/train\nval: images/val\nnames: [cat, dog]\n", ("images/train", "images/val")),
        (
            "path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n",
            ("images/train", "images/val"),
        ),
        # Roboflow's export names a folder above that is not there.
        (
            "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [cat, dog]\n",
            ("train/images", "valid/images"),
        ),
        (
            "path: ../datasets/pets\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n",
            ("images/train", "images/val"),
        ),
        (
            "train: [images/one, images/two]\nval: images/val\nnames: [cat, dog]\n",
            ("images/two", "images/val"),
        ),
    ],
)
def test_data_yaml_says_where_everything_lies(tmp_path: Path, config: str, folders: tuple[str, str]) -> None:
    root = tmp_path / "images" / "set"  # A folder called images above the root is none of the set's.
    for folder in (*folders, *(["images/one"] if "images/one" in config else [])):
        write_image(root / folder / "a.png")
        labels = root / folder.replace("images", "labels")
        labels.mkdir(parents=True)
        (labels / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text(config)
    training, validation = DetectionData(str(root), str(tmp_path / "cache")).splits()
    assert len(validation) == 1
    assert len(training) == (2 if "images/one" in config else 1)
    for dataset in (training, validation):
        assert dataset.boxes[0].tolist() == [10, 5, 30, 15]
        assert dataset.category_names == ("cat", "dog")
        assert (dataset.image_folder / dataset.file_names[0]).is_file()


def test_lists_of_images_are_read_and_their_faults_named(tmp_path: Path) -> None:
    root = write_root(tmp_path, dict.fromkeys("abc", "1 0.5 0.5 0.5 0.5\n"))
    (root / "data.yaml").write_text("train: train.txt\nval: train.txt\nnames: [cat, dog]\n")
    listed = ["./images/train/c.png", "images/train/a.png", "images/train/c.png", "images/train/x.png"]
    (root / "train.txt").write_text("\n".join(listed))
    dataset, faults = inspect_split(root, "train")
    assert dataset.file_names == ("images/train/a.png", "images/train/c.png")
    assert len(dataset.boxes) == 2
    assert [(f.where, f.what) for f in faults if f.skipped != "nothing"] == [
        ("train.txt line 3", "'images/train/c.png' stands in line 1 too"),
        ("train.txt line 4", "no file 'images/train/x.png'"),
    ]


def test_listed_images_without_a_file_count_as_left_out(tmp_path: Path) -> None:
    root = write_root(tmp_path, dict.fromkeys("abc", "1 0.5 0.5 0.5 0.5\n"))
    (root / "data.yaml").write_text("train: train.txt\nval: train.txt\nnames: [cat, dog]\n")
    (root / "train.txt").write_text("images/train/a.png\nimages/train/x.png\nimages/train/y.png\n")
    assert find_reader(root).inspect(root, "train").left_out_images == 2


def test_an_image_of_two_sources_counts_once_and_is_named(tmp_path: Path) -> None:
    root = write_root(tmp_path, dict.fromkeys("ab", "1 0.5 0.5 0.5 0.5\n"))
    (root / "data.yaml").write_text("train: [images/train, more.txt]\nval: more.txt\nnames: [cat, dog]\n")
    (root / "more.txt").write_text("images/train/b.png\n")
    dataset, faults = inspect_split(root, "train")
    assert dataset.file_names == ("images/train/a.png", "images/train/b.png")
    assert ("more.txt", "images/train/b.png is in images/train too", "the second image") in [
        (f.where, f.what, f.skipped) for f in faults
    ]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("train: [", "data.yaml: not readable as YAML"),
        ("- 1", "data.yaml: must be a mapping"),
        ("names: [cat]", "data.yaml: train must be a folder"),
        ("train: 3\nnames: [cat]", "data.yaml: train must be a folder"),
        ("train: images/none\nnames: [cat]", "train names 'images/none', but there is no"),
        ("train: images/train", "data.yaml: names must list the classes"),
        ("train: images/train\nnmaes: [cat]", "is nmaes a misspelling of it?"),
        (
            "names: [cat]\ntrian: images/train\nval: x",
            "but the key is missing; is trian a misspelling of it?",
        ),
        ("train: images/train\nnames: []", "data.yaml: names no class"),
        ("train: images/train\nnames: {1: cat}", "names must be numbered from 0 without a gap"),
        ("train: images/train\nnames: [cat]\nkpt_shape: [17, 3]", "key points"),
        ("train: !!python/object/apply:os.getcwd []\nnames: [cat]", "data.yaml: not readable as YAML"),
    ],
)
def test_a_wrong_data_yaml_is_refused_in_one_line(tmp_path: Path, config: str, told: str) -> None:
    root = write_root(tmp_path, {"a": ""})
    (root / "data.yaml").write_text(config)
    with pytest.raises(DataError) as caught:
        read_split(root, "train")
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_parts_are_refused(tmp_path: Path) -> None:
    root = write_root(tmp_path, {"a": ""})
    with pytest.raises(DataError, match=r"images/val: no such folder"):
        read_split(root, "val")
    (root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"no file names the classes; write classes\.txt"):
        read_split(root, "train")
    (root / "obj.names").write_text("cat\n")
    assert read_split(root, "train").category_names == ("cat",)
    assert find_reader(root).name == "YOLO"


def test_a_changed_label_file_is_read_again(tmp_path: Path) -> None:
    for split in ("train", "val"):
        root = write_root(tmp_path / "set", {"a": "0 0.5 0.5 0.5 0.5\n"}, split)
    data = DetectionData(str(root), str(tmp_path / "cache"))
    assert len(data.splits()[0].boxes) == 1
    (root / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5\n")
    assert len(data.splits()[0].boxes) == 2


def test_empty_labels_of_images_that_are_gone_are_no_lost_objects(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_root(tmp_path, dict.fromkeys(f"{split}abcdef", "0 0.5 0.5 0.5 0.5\n" * 2), split)
    for i in range(5):
        (tmp_path / "labels" / "train" / f"gone{i}.txt").write_text("\n" * i)
    found = find_reader(tmp_path).inspect(tmp_path, "train")
    assert (found.faults, found.left_out_objects) == ([], 0)
    (tmp_path / "labels" / "train" / "gone.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    found = find_reader(tmp_path).inspect(tmp_path, "train")
    assert [fault.what for fault in found.faults] == ["there is no image of this name"]
    assert found.left_out_objects == 1


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("[yes, no, On, 010, 0x1F, 1.50, 2024-01-01, 7]", "yes no On 010 0x1F 1.50 2024-01-01 7"),
        ("{0: yes, 1: 010, 2: 'no'}", "yes 010 no"),
        ("{1: off, 0: on}", "on off"),
        ("&a [cat, ! no]", "cat no"),
        ("\n  <<: {0: cat, 2: yes}\n  1: no", "cat no yes"),
        ("\n  <<: {0: cat}\n  1: no", "cat no"),
    ],
)
def test_names_of_classes_stay_as_they_are_written(tmp_path: Path, names: str, told: str) -> None:
    """YAML takes them for booleans, octal numbers and dates."""
    root = write_root(tmp_path, {"a": "0 0.5 0.5 0.5 0.5\n"})
    (root / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    assert " ".join(read_split(root, "train").category_names) == told
    (root / "data.yaml").write_text(
        f"base: &base\n  names: {names.replace(chr(10), chr(10) + '  ')}\n<<: *base\n"
    )
    with (root / "data.yaml").open("a") as file:
        file.write("train: images/train\n")
    assert " ".join(read_split(root, "train").category_names) == told


def test_a_set_that_has_not_changed_is_looked_through_once_for_each_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "val"):
        write_root(tmp_path / "set", {f"{split}{i}": "0 0.5 0.5 0.5 0.5\n" for i in range(3)}, split)
    looked: list[str] = []
    read = yolo._read_layout

    def look(root: Path, split: Split) -> Any:
        looked.append(split)
        return read(root, split)

    monkeypatch.setattr(yolo, "_read_layout", look)
    data = DetectionData(str(tmp_path / "set"), str(tmp_path / "cache"))
    data.survey()
    assert sorted(looked) == ["train"] * 3 + ["val"] * 3, "the files, the records, and the first of the files"
    looked.clear()
    data.survey()
    assert sorted(looked) == ["train", "val"]
