"""`nas data check` and `nas data import`: what a training would refuse, the check calls a fault."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nas.cli.arguments import MAX_PIXELS
from nas.cli.main import main
from proxy_tasks.data import image_io
from tests.proxy_tasks.small_data import box, change_annotations, entry, write_set

SQUARE = [[2, 3, 12, 3, 12, 15, 2, 15]]


def write_both(root: Path, count: int = 3) -> Path:
    for split in ("train", "val"):
        boxes = [box(i, i, [2, 3, 10, 12], segmentation=SQUARE, iscrowd=0) for i in range(1, count + 1)]
        write_set(root, [entry(i) for i in range(1, count + 1)], boxes, split, categories=(1,))
    return root


def check(root: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    status = main(["data", "check", str(root), *more])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out + err


def crowd(data: dict[str, Any]) -> None:
    for annotation in data["annotations"]:
        annotation["iscrowd"] = 1


def without_objects(data: dict[str, Any]) -> None:
    data["annotations"] = []


def without_images(data: dict[str, Any]) -> None:
    data["images"] = data["annotations"] = []


def other_categories(data: dict[str, Any]) -> None:
    data["categories"].append({"id": 2, "name": "b"})


@pytest.mark.parametrize(
    ("split", "edit", "told"),
    [
        ("train", crowd, "all 3 are marked iscrowd (VOC: difficult), which is for regions of many objects"),
        ("train", without_objects, "no boxes to train on"),
        ("train", without_images, "no usable image"),
        ("val", crowd, "no boxes to evaluate on"),
        ("val", without_objects, "no boxes to evaluate on"),
        ("val", without_images, "no usable image"),
        ("val", other_categories, "train and val have other categories"),
    ],
)
def test_what_a_search_refuses_is_a_fault_of_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str, edit: Any, told: str
) -> None:
    root = write_both(tmp_path / "set")
    assert check(root, capsys)[0] == 0
    change_annotations(root, split, edit)
    status, out = check(root, capsys)
    assert status == 1
    assert f"a training refuses this set: {root}" in out
    assert told in out
    words = [
        "executor=in_process",
        "workers=1",
        "trials=1",
        f"task.data.root={root}",
        f"run_dir={tmp_path / 'run'}",
    ]
    assert main(["search", *words]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_set_without_val_is_checked_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_both(tmp_path / "set")
    (root / "annotations" / "instances_val.json").unlink()
    shutil.rmtree(root / "images" / "val")
    status, out = check(root, capsys)
    assert status == 1
    assert "train: 3 images, 3 boxes" in out
    assert "task.data.validation=held-out" in out
    status, out = check(root, capsys, "--validation", "held-out")
    assert status == 0
    assert "train: 2 images" in out
    assert "val: 1 image" in out


def test_a_polygon_far_outside_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_both(tmp_path / "set")
    far = [[-160.0, -220.0, 210000000.0, 350000000.0, 226.0, 237.0]]
    change_annotations(root, "train", lambda data: data["annotations"][0].update(segmentation=far))
    status, out = check(root, capsys, "--masks")
    assert status == 1
    told = [line for line in out.splitlines() if "annotation 1" in line]
    assert told == [
        "instances_train.json annotation 1: polygon reaches to -160, -220, far outside the image; "
        "skipped: the object"
    ]
    assert check(root, capsys)[0] == 0


def test_the_check_answers_in_json_and_counts_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_both(tmp_path / "set")
    (root / "images" / "train" / "1.png").unlink()
    (root / "images" / "train" / "2.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    status, out = check(root, capsys, "--json")
    found = json.loads(out)
    assert status == 1
    assert found["format"] == "COCO"
    assert (found["train"]["left_out_images"], found["train"]["left_out_objects"]) == (2, 1)
    assert "no image of a kind that is read" in found["train"]["faults"][1]["what"]
    assert found["remarks"] == []
    (refused,) = found["refused"]
    assert "images of train cannot be used" in refused


@pytest.mark.parametrize("command", ["check", "prepare"])
def test_a_pipe_in_the_place_of_annotations_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Reading it would wait for somebody who writes into it."""
    root = write_both(tmp_path / "set")
    annotations = root / "annotations" / "instances_train.json"
    annotations.unlink()
    os.mkfifo(annotations)
    more = ["--cache", str(tmp_path / "cache")] if command == "prepare" else []
    assert main(["data", command, str(root), *more]) in (1, 2)
    said = capsys.readouterr()
    assert "instances_train.json" in said.out + said.err


def test_a_pipe_in_the_place_of_an_image_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_both(tmp_path / "set")
    image = next((root / "images" / "train").iterdir())
    image.unlink()
    os.mkfifo(image)
    status, said = check(root, capsys)
    assert status == 1
    assert image.name in said
    with pytest.raises(image_io.ImageError, match="not a regular file"):
        image_io.image_size(image)


def test_the_name_of_an_image_stays_in_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_both(tmp_path / "set")
    name = "a\n\x1b[2J.jpg"
    (root / "images" / "train" / name).write_bytes(b"no image")
    change_annotations(root, "train", lambda data: data["images"].append(entry(9) | {"file_name": name}))
    status, said = check(root, capsys)
    assert status == 1
    assert "\x1b" not in said
    assert r"a\x0a\x1b[2J.jpg" in said


