"""What a detection task is given: sets, generated ones, wrong ones."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from nas.executors.job import Decision, Job, run_job
from proxy_tasks.adapted_task import adapt
from proxy_tasks.data.coco import CocoReader
from proxy_tasks.data.dataset import DataError, Inspection, Split
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.training_task import TrainingTask
from search_space import Scale, published_spec
from search_space.utils.user_folders import user_cache_folder
from tests.proxy_tasks.small_data import box, entry, write_set

SPEC = published_spec("spinenet-49")
TASK = TrainingTask(
    scale=Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1),
    train=TrainConfig(steps=2, batch=4, image_size=64, learning_rate=0.01),
    device="cpu",
)


def test_without_a_root_shapes_are_generated_once(tmp_path: Path) -> None:
    data = DetectionData(cache=str(tmp_path), shapes=ShapesConfig(train=6, val=3, size=64))
    training, validation = data.caches(64)
    assert (len(training), len(validation)) == (6, 3)
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.png"))
    data.caches(64)
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")) == before
    replace(data, shapes=ShapesConfig(train=7, val=3, size=64)).caches(64)
    assert len(list(tmp_path.glob("shapes-*"))) == 2


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache_folder() == tmp_path / "spinenas"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache_folder() == Path.home() / ".cache" / "spinenas"


@dataclass(frozen=True)
class CountingReader(CocoReader):
    """Notes which splits are read, and in which set."""

    parsed: ClassVar[list[str]] = []

    def inspect(self, root: Path, split: Split, masks: bool = False) -> Inspection:
        self.parsed.append(split)
        return super().inspect(root, split, masks)


def test_annotations_are_parsed_once_and_again_when_they_change(tmp_path: Path) -> None:
    images = [entry(i) for i in range(1, 5)]
    root = write_set(tmp_path / "set", images, [box(1, 1, [2, 3, 10, 12])])
    write_set(root, images, [box(1, 1, [2, 3, 10, 12])], "val")
    CountingReader.parsed.clear()
    data = DetectionData(str(root), str(tmp_path / "cache"), reader=CountingReader())
    data.caches(64)
    pickle.loads(pickle.dumps(data)).caches(64)
    assert CountingReader.parsed == ["train", "val"]
    write_set(root, images, [box(1, 1, [2, 3, 10, 12]), box(2, 2, [2, 3, 10, 12])])
    assert len(data.caches(64)[0].split.boxes) == 2


def test_the_held_out_part_can_be_asked_for(tmp_path: Path) -> None:
    images = [entry(i) for i in range(1, 41)]
    boxes = [box(i, i, [2, 3, 10, 12]) for i in range(1, 41)]
    root = write_set(tmp_path / "set", images, boxes)
    write_set(root, images[:2], boxes[:2], "val")
    cache = str(tmp_path / "cache")
    training, validation = DetectionData(str(root), cache, validation="held-out").caches(64)
    assert len(training) + len(validation) == 40
    assert not {*training.split.image_ids} & {*validation.split.image_ids}
    assert len(DetectionData(str(root), cache).caches(64)[1]) == 2


def evaluated(root: Path, cache: Path, allowed: float = 0.1) -> tuple[str, str]:
    task = replace(TASK, data=DetectionData(str(root), str(cache), allow_left_out=allowed))
    ended = run_job(adapt(task), Job(0, 0, SPEC, 1.0, 0), lambda *_: Decision.CONTINUE, "here")
    return ended.status, ended.message


def test_truncated_images_and_absurd_boxes_are_skipped_and_the_trial_runs(tmp_path: Path) -> None:
    images = [entry(i) for i in range(1, 7)]
    boxes = [box(i, i, [2, 3, 10, 12]) for i in range(1, 7)]
    absurd = [
        box(10, 1, [-1e9, 0, 5, 5]),
        box(11, 1, [0, 0, 0, 0]),
        box(12, 2, [float("nan"), 0, 5, 5]),
        box(13, 3, [0, 0, 1e12, 1e12]),
        box(14, 4, [5, 5, -3, 2]),
    ]
    root = write_set(tmp_path / "set", images, boxes + absurd, categories=(1, 7, 9))
    write_set(root, images[:3], boxes[:3], "val", categories=(1, 7, 9))
    for name in ("1.png", "2.png"):
        path = root / "images" / "train" / name
        path.write_bytes(path.read_bytes()[:40])
    # Categories 7 and 9 have no boxes: their AP does not count, and nothing fails.
    assert evaluated(root, tmp_path / "cache", allowed=0.6) == ("completed", "")
    status, message = evaluated(root, tmp_path / "cache", allowed=0.5)
    assert status == "failed"
    assert "6 of 11 objects of train cannot be used" in message, "two are in images that cannot be decoded"
    status, message = evaluated(root, tmp_path / "cache")
    assert status == "failed"
    assert "4 of 11 objects of train cannot be used" in message


def test_an_empty_list_of_annotations_is_said(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", [entry(1), entry(2)], [])
    write_set(root, [entry(1)], [], "val")
    status, message = evaluated(root, tmp_path / "cache")
    assert status == "failed"
    assert "instances_train.json: no boxes to train on" in message
    write_set(root, [entry(1), entry(2)], [box(1, 1, [2, 3, 10, 12])])
    assert "instances_val.json: no boxes to evaluate on" in evaluated(root, tmp_path / "cache")[1]


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/1").exists(), reason="needs /proc")
def test_a_cache_that_cannot_be_written_is_said_and_the_next_trial_runs(tmp_path: Path) -> None:
    images = [entry(1), entry(2)]
    boxes = [box(1, 1, [2, 3, 10, 12])]
    root = write_set(tmp_path / "set", images, boxes)
    write_set(root, images, boxes, "val")
    status, message = evaluated(root, Path("/proc/nowhere"))
    assert status == "failed"
    assert "/proc/nowhere" in message
    assert evaluated(root, tmp_path / "cache")[0] == "completed"


def test_a_root_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        DetectionData(str(tmp_path / "absent"), str(tmp_path)).caches(64)


def test_categories_without_boxes_do_not_count(tmp_path: Path) -> None:
    images = [entry(1), entry(2)]
    boxes = [box(1, 1, [2, 3, 10, 12]), box(2, 2, [2, 3, 10, 12])]
    root = write_set(tmp_path / "set", images, boxes, categories=(1, 7))
    write_set(root, images, boxes, "val", categories=(1, 7))
    annotations = json.loads((root / "annotations" / "instances_val.json").read_text())
    assert len(annotations["categories"]) == 2
    task = replace(TASK, data=DetectionData(str(root), str(tmp_path / "cache")))
    score = task.evaluate(SPEC, 1.0, 0, lambda *_: None, None)
    assert np.isfinite(score.reward)
    assert score.reward >= 0
