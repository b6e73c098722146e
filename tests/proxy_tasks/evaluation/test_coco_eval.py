from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from proxy_tasks.data.dataset import DetectionDataset
from proxy_tasks.data.readers import read_split
from proxy_tasks.evaluation.coco_eval import METRICS, coco_metrics
from tests.proxy_tasks.small_data import box, entry, real_root, write_set


def truth_as_detections(split: DetectionDataset) -> list[Any]:
    found = []
    for i in range(len(split)):
        here = split.boxes_of(i)
        real = ~split.crowd[here]
        boxes = split.boxes[here][real].astype(np.float64)
        found.append((i, boxes, np.ones(len(boxes)), split.labels[here][real]))
    return found


@pytest.mark.parametrize("name", ["bccd-320", "coco-mini-320"])
def test_the_objects_themselves_score_one(name: str) -> None:
    split = read_split(real_root(name), "val")
    metrics = coco_metrics(split, truth_as_detections(split))
    assert metrics["AP"] == metrics["AP50"] == metrics["AP75"] == pytest.approx(1.0)
    assert [name for name in METRICS if name in metrics] == list(metrics)
    assert ("APl" in metrics) == bool((split.areas >= 96**2).any())


def test_category_ids_may_be_as_large_as_whole_numbers_are(tmp_path: Path) -> None:
    ids = 2**53 + 1, 2**53 + 2, 10**17 + 1
    images = [entry(i + 1) for i in range(3)]
    objects = [box(i + 1, i + 1, [10, 10, 40, 40], category=number) for i, number in enumerate(ids)]
    split = read_split(write_set(tmp_path, images, objects, "val", categories=ids), "val")
    assert coco_metrics(split, truth_as_detections(split))["AP"] == pytest.approx(1.0)


def plain_pycocotools(path: Path, detections: list[dict[str, Any]]) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(x) for x in evaluation.stats]


OBJECTS = [
    box(1, 1, [10, 10, 40, 40], iscrowd=0),
    box(2, 1, [60, 60, 30, 20], category=7, iscrowd=0),
    box(3, 2, [0, 0, 100, 80], iscrowd=0),
    box(4, 2, [20, 20, 50, 50], iscrowd=1),
    box(5, 3, [5, 5, 6, 6], category=7, iscrowd=0),
]
CASES: dict[str, list[tuple[int, list[float], float, int]]] = {
    "one right": [(1, [10, 10, 40, 40], 0.9, 1)],
    "all right": [
        (1, [10, 10, 40, 40], 0.9, 1),
        (1, [60, 60, 30, 20], 0.8, 7),
        (2, [0, 0, 100, 80], 0.7, 1),
        (3, [5, 5, 6, 6], 0.6, 7),
    ],
    "wrong class": [(1, [10, 10, 40, 40], 0.9, 7)],
    "wrong image": [(3, [10, 10, 40, 40], 0.9, 1)],
    "shifted": [(1, [14, 12, 40, 40], 0.9, 1)],
    "half as large": [(1, [10, 10, 20, 40], 0.9, 1)],
    "found twice": [(1, [10, 10, 40, 40], 0.9, 1), (1, [11, 10, 40, 40], 0.8, 1)],
    "in the crowd": [(2, [25, 25, 20, 20], 0.9, 1), (2, [30, 30, 30, 30], 0.8, 1)],
    "false before right": [(1, [60, 10, 9, 9], 0.95, 1), (1, [10, 10, 40, 40], 0.5, 1)],
    "right before false": [(1, [10, 10, 40, 40], 0.95, 1), (1, [60, 10, 9, 9], 0.5, 1)],
    "small one": [(3, [5, 5, 6, 6], 0.3, 7)],
    "small one missed by a pixel": [(3, [6, 6, 6, 6], 0.3, 7)],
    "large one": [(2, [0, 0, 100, 80], 0.3, 1), (2, [0, 0, 90, 80], 0.2, 1)],
}


