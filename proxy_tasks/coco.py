"""COCO-format data: where the files of a split lie, what they hold, and what is wrong with them.

A root is either COCO 2017 as downloaded (`annotations/instances_train2017.json`, `train2017/`) or
`annotations/instances_train.json` with `images/train/`, and the same with val.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.images import MisfitError, open_rgb

COCO_HELD_OUT = 7392
"""Images of COCO's train2017 that a search holds out for validation (paper section 5.1)."""
COCO_TRAIN = 118_287


RunLengths = dict[str, Any]
"""{"size": [height, width], "counts": bytes}."""


class DataError(ValueError):
    """Data that cannot be used: says which file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a data set.

    Args:
        where: file, or file and entry, such as "instances_train.json annotation 17".
        what: what is wrong.
        skipped: what a training leaves out because of it, such as "the box".
    """

    where: str
    what: str
    skipped: str


@dataclass(frozen=True)
class Split:
    """Images and boxes of one split, without those that must be skipped.

    Args:
        image_folder: where the files lie.
        image_ids: [N] COCO ids, ascending.
        file_names: [N].
        sizes: [N, 2] height and width as annotated.
        boxes: [M, 4] x0, y0, x1, y1 in pixels, clipped to the image.
        labels: [M] index into category_ids.
        crowd: [M] whether the box is a region with many objects.
        areas: [M] as annotated, in pixels; the evaluation sorts objects by them.
        owner: [M] index of the box's image, ascending.
        category_ids: [K] COCO ids, ascending.
        category_names: [K].
        annotation_digest: of the annotation file's content.
        masks: [M] run-length codes of the objects' pixels, as pycocotools takes them, where they were asked
            for; else none.
    """

    image_folder: Path
    image_ids: NDArray[np.int64]
    file_names: tuple[str, ...]
    sizes: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    owner: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    category_names: tuple[str, ...]
    annotation_digest: str
    masks: tuple[RunLengths, ...] = ()

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def categories(self) -> tuple[tuple[int, str], ...]:
        """(id, name) of each."""
        return tuple(zip(self.category_ids.tolist(), self.category_names, strict=True))

    def boxes_of(self, image: int) -> slice:
        """The range of the image's boxes."""
        return slice(*np.searchsorted(self.owner, (image, image + 1)).tolist())

    def subset(self, images: NDArray[np.int64]) -> Split:
        """The split with only these images, given by ascending index."""
        position = np.full(len(self), -1)
        position[images] = np.arange(len(images))
        kept = position[self.owner] >= 0
        return Split(
            self.image_folder,
            self.image_ids[images],
            tuple(self.file_names[i] for i in images),
            self.sizes[images],
            self.boxes[kept],
            self.labels[kept],
            self.crowd[kept],
            self.areas[kept],
            position[self.owner[kept]],
            self.category_ids,
            self.category_names,
            self.annotation_digest,
            tuple(mask for mask, keep in zip(self.masks, kept.tolist(), strict=False) if keep),
        )