def test_a_copy_of_an_image_in_val_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_both(tmp_path / "set")
    shutil.copy(root / "images" / "train" / "1.png", root / "images" / "val" / "1.png")
    status, out = check(root, capsys)
    assert status == 1
    assert "1 image of train is in val too, as a copy of the same name" in out


def test_an_option_says_how_large_an_image_may_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert MAX_PIXELS == image_io.MAX_PIXELS
    root = write_both(tmp_path / "set")
    status, out = check(root, capsys, "--max-pixels", "1000")
    assert status == 1
    assert "40x30 are more than 1,000 pixels; task.data.max_pixels=1200" in out
    assert "--max-pixels" in out
    assert check(root, capsys, "--max-pixels", "0")[0] == 2


def test_a_folder_of_a_tool_is_imported_checked_and_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, out = tmp_path / "export", tmp_path / "set"
    for i in range(8):
        path = export / "images" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (i, i, i)).save(path)
        (export / "labels").mkdir(exist_ok=True)
        (export / "labels" / f"{i}.txt").write_text(f"{i % 2} 0.5 0.5 0.4 0.4\n")
    status, told = check(export, capsys)
    assert status == 2
    assert "YOLO labels without names of classes" in told
    (export / "classes.txt").write_text("cat\ndog\n")
    status, told = check(export, capsys)
    assert status == 2
    assert f"nas data import {export} --out SET" in told
    (export / "labels" / "3.txt").write_text("7 0.5 0.5 0.4 0.4\n")
    assert main(["data", "import", str(export), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "labels/3.txt line 1: unknown class 7" in told
    assert "has no split: about 0.2 of the images become val, chosen by their names" in told
    assert "7 objects of 2 classes (cat, dog), from YOLO labels" in told
    assert f"nas data check {out}" in told
    assert check(out, capsys)[0] == 0
    assert main(["data", "prepare", str(out), "--size", "32", "--cache", str(tmp_path / "cache")]) == 0
    capsys.readouterr()
    assert main(["data", "import", str(export), "--out", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["data", "import", str(tmp_path / "absent"), "--out", str(tmp_path / "b")]) == 2
    assert "absent: no such folder" in capsys.readouterr().err


TINY = (
    *(
        "task.scale.width=0.125",
        "task.scale.endpoints=16",
        "task.scale.head_filters=16",
        "task.scale.head_convs=1",
    ),
    *(
        "task.train.steps=2",
        "task.train.batch=2",
        "task.train.image_size=64",
        "task.device=cpu",
        "fidelity=1",
    ),
)


def test_a_search_says_in_one_line_what_it_leaves_out_and_keeps_the_details(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_both(tmp_path / "set")
    change_annotations(root, "train", lambda data: data["annotations"][0].update(bbox=[500, 500, 9, 9]))
    (root / "images" / "val" / "3.png").write_bytes(b"none")
    run = tmp_path / "run"
    words = ["executor=in_process", "workers=1", "trials=1", f"run_dir={run}", *TINY]
    data = [f"task.data.root={root}", f"task.data.cache={tmp_path / 'cache'}"]
    assert main(["search", *words, *data]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train: ")]
    assert told == [
        "train: 3 images, 2 objects; left out: 1 of 3 objects. "
        "val: 2 images, 2 objects; left out: 1 of 3 images, 1 of 3 objects"
    ]
    log = (run / "log.txt").read_text()
    assert told[0] in log
    assert "train: instances_train.json annotation 1: box [500, 500, 9, 9] lies outside the image" in log
    assert "val: 3.png: cannot be decoded: no image of a kind that is read" in log
    assert main(["search", *words, *data, "task.data.allow_left_out=0", f"run_dir={tmp_path / 'other'}"]) == 2
    assert "1 of 3 objects of train cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_training_of_labeled_images_takes_every_picture_and_logs_what_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    for split in ("train", "val"):
        for i, name in enumerate(("cat/0.png", "cat/1.gif", "dog/0.tif", "dog/1.bmp")):
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (60 * i, len(split), 9)).save(path)
    (root / "train" / "cat" / "broken.png").write_bytes(b"")
    (root / "train" / "bird").mkdir()
    (root / "val" / "bird").mkdir()
    run = tmp_path / "run"
    scale = "scale='49,width=0.125,endpoints=16,head_filters=16,head_convs=1'"
    words = ["task=classification", f"task.data.root={root}", f"task.data.cache={tmp_path / 'cache'}", scale]
    plan = ["task.train.steps=2", "task.train.batch=2", "task.train.image_size=64", "task.device=cpu"]
    assert main(["train", *words, *plan, f"run_dir={run}"]) == 0
    line = (
        "train: 4 images, 4 objects; left out: 1 of 5 images, 1 of 5 objects. val: 4 images, 4 objects. "
        "train has no image of 1 class: 'bird'"
    )
    assert line in capsys.readouterr().out.splitlines()
    log = (run / "log.txt").read_text()
    assert line in log
    assert (
        "train: train/cat/broken.png: cannot be read as an image: the file is empty; skipped: the image"
        in log
    )


@pytest.mark.parametrize("with_val", [True, False])
def test_of_coco_the_part_of_train_that_is_held_out_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], with_val: bool
) -> None:
    root = tmp_path / "set"
    boxes = [box(i, i, [2, 3, 10, 12]) for i in range(1, 21)]
    for split in ("train", "val") if with_val else ("train",):
        write_set(root, [entry(i) for i in range(1, 21)], boxes, split, coco_2017=True, categories=(1, 3))
    status, out = check(root, capsys)
    assert status == 0
    assert "train: 19 images" in out
    assert "val: 1 image," in out
    assert out.count("instances_train2017.json category 3: 'class 3' has no box") == 2
    assert "val2017" not in out


def test_a_part_of_a_set_is_checked_as_a_training_uses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_both(tmp_path / "set", 20)
    assert check(root, capsys, "--split", "val", "--validation", "held-out")[1].splitlines() == [
        f"{root}: COCO",
        "val: 1 image, 1 box (0 crowd regions), 1 category, 0 faults",
    ]
    change_annotations(
        root, "train", lambda data: [a.update(category_id=99) for a in data["annotations"][:3]]
    )
    status, out = check(root, capsys, "--split", "train")
    assert status == 1
    assert "a training refuses this set: " in out
    assert "3 of 20 objects of train cannot be used" in out
    status, out = check(root, capsys, "--split", "val")
    assert (status, "refuses" in out) == (0, False)
    change_annotations(root, "train", lambda data: data["annotations"].clear())
    assert "no boxes to train on" in check(root, capsys, "--split", "train")[1]


@pytest.mark.parametrize("coco_2017", [True, False])
def test_a_part_of_a_train_without_images_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], coco_2017: bool
) -> None:
    """As where train2017.zip is not unpacked yet."""
    root = tmp_path / "set"
    for split in ("train", "val"):
        write_set(root, [entry(1)], [box(1, 1, [2, 3, 10, 12])], split, coco_2017=coco_2017)
    (root / ("train2017" if coco_2017 else "images/train") / "1.png").unlink()
    more = [] if coco_2017 else ["--validation", "held-out"]
    status, out = check(root, capsys, "--split", "val", *more)
    assert (status, out.strip()) == (2, f"nas: {root}: cannot hold out a part of no image")