@pytest.mark.parametrize("name", CASES)
def test_hand_made_cases_score_what_pycocotools_says(tmp_path: Path, name: str) -> None:
    root = write_set(tmp_path, [entry(i, 120, 100) for i in (1, 2, 3, 4)], OBJECTS)
    split = read_split(root, "train")
    found: list[Any] = []
    for i, image_id in enumerate(split.image_ids.tolist()):
        rows = [case for case in CASES[name] if case[0] == image_id]
        boxes = np.array([[x, y, x + w, y + h] for _, (x, y, w, h), _, _ in rows], dtype=np.float64).reshape(
            -1, 4
        )
        labels = np.array([split.category_ids.tolist().index(c) for *_, c in rows], dtype=np.int64)
        found.append((i, boxes, np.array([score for _, _, score, _ in rows]), labels))
    results = [
        {"image_id": image, "bbox": bbox, "score": score, "category_id": category}
        for image, bbox, score, category in CASES[name]
    ]
    values = plain_pycocotools(root / "annotations" / "instances_train.json", results)
    expected = {name: value for name, value in zip(METRICS, values, strict=True) if value != -1}
    assert coco_metrics(split, found) == pytest.approx(expected, abs=1e-9)


def test_no_detection_at_all_scores_zero_where_there_are_objects(tmp_path: Path) -> None:
    split = read_split(write_set(tmp_path, [entry(1)], OBJECTS[:1]), "train")
    there = [name for name in METRICS if name[-1] not in "sl"]
    assert json.dumps(coco_metrics(split, [])) == json.dumps(dict.fromkeys(there, 0.0))


@pytest.mark.parametrize(
    ("side", "missing"), [(31, "ml"), (32, "l"), (50, "sl"), (96, "s"), (97, "sm")], ids=str
)
def test_metrics_of_kinds_without_an_object_are_left_out(tmp_path: Path, side: int, missing: str) -> None:
    """As in pycocotools, an area of 32 x 32 counts as small and as medium."""
    objects = [box(1, 1, [0, 0, side, side], iscrowd=0), box(2, 1, [0, 0, 7, 99], iscrowd=1)]
    root = write_set(tmp_path, [entry(1, 120, 100)], objects)
    split = read_split(root, "train")
    detections = [{"image_id": 1, "bbox": [0, 0, side, side], "score": 0.5, "category_id": 1}]
    values = plain_pycocotools(root / "annotations" / "instances_train.json", detections)
    absent = [name for name, value in zip(METRICS, values, strict=True) if value == -1]
    assert {name[-1] for name in absent} == set(missing)
    for found in ([], truth_as_detections(split)):
        assert [name for name in METRICS if name not in coco_metrics(split, found)] == absent


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 40), st.booleans())
def test_random_detections_score_what_pycocotools_says(
    seed: int, images: int, most: int, equal_scores: bool
) -> None:
    """Crowd regions, areas of every kind, ties of scores, more detections than count, missing classes."""
    rng = np.random.default_rng(seed)
    objects = [
        box(k + 1, int(rng.integers(1, images + 1)), _random_box(rng), category=int(rng.choice([1, 7])))
        for k in range(int(rng.integers(1, 30)))
    ]
    for item in objects:
        item.update(iscrowd=int(rng.random() < 0.2), area=float(rng.choice([100, 1024, 5000, 9216, 2e4])))
    with TemporaryDirectory() as folder:
        root = write_set(Path(folder), [entry(i, 200, 160) for i in range(1, images + 1)], objects)
        split = read_split(root, "train")
        found: list[Any] = []
        results = []
        for i, image_id in enumerate(split.image_ids.tolist()):
            count = int(rng.integers(0, most + 1)) * (5 if rng.random() < 0.1 else 1)
            near = [*split.boxes[split.boxes_of(i)].tolist(), [0, 0, 30, 30]]
            boxes = np.array([rng.choice(near) for _ in range(count)], np.float64).reshape(-1, 4)
            boxes += rng.normal(0, 4, boxes.shape)
            boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
            scores = rng.random(count).round(1 if equal_scores else 9)
            labels = rng.integers(0, 2, count)
            found.append((i, boxes, scores, labels))
            results += [
                {
                    "image_id": image_id,
                    "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]],
                    "score": score,
                    "category_id": int(split.category_ids[label]),
                }
                for b, score, label in zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True)
            ]
        metrics = coco_metrics(split, found)
        if not results:
            assert set(metrics.values()) <= {0.0}
            return
        values = plain_pycocotools(root / "annotations" / "instances_train.json", results)
    expected = {name: value for name, value in zip(METRICS, values, strict=True) if value != -1}
    assert metrics == pytest.approx(expected, abs=1e-12)


def _random_box(rng: np.random.Generator) -> list[float]:
    x, y = rng.integers(0, 120), rng.integers(0, 90)
    return [float(v) for v in (x, y, rng.integers(1, 200 - x), rng.integers(1, 160 - y))]