def split_files(root: str | Path, split: str) -> tuple[Path, Path]:
    """The annotation file and the image folder of "train" or "val".

    Raises:
        DataError: if the root has neither of the two layouts.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; a COCO root is wanted")
    layouts = (
        (root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017"),
        (root / "annotations" / f"instances_{split}.json", root / "images" / split),
    )
    for file, images in layouts:
        if file.is_file():
            if not images.is_dir():
                raise DataError(f"{images}: no such folder, but {file} is there")
            return file, images
    raise DataError(
        f"{root}: neither {layouts[0][0].relative_to(root)} nor {layouts[1][0].relative_to(root)}"
    )


def read_split(root: str | Path, split: str, masks: bool = False) -> Split:
    """The usable part of a split; `inspect_split` tells what is left out.

    Args:
        root, split: see `inspect_split`.
        masks: also read the objects' pixels; objects without are left out.

    Raises:
        DataError: if files are missing, are not COCO annotations, or nothing usable is left.
    """
    usable, _ = inspect_split(root, split, decode=False, masks=masks)
    if len(usable) == 0:
        raise DataError(f"{split_files(root, split)[0]}: no usable image; nas data check {root} tells why")
    return usable


def inspect_split(
    root: str | Path, split: str, decode: bool = True, masks: bool = False
) -> tuple[Split, list[Fault]]:
    """The usable part of a split, which may be empty, and everything wrong with the rest.

    Args:
        root: the data set.
        split: "train" or "val".
        decode: also decode every image, which finds truncated files.
        masks: also read the objects' pixels.

    Raises:
        DataError: if files are missing or are not COCO annotations.
    """
    annotations, folder = split_files(root, split)
    content, data = _read_json(annotations)
    found: list[Fault] = []
    usable = _usable(data, annotations, folder, blake2b(content, digest_size=16).hexdigest(), found, masks)
    if decode:
        images = zip(usable.file_names, usable.sizes.tolist(), strict=True)
        faults = (_image_fault(folder / name, (height, width)) for name, (height, width) in images)
        found += [fault for fault in faults if fault is not None]
    present = Counter(usable.labels.tolist())
    for i, name in enumerate(usable.category_names):
        if not present[i]:
            where = f"{annotations.name} category {usable.category_ids[i]}"
            found.append(Fault(where, f"{name!r} has no box", "nothing"))
    return usable, found


def held_out(split: Split, count: int | None = None) -> tuple[Split, Split]:
    """Divides a training split into training and validation part, always in the same way.

    Images are ordered by a digest of their id; the first ones are held out: 7,392 of COCO's 118,287, or
    the same share of another set, but at least one.

    Args:
        split: the whole training split.
        count: images to hold out, if not the share above.
    """
    if count is None:
        count = max(1, round(len(split) * COCO_HELD_OUT / COCO_TRAIN))
    if not 0 < count < len(split):
        raise DataError(f"cannot hold out {count} of {len(split)} images")
    digests = [
        blake2b(f"{image_id}".encode(), digest_size=8).digest() for image_id in split.image_ids.tolist()
    ]
    order = sorted(range(len(split)), key=digests.__getitem__)
    chosen = np.array(sorted(order[:count]), dtype=np.int64)
    others = np.setdiff1d(np.arange(len(split)), chosen)
    return split.subset(others), split.subset(chosen)


def category_difference(
    ours: Sequence[tuple[int, str]], theirs: Sequence[tuple[int, str]], us: str = "train", them: str = "val"
) -> str:
    """What parts two lists of (id, name), in one line; "" if they are the same."""
    if tuple(ours) == tuple(theirs):
        return ""
    lost = [f"{number} {name!r}" for number, name in ours if (number, name) not in theirs]
    new = [f"{number} {name!r}" for number, name in theirs if (number, name) not in ours]
    parts = []
    for what, names in ((f"only {us} has", lost), (f"only {them} has", new)):
        if names:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            parts.append(f"{what} {', '.join(names[:4])}{more}")
    return "; ".join(parts) or "their order differs"


def _read_json(path: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        content = path.read_bytes()
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: no COCO annotations: expected an object")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise DataError(f'{path}: no COCO annotations: "{key}" must be a list')
    return content, data


def _usable(
    data: dict[str, Any], path: Path, folder: Path, digest: str, found: list[Fault], masks: bool
) -> Split:
    """The usable images and boxes; appends what is wrong with the others."""
    categories = _by_id(data["categories"], path, "category", found)
    category_ids = sorted(categories)
    images = _by_id(data["images"], path, "image", found)
    names, sizes, image_ids = [], [], []
    there = {entry.name for entry in folder.iterdir()}

    def is_file(name: str) -> bool:
        """Below the folder; one look at it is quicker than a look at every file."""
        path = Path(name)
        if path.name == name:
            return name in there
        return not path.is_absolute() and ".." not in path.parts and (folder / path).is_file()

    for image_id in sorted(images):
        entry, where = images[image_id], f"{path.name} image {image_id}"
        name, height, width = entry.get("file_name"), entry.get("height"), entry.get("width")
        if not isinstance(name, str) or not is_file(name):
            found.append(Fault(where, f"no file {name!r} in {folder}", "the image"))
        elif not (_is_count(height) and _is_count(width)):
            found.append(
                Fault(where, f"height and width must be above 0, not {height!r} and {width!r}", "the image")
            )
        else:
            names.append(name)
            sizes.append((height, width))
            image_ids.append(image_id)
    index = {image_id: i for i, image_id in enumerate(image_ids)}
    label = {category_id: i for i, category_id in enumerate(category_ids)}
    rows = []
    for annotation_id, entry in _by_id(data["annotations"], path, "annotation", found).items():
        where = f"{path.name} annotation {annotation_id}"
        fault = _annotation_fault(entry, images, categories)
        if fault is not None:
            found.append(Fault(where, fault, "the box"))
            continue
        if entry["image_id"] not in index:
            continue
        i = index[entry["image_id"]]
        x, y, w, h = (float(value) for value in entry["bbox"])
        height, width = sizes[i]
        x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
        if x1 <= x0 or y1 <= y0:
            found.append(Fault(where, f"box {entry['bbox']} lies outside the image", "the box"))
            continue
        if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
            found.append(
                Fault(where, f"box {entry['bbox']} reaches over the image's edge", "the part outside")
            )
        mask = _run_lengths(entry.get("segmentation"), height, width) if masks else None
        if masks and mask is None:
            found.append(Fault(where, "has no segmentation that can be read", "the object"))
            continue
        crowd = bool(entry.get("iscrowd", 0))
        area = _area(entry, w * h)
        rows.append((i, annotation_id, (x0, y0, x1, y1), label[entry["category_id"]], crowd, area, mask))
    rows.sort(key=lambda row: row[:2])
    return Split(
        image_folder=folder,
        image_ids=np.array(image_ids, dtype=np.int64),
        file_names=tuple(names),
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        boxes=np.array([row[2] for row in rows], dtype=np.float32).reshape(-1, 4),
        labels=np.array([row[3] for row in rows], dtype=np.int64),
        crowd=np.array([row[4] for row in rows], dtype=np.bool_),
        areas=np.array([row[5] for row in rows], dtype=np.float64),
        owner=np.array([row[0] for row in rows], dtype=np.int64),
        category_ids=np.array(category_ids, dtype=np.int64),
        category_names=tuple(str(categories[c].get("name", c)) for c in category_ids),
        annotation_digest=digest,
        masks=tuple(row[6] for row in rows if row[6] is not None),
    )


def _run_lengths(segmentation: Any, height: int, width: int) -> RunLengths | None:
    """Polygons or run lengths as compressed run lengths; None if they are neither."""
    from pycocotools import mask as coco_mask

    try:
        if isinstance(segmentation, list):
            parts = [polygon for polygon in segmentation if len(polygon) >= 6]
            if not parts or not all(_is_finite(number) for polygon in parts for number in polygon):
                return None
            joined = coco_mask.merge(coco_mask.frPyObjects(parts, height, width))
        elif isinstance(segmentation["counts"], list):
            counts = segmentation["counts"]
            if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != height * width:
                return None
            joined = coco_mask.frPyObjects(segmentation, height, width)
        else:
            joined = {"size": segmentation["size"], "counts": segmentation["counts"].encode()}
            if list(joined["size"]) == [height, width]:
                coco_mask.decode(joined)  # Refuses lengths that do not fill the image.
        if list(joined["size"]) != [height, width] or int(coco_mask.area(joined)) == 0:
            return None
    except (TypeError, KeyError, ValueError, AttributeError, IndexError):
        return None
    return {"size": [height, width], "counts": joined["counts"]}


def _by_id(entries: list[Any], path: Path, what: str, found: list[Fault]) -> dict[int, dict[str, Any]]:
    """Entries by id; the first of equal ids counts."""
    result: dict[int, dict[str, Any]] = {}
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            found.append(Fault(f"{path.name} {what} entry {i}", "has no whole number as id", f"the {what}"))
        elif not -(2**63) <= entry["id"] < 2**63:
            found.append(Fault(f"{path.name} {what} entry {i}", "has an id beyond 64 bits", f"the {what}"))
        elif entry["id"] in result:
            found.append(
                Fault(f"{path.name} {what} {entry['id']}", "the id stands twice", f"the second {what}")
            )
        else:
            result[entry["id"]] = entry
    return result


def _annotation_fault(
    entry: dict[str, Any], images: dict[int, Any], categories: dict[int, Any]
) -> str | None:
    box = entry.get("bbox")
    for what, known in (("image", images), ("category", categories)):
        number = entry.get(f"{what}_id")
        if type(number) is not int or number not in known:
            return f"unknown {what} id {str(number)[:60] if isinstance(number, int) else repr(number)[:60]}"
    if entry.get("iscrowd", 0) not in (0, 1) or isinstance(entry.get("iscrowd"), str):
        return f"iscrowd must be 0 or 1, not {entry['iscrowd']!r}"
    if not isinstance(box, list) or len(box) != 4 or not all(_is_finite(value) for value in box):
        return f"bbox must be four numbers, not {str(box)[:60]}"
    if box[2] <= 0 or box[3] <= 0:
        return f"box {box} is empty"
    return None


def _area(entry: dict[str, Any], fallback: float) -> float:
    area: Any = entry.get("area")
    return float(area) if _is_finite(area) and area > 0 else fallback


def _image_fault(path: Path, annotated: tuple[int, int]) -> Fault | None:
    from PIL import Image

    try:
        open_rgb(path, annotated)
    except MisfitError as error:
        return Fault(str(path), str(error), "the image")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return Fault(str(path), f"cannot be decoded: {error}", "the image")
    return None


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
