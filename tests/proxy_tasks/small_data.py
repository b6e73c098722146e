"""Small COCO sets for the tests, copies of them in other formats, and where the real ones lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from proxy_tasks.data.detection import DetectionData

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
SPLITS = ("train", "val")


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
            tint = 100 if split == "val" else 0  # An image of train that is in val too is left out of train.
            pixels = np.stack([x * 3 % 256, y * 3 % 256, (x + y + tint) % 256], -1).astype(np.uint8)
            Image.fromarray(pixels).save(folder / image["file_name"])
    data = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c, "name": f"class {c}"} for c in categories],
    }
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(data))
    return root


def read_coco(root: Path, split: str) -> dict[str, Any]:
    """The annotations of a split."""
    data: dict[str, Any] = json.loads((root / "annotations" / f"instances_{split}.json").read_text())
    return data


def write_both(root: Path, count: int = 4) -> Path:
    """A set of so many images in each split, each with one box."""
    for split in ("train", "val"):
        images = [entry(i) for i in range(1, count + 1)]
        write_set(root, images, [box(i, i, [2, 3, 10, 12]) for i in range(1, count + 1)], split)
    return root


def change_annotations(root: Path, split: str, edit: Callable[[dict[str, Any]], object]) -> None:
    """Lets a function edit the annotations of a split in place."""
    path = root / "annotations" / f"instances_{split}.json"
    data = read_coco(root, split)
    edit(data)
    path.write_text(json.dumps(data))


def data_of(root: Path, **more: Any) -> DetectionData:
    """The data of a training on a set, with more settings; prepared images are kept beside it."""
    return DetectionData(str(root), str(root.parent / "cache"), **more)


def plain_boxes(root: Path, target: Path) -> Path:
    """A COCO copy with what every format can say: boxes without areas and segmentations, names used once."""
    (target / "annotations").mkdir(parents=True)
    for split in SPLITS:
        data = read_coco(root, split)
        (target / "images" / split).mkdir(parents=True)
        for image in data["images"]:
            name = f"{split}-{image['file_name']}"
            shutil.copy(root / "images" / split / image["file_name"], target / "images" / split / name)
            image["file_name"] = name
        for annotation in data["annotations"]:
            annotation.pop("area", None)
            annotation.pop("segmentation", None)
        (target / "annotations" / f"instances_{split}.json").write_text(json.dumps(data))
    return target


def by_image(data: dict[str, Any]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each image of COCO annotations with its own."""
    found: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        found[annotation["image_id"]].append(annotation)
    return [(image, found[image["id"]]) for image in data["images"]]


def write_yolo(root: Path, target: Path, decimals: int = 6) -> Path:
    """A copy of a COCO root in YOLO's format; polygons where the annotations have them."""
    names = [category["name"] for category in read_coco(root, "train")["categories"]]
    index = {category["id"]: i for i, category in enumerate(read_coco(root, "train")["categories"])}
    for split in SPLITS:
        shutil.copytree(root / "images" / split, target / "images" / split)
        labels = target / "labels" / split
        labels.mkdir(parents=True)
        for image, objects in by_image(read_coco(root, split)):
            lines = []
            for annotation in objects:
                x, y, w, h = annotation["bbox"]
                sides = (image["width"], image["height"])
                values = [(x + w / 2) / sides[0], (y + h / 2) / sides[1], w / sides[0], h / sides[1]]
                if isinstance(annotation.get("segmentation"), list):
                    polygon = annotation["segmentation"][0]
                    values = [value / sides[i % 2] for i, value in enumerate(polygon)]
                numbers = " ".join(f"{value:.{decimals}f}" for value in values)
                lines.append(f"{index[annotation['category_id']]} {numbers}\n")
            (labels / Path(image["file_name"]).with_suffix(".txt")).write_text("".join(lines))
    listed = "".join(f"  {i}: {name}\n" for i, name in enumerate(names))
    (target / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{listed}")
    return target


def write_coco_in_yolo(root: Path, train: str, val: str, folders: tuple[str, str]) -> Path:
    """A YOLO set of 40 and 4 images in these folders below images/; `train` and `val` stand in data.yaml."""
    for folder, count in zip(folders, (40, 4), strict=True):
        (root / "labels" / folder).mkdir(parents=True)
        (root / "images" / folder).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (40, 30), (i, 9, 9)).save(root / "images" / folder / f"{i}.png")
            (root / "labels" / folder / f"{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        lines = [f"./images/{folder}/{i}.png\n" for i in range(count)]
        (root / f"{folder}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text(f"train: {train}\nval: {val}\nnames: [one]\n")
    return root


def write_voc(root: Path, target: Path) -> Path:
    """A copy of a COCO root in Pascal VOC's format; crowd regions become difficult objects."""
    categories = {category["id"]: category["name"] for category in read_coco(root, "train")["categories"]}
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (target / folder).mkdir(parents=True)
    (target / "labels.txt").write_text("".join(f"{name}\n" for name in categories.values()))
    for split in SPLITS:
        names = []
        for image, objects in by_image(read_coco(root, split)):
            name = image["file_name"]
            names.append(Path(name).stem)
            shutil.copy(root / "images" / split / name, target / "JPEGImages" / name)
            elements = [
                voc_object(categories[a["category_id"]], a["bbox"], a.get("iscrowd", 0)) for a in objects
            ]
            text = voc_annotation(name, image["width"], image["height"], elements)
            (target / "Annotations" / Path(name).with_suffix(".xml").name).write_text(text)
        (target / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return target


def voc_object(name: str, bbox: list[float], difficult: int = 0) -> str:
    """An object in VOC's XML, from a box as COCO has it."""
    x, y, w, h = bbox
    corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + w, "ymax": y + h}
    box = "".join(f"<{key}>{value:g}</{key}>" for key, value in corners.items())
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


def voc_annotation(file_name: str, width: int, height: int, objects: list[str]) -> str:
    """A file of VOC's annotations."""
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{file_name}</filename>{size}{''.join(objects)}</annotation>"
