"""COCO's metrics of detections: those of boxes by faster-coco-eval, those of masks by pycocotools.

Both give the same numbers; a test compares them. The quick one takes a tenth of the time for boxes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import faster_coco_eval
import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from proxy_tasks.data.dataset import DetectionDataset, RunLengths

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve metrics, in its order."""

AREAS = {"s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
"""By the last letter of a metric, the areas of the objects that it is about, in square pixels."""


Masks = list[RunLengths]


def mask_metrics(
    split: DetectionDataset, detections: Iterable[tuple[int, Masks, NDArray[np.float64], NDArray[np.int64]]]
) -> dict[str, float]:
    """Computes COCO's metrics of masks; see `coco_metrics` for what is left out.

    Args:
        split: the objects, with masks.
        detections: for each image its index, masks [D], scores [D] and labels [D].
    """
    rows = [
        {
            "image_id": i,
            "category_id": label + 1,
            "segmentation": mask,
            "score": score,
        }
        for i, masks, scores, labels in detections
        for mask, score, label in zip(masks, scores.tolist(), labels.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _annotations(split)
        truth.createIndex()
        return _summary(split, truth, COCOeval, rows, "segm")


def coco_metrics(
    split: DetectionDataset,
    detections: Iterable[tuple[int, NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]],
) -> dict[str, float]:
    """Computes COCO's metrics of boxes.

    COCO gives a metric as -1 where the split has no object of its kind. Such metrics are left out here, so
    that no table, mean or chart takes -1 for a result.

    Args:
        split: the objects; crowd regions are treated as COCO does.
        detections: for each image its index, boxes [D, 4] in pixels of the annotated image, scores [D] and
            labels [D].
    """
    rows = [_rows(split, *image) for image in detections]
    table = np.concatenate(rows) if rows else np.zeros((0, 7))
    truth = faster_coco_eval.COCO(_annotations(split))
    return _summary(
        split, truth, partial(faster_coco_eval.COCOeval_faster, print_function=_silent), table, "bbox"
    )


def measurable_metrics(split: DetectionDataset) -> list[str]:
    """Names the metrics for which the split has objects; crowd regions are none."""
    areas = split.areas[~split.crowd]

    def has_objects(name: str) -> bool:
        low, high = AREAS.get(name[-1], (0.0, 1e10))
        return bool(((areas >= low) & (areas <= high)).any())

    return [name for name in METRICS if has_objects(name)]


def _silent(*_: object) -> None:
    """Takes what an evaluation would print."""


def _summary(
    split: DetectionDataset, truth: Any, evaluator: Any, results: Any, kind: str
) -> dict[str, float]:
    names = measurable_metrics(split)
    if len(results) == 0:
        return dict.fromkeys(names, 0.0)
    evaluation = evaluator(truth, truth.loadRes(results), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    found = dict(zip(METRICS, map(float, evaluation.stats), strict=True))
    return {name: found[name] for name in names}


def _rows(
    split: DetectionDataset,
    i: int,
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> NDArray[np.float64]:
    """pycocotools' table: image id, x, y, width, height, score, category id."""
    rows = np.empty((len(boxes), 7))
    rows[:, 0] = i  # Ids of 17 digits would not survive the table's floats, nor would those of categories.
    rows[:, 1:3] = boxes[:, :2]
    rows[:, 3:5] = boxes[:, 2:] - boxes[:, :2]
    rows[:, 5] = scores
    rows[:, 6] = labels + 1
    return rows


def _annotations(split: DetectionDataset) -> dict[str, Any]:
    """The objects as the content of a COCO file: image ids are indices, category ids labels from 1."""
    corners = split.boxes.astype(np.float64)
    return {
        "info": {},
        "images": [
            {"id": i, "height": height, "width": width}
            for i, (height, width) in enumerate(split.sizes.tolist())
        ],
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(split.category_names)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": int(split.image_index[i]),
                "category_id": int(split.labels[i]) + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": float(split.areas[i]),
                "iscrowd": int(split.crowd[i]),
                **({"segmentation": split.masks[i]} if split.masks else {}),
            }
            for i, (x0, y0, x1, y1) in enumerate(corners.tolist())
        ],
    }
