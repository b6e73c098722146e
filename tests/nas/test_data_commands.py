from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.__main__ import main
from tests.nas.test_command_line import run
from tests.proxy_tasks.small_data import box, entry, real_root, write_set


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
    prepared = run("data", "prepare", "set", "--size", "48", "--cache", "packs", cwd=tmp_path)
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
        (["data", "check", "."], 2, "neither annotations"),
        (["data", "shapes", ".", "--train", "3"], 1, "holds something else"),
        (["data", "shapes", "x", "--size", "3"], 2, "size must be in 32..2048"),
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