@pytest.mark.parametrize("damage", ["cut off", "missing"])
def test_the_part_of_a_train_that_cannot_be_read_is_no_other_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    root = write_both(tmp_path / "set", 20)
    path = root / "annotations" / "instances_train.json"
    whole = path.read_text()
    path.unlink()
    if damage == "cut off":
        path.write_text(whole[:-20])
    status, out = check(root, capsys, "--split", "val", "--validation", "held-out")
    assert (status, "instances_train.json" in out, "20 images" in out) == (2, True, False)
    assert check(root, capsys, "--split", "val")[0] == 0, "as nas eval uses it"


def test_a_part_is_checked_where_the_other_one_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_both(tmp_path / "set")
    (root / "annotations" / "instances_val.json").rename(tmp_path / "val.json")
    assert check(root, capsys, "--split", "train")[0] == 0
    status, out = check(root, capsys, "--split", "val")
    assert status == 2
    assert "neither annotations/instances_val2017.json nor" in out
    assert check(root, capsys, "--split", "val", "--validation", "held-out")[0] == 0
    (root / "annotations" / "instances_train.json").rename(tmp_path / "train.json")
    (tmp_path / "val.json").rename(root / "annotations" / "instances_val.json")
    assert check(root, capsys, "--split", "val")[0] == 0
    assert check(root, capsys, "--split", "train")[0] == 2
    change_annotations(root, "val", lambda data: [a.update(category_id=99) for a in data["annotations"][:2]])
    assert "2 of 3 objects of val cannot be used" in check(root, capsys, "--split", "val")[1]


def test_the_check_refuses_what_a_training_refuses_once_it_has_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of twenty images are not too many, but nearly all objects are in them."""
    root = write_both(tmp_path / "set", 20)
    change_annotations(root, "train", lambda data: [a.update(image_id=1) for a in data["annotations"][2:]])
    for name in ("1.png", "3.png"):
        (root / "images" / "train" / name).write_bytes(b"none")
    assert "19 of 20 objects of train cannot be used" in check(root, capsys)[1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--masks"], "labeled images have no masks"),
        (["--masks", "--split", "train"], "labeled images have no masks"),
        (["--validation", "held-out"], "always uses their val; leave out --validation held-out"),
    ],
)
def test_options_that_mean_nothing_for_labeled_images_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    for split in ("train", "val"):
        for name in ("cat/0.png", "dog/1.png"):
            path = tmp_path / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (len(split), 9, 9)).save(path)
    status, out = check(tmp_path, capsys, *options)
    assert status == 2
    assert told in out
    assert len(out.splitlines()) == 1
    words = ["data", "prepare", str(tmp_path), "--cache", str(tmp_path / "cache")]
    if "--validation" in options:
        assert main([*words, *options]) == 2
