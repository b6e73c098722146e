from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.cli.main import main
from proxy_tasks.data.shapes import ShapesConfig, make_labeled_shapes, make_shapes
from tests.nas.cli.test_main import run
from tests.proxy_tasks.small_data import box, entry, plain_boxes, real_root, write_set, write_voc, write_yolo


def test_shapes_are_made_checked_and_prepared(tmp_path: Path) -> None:
    made = run(
        "data", "shapes", "set", "--train", "12", "--val", "4", "--size", "64", "--seed", "9", cwd=tmp_path
    )
    assert made.returncode == 0
    assert made.stdout == "set: 12 training and 4 validation images of 64 px\n"
    checked = run("data", "check", "set", cwd=tmp_path)
    assert checked.returncode == 0
    assert "train: 12 images" in checked.stdout
    assert "0 faults" in checked.stdout
    prepared = run("data", "prepare", "set", "--size", "48", "--cache", "cache", cwd=tmp_path)
    assert prepared.returncode == 0
    assert "validation: 4 images" in prepared.stdout
    assert (
        run(
            "data",
            "shapes",
            "set",
            "--train",
            "12",
            "--val",
            "4",
            "--size",
            "64",
            "--seed",
            "9",
            cwd=tmp_path,
        ).returncode
        == 0
    )


def test_check_names_the_faults_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_set(
        tmp_path,
        [entry(1)],
        [box(1, 1, [0, 0, 9, 9]), box(2, 1, [0, 0, 0, 9]), box(3, 1, [1, 1, 5, 5], category=7)],
    )
    write_set(
        tmp_path, [entry(1)], [box(1, 1, [0, 0, 9, 9]), box(2, 1, [3, 3, 4, 4], category=7)], split="val"
    )
    assert main(["data", "check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "instances_train.json annotation 2: box [0, 0, 0, 9] is empty; skipped: the box" in out
    assert main(["data", "check", str(tmp_path), "--json", "--split", "val"]) == 0
    assert json.loads(capsys.readouterr().out)["val"]["faults"] == []


@pytest.mark.parametrize(("write", "name"), [(write_yolo, "YOLO"), (write_voc, "Pascal VOC")])
def test_all_formats_are_checked_and_prepared(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path, Path], Path],
    name: str,
) -> None:
    shapes = make_shapes(tmp_path / "shapes", ShapesConfig(train=3, val=2, size=32))
    root = write(plain_boxes(shapes, tmp_path / "coco"), tmp_path / "set")
    assert main(["data", "check", str(root)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{root}: {name}\n")
    assert "train: 3 images" in out
    assert main(["data", "prepare", str(root), "--size", "32", "--cache", str(tmp_path / "cache")]) == 0
    assert "validation: 2 images" in capsys.readouterr().out
    if name == "YOLO":
        (root / "labels" / "val" / "val-000000.txt").write_text("0 0.5 0.5 0.2\n")
        assert main(["data", "check", str(root), "--split", "val", "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert found["format"] == "YOLO"
        assert found["val"]["faults"][0]["where"] == "labels/val/val-000000.txt line 1"


def test_a_set_of_two_formats_is_checked_as_the_one_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_shapes(tmp_path / "set", ShapesConfig(train=3, val=2, size=32))
    write_yolo(root, tmp_path / "yolo")
    for name in ("labels", "data.yaml"):
        (tmp_path / "yolo" / name).rename(root / name)
    assert main(["data", "check", str(root)]) == 2
    assert "looks like COCO and YOLO" in capsys.readouterr().err
    for reader, name in (("CocoReader", "COCO"), ("YoloReader", "YOLO")):
        assert main(["data", "check", str(root), "--reader", f"proxy_tasks.{reader}"]) == 0
        assert capsys.readouterr().out.startswith(f"{root}: {name}\n")


def test_labeled_images_are_checked_and_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_labeled_shapes(tmp_path / "set", ShapesConfig(train=5, val=5, size=32))
    assert main(["data", "check", str(root)]) == 0
    assert capsys.readouterr().out.startswith(f"{root}: labeled images\ntrain: 5 images, 5 boxes")
    assert main(["data", "prepare", str(root), "--size", "32", "--cache", str(tmp_path / "cache")]) == 0
    assert "validation: 5 images" in capsys.readouterr().out
    (root / "val" / "disc" / "x.png").write_text("no image")
    assert main(["data", "check", str(root)]) == 1
    assert "val/disc/x.png: cannot be read as an image: no image of a kind" in capsys.readouterr().out


def test_check_tells_why_nothing_is_usable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_set(tmp_path, [entry(1)], [box(1, 1, [0, 0, 9, 9])])
    (root / "images" / "train" / "1.png").unlink()
    assert main(["data", "check", str(root), "--split", "train"]) == 1
    out = capsys.readouterr().out
    assert "image 1: no file '1.png'" in out
    assert "train: 0 images" in out


def test_the_real_set_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(real_root("bccd-320"))]) == 0
    assert "train: 292 images, 3941 boxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (["data", "check", "absent"], 2, "absent: no such folder"),
        (["data", "check", "."], 2, "Looked for COCO: annotations/instances_train.json"),
        (["data", "shapes", ".", "--train", "3"], 2, "holds something else"),
        (
            ["data", "shapes", "x", "--size", "3"],
            2,
            "size must be a whole number of at least 32 and at most 2048",
        ),
        (["data", "shapes", "/proc/x"], 1, "/proc"),
        (["data", "prepare", "absent", "--cache", "c"], 2, "absent: no such folder"),
        (["data", "prepare", "absent"], 2, "--cache"),
        (["data", "prepare", "absent", "--cache", "c", "--size", "1"], 2, "--size must be"),
        (["data", "shape", "x"], 2, "did you mean shapes?"),
    ],
)
def test_wrong_usage_is_answered_in_one_line(
    tmp_path: Path, arguments: list[str], status: int, expected: str
) -> None:
    found = run(*arguments, cwd=tmp_path)
    assert found.returncode == status
    assert len(found.stderr.splitlines()) == 1
    assert expected in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_training_refuses_is_told_by_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that cannot be decoded count too."""
    root = make_shapes(tmp_path / "set", ShapesConfig(train=6, val=4, size=64))
    for path in sorted((root / "images" / "train").iterdir())[:4]:
        path.write_bytes(path.read_bytes()[:300])
    assert main(["data", "check", str(root), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["train"]["left_out_images"] == 4
    (told,) = found["refused"]
    assert "4 of 6 images of train cannot be used" in told


def test_a_small_labeled_set_has_all_classes_in_both_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "data",
                "shapes",
                str(tmp_path / "L"),
                "--labeled",
                "--train",
                "10",
                "--val",
                "3",
                "--size",
                "64",
            ]
        )
        == 0
    )
    main(["data", "check", str(tmp_path / "L"), "--json"])
    found = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert found["refused"] == []
    assert found["train"]["categories"] == found["val"]["categories"]


def test_a_remark_names_the_file_of_its_own_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where both splits have one folder of images, as they always have in Pascal VOC's format."""
    root = tmp_path / "coco"
    write_set(root, [entry(0), entry(1)], [box(0, 0, [2, 2, 9, 9])])
    write_set(root, [entry(2), entry(3)], [box(0, 2, [2, 2, 9, 9], 7)], "val")
    voc = write_voc(root, tmp_path / "voc")
    main(["data", "check", str(voc)])
    told = [line for line in capsys.readouterr().out.splitlines() if "has no box" in line]
    assert [line.partition(" ")[0] for line in told] == ["train.txt", "val.txt"]
