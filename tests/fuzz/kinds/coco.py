"""COCO annotations: looked over by `nas data check`, masks included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fuzz.kind import Kind, RefusedError, commands
from tests.fuzz.mutation import mutate_json

POLYGON = [[1, 2, 11, 2, 11, 10, 1, 10]]


def _prepare(folder: Path) -> Any:
    import torch  # noqa: F401
    from PIL import Image

    (folder / "annotations").mkdir()
    (folder / "images" / "train").mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (40 + i, 30), (90 * i, 20, 30)).save(folder / "images" / "train" / f"{i}.png")
    boxes: list[dict[str, Any]] = [
        {"image_id": i % 3, "category_id": 1 + i % 2, "bbox": [1 + i, 2, 10, 8.5], "area": 80, "iscrowd": 0}
        for i in range(5)
    ]
    boxes = [{"id": i, **box, "segmentation": POLYGON} for i, box in enumerate(boxes)]
    crowd = {"image_id": 0, "category_id": 1, "bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 1}
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 30, "width": 40 + i} for i in range(3)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            *boxes,
            {"id": 9, **crowd, "segmentation": {"size": [30, 40], "counts": [600, 600]}},
            {"id": 10, **crowd, "segmentation": {"size": [30, 40], "counts": "PP_1"}},
        ],
    }


def _read(case: bytes, folder: Path) -> None:
    (folder / "annotations" / "instances_train.json").write_bytes(case)
    commands(("data", "check", str(folder), "--split", "train", "--masks"))


KIND = Kind(name="coco", prepare=_prepare, mutate=mutate_json, read=_read, documented=(RefusedError,))
