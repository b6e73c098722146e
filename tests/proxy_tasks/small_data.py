"""Small COCO sets for the tests, and where the real ones lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


def real_root(name: str) -> Path:
    """The folder of a real data set, or the test is skipped."""
    root = REAL_DATA / name
    if not root.is_dir():
        pytest.skip(f"the real data set {name} is not beside the checkout")
    return root


def entry(number: int, width: int = 40, height: int = 30) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png", "width": width, "height": height}


def box(number: int, image: int, bbox: list[float], category: int = 1, **more: object) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        **more,
    }


def write_set(
    root: Path,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    split: str = "train",
    coco_2017: bool = False,
    categories: tuple[int, ...] = (1, 7),
) -> Path:
    """A COCO root with flat grey images that get lighter to the right and bottom."""
    name = f"{split}2017" if coco_2017 else split
    folder = root / name if coco_2017 else root / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    for image in images:
        if isinstance(image.get("width"), int) and image["width"] > 0:
            y, x = np.mgrid[: image["height"], : image["width"]]
            pixels = np.stack([x * 3 % 256, y * 3 % 256, (x + y) % 256], -1).astype(np.uint8)
            Image.fromarray(pixels).save(folder / image["file_name"])
    data = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c, "name": f"class {c}"} for c in categories],
    }
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(data))
    return root
