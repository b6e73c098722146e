from __future__ import annotations

import json
import shutil
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from proxy_tasks.data.dataset import SPLITS, DataError
from proxy_tasks.data.readers import inspect_split, read_split
from proxy_tasks.data.shapes import CLASSES, ShapesConfig, draw_image, make_shapes

SMALL = ShapesConfig(train=120, val=60, size=64, seed=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("shapes") / "set", SMALL)


def test_the_set_is_sound_coco(root: Path) -> None:
    for split, count in zip(SPLITS, (120, 60), strict=True):
        assert inspect_split(root, split).faults == []
        found = read_split(root, split)
        assert len(found) == count
        assert found.category_names == CLASSES
        assert set(found.labels.tolist()) == set(range(len(CLASSES)))


def test_pixels_are_the_same_on_any_machine() -> None:
    digest = blake2b(digest_size=8)
    for number in range(20):
        image_size, objects = draw_image(ShapesConfig(size=96, seed=1), "train", number)
        digest.update(image_size.tobytes())
        for label, visible in objects:
            digest.update(bytes([label]) + np.packbits(visible).tobytes())
    assert digest.hexdigest() == "ea5d1494e7e5e329"


def test_other_seeds_splits_and_numbers_are_other_images() -> None:
    drawn = [
        draw_image(ShapesConfig(size=64, seed=seed), split, number)[0].tobytes()
        for seed in (0, 1)
        for split in ("train", "val")
        for number in (0, 1)
    ]
    assert len(set(drawn)) == 8


def test_objects_range_from_four_pixels_to_the_whole_image() -> None:
    spec = ShapesConfig(size=128)
    sides = []
    for number in range(400):
        for _, visible in draw_image(spec, "train", number)[1]:
            rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
            sides.append(max(np.ptp(rows), np.ptp(columns)) + 1)
    assert min(sides) <= 5
    assert max(sides) >= 126
    octaves = np.bincount(np.log2(sides).astype(int), minlength=8)[2:7]
    assert octaves.min() > 0.02 * octaves.sum()


def test_boxes_areas_and_masks_agree(root: Path) -> None:
    data = json.loads((root / "annotations" / "instances_val.json").read_text())
    assert len(data["annotations"]) > 100
    for annotation in data["annotations"]:
        visible = coco_mask.decode(annotation["segmentation"])
        assert visible.sum() == annotation["area"]
        rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
        x, y, w, h = annotation["bbox"]
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (x, y, x + w, y + h)


def test_objects_cover_one_another() -> None:
    covered = 0
    for number in range(100):
        for label, visible in draw_image(ShapesConfig(size=96), "train", number)[1]:
            rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
            part = visible[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            covered += CLASSES[label] == "square" and not part.all()
    assert covered > 5


def test_making_it_again_changes_nothing(root: Path) -> None:
    before = (root / "shapes.json").stat().st_mtime_ns
    assert make_shapes(root, SMALL) == root
    assert (root / "shapes.json").stat().st_mtime_ns == before


def test_a_set_that_another_process_made_meanwhile_is_taken(root: Path, tmp_path: Path) -> None:
    def overtaken(done: int, total: int) -> None:
        if done == total:
            shutil.copytree(root, tmp_path / "set")

    before = make_shapes(tmp_path / "set", SMALL, overtaken)
    assert before == tmp_path / "set"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_another_folder_is_never_overwritten(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds something else"):
        make_shapes(root, ShapesConfig(train=1, val=1, size=64))
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="holds something else"):
        make_shapes(tmp_path / "mine", SMALL)


def test_an_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(done: int, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_shapes(tmp_path / "set", SMALL, interrupted)
    assert list(tmp_path.iterdir()) == []


WAITS = """
import signal, sys
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
def wait(done, total):
    print("here", flush=True)
    signal.pause()
make_shapes(sys.argv[1], ShapesConfig(train=60, val=1, size=32), wait)
"""


def test_the_processes_of_a_killed_one_end_and_what_it_left_is_removed(tmp_path: Path) -> None:
    """They hold its lock on the new folder, and its output: this ends once the last one has ended."""
    process = subprocess.Popen([sys.executable, "-c", WAITS, tmp_path / "set"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"here\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.kill()
    process.communicate(timeout=300)
    make_shapes(tmp_path / "set", ShapesConfig(train=1, val=1, size=32))
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_images_are_stored_without_loss(root: Path) -> None:
    with Image.open(root / "images" / "train" / "000007.png") as image:
        assert np.array_equal(np.asarray(image), draw_image(SMALL, "train", 7)[0])


@pytest.mark.parametrize("fields", [{"train": 0}, {"val": 0}, {"size": 16}, {"size": 9999}, {"seed": -1}])
def test_impossible_sets_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        ShapesConfig(**fields)
