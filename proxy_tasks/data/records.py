"""From what a file says to a dataset: the part of reading that all formats share.

A reader turns its files into image and object records. `build_dataset` sorts the images by file name, clips
the boxes, turns outlines into run lengths, and names what cannot be used, alike for every format. So a copy
of a set in another format gives the same dataset.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from proxy_tasks.data.dataset import DetectionDataset, Fault, Inspection, RunLengths
from proxy_tasks.data.geometry import GeometryError, clip_box, run_lengths, why_lost
from proxy_tasks.data.image_io import (
    MAX_PIXELS,
    MOST_PIXELS,
    ImageError,
    MisfitError,
    Size,
    image_size,
    open_rgb,
)
from proxy_tasks.data.progress import OnProgress

LARGEST_AREA = 1e18
"""Square pixels; what an annotation gives beyond that is no area, and would not survive sums."""

EDGE_TOLERANCE = 1.0
"""Pixels by which a box may reach over the image's edge before it is a fault; it is clipped in any case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """An image that an annotation names and whose file is there.

    Args:
        id: a unique number.
        file_name: path below the image folder.
        height, width: in pixels, as annotated.
    """

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRecord:
    """An object that an annotation names, with values that are sound by themselves.

    Args:
        where: the file and the entry, for messages.
        image_id: the id of its image; the object of an image without a record is left out.
        label: index of its category.
        bbox: x, y, width, and height in pixels; width and height are above 0.
        crowd: whether it is a region of many objects, or one that does not count.
        area: in pixels; None for that of the box.
        segmentation: polygons or run lengths in COCO's form, unchecked; None if there are none.
    """

    where: str
    image_id: int
    label: int
    bbox: tuple[float, float, float, float]
    crowd: bool = False
    area: float | None = None
    segmentation: object = None


def collect_objects(
    found: Iterable[tuple[str, ObjectRecord | str]],
) -> tuple[list[ObjectRecord], list[Fault]]:
    """Gives the sound objects, and the faults of the others.

    Args:
        found: the place of each object in its file, for messages, with its record or with what is wrong with
            it.
    """
    records: list[ObjectRecord] = []
    faults: list[Fault] = []
    for where, record in found:
        if isinstance(record, str):
            faults.append(Fault(where, record, "the box"))
        else:
            records.append(record)
    return records, faults


@dataclass(kw_only=True)
class Records:
    """What the files of a split say, before the objects are put on their images.

    Args:
        image_folder: the folder that file names start from.
        images, objects: those that are sound by themselves.
        categories: id and name of each, by label.
        content: of the annotations.
        faults: of everything else.
        named_images, named_objects: how many the files name, with those that have faults.
    """

    image_folder: Path
    images: list[ImageRecord] = field(default_factory=list)
    objects: list[ObjectRecord] = field(default_factory=list)
    categories: list[tuple[int, str]] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    named_images: int = 0
    named_objects: int = 0

    def inspection(self, masks: bool) -> Inspection:
        """The dataset of these records, with all faults."""
        dataset, faults = build_dataset(
            image_folder=self.image_folder,
            images=self.images,
            objects=self.objects,
            categories=self.categories,
            content=self.content,
            masks=masks,
        )
        return Inspection(dataset, [*self.faults, *faults], self.named_images, self.named_objects)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Placed:
    """An object on its image: the box is clipped to it."""

    record: ObjectRecord
    image: int
    box: tuple[float, float, float, float]
    mask: RunLengths | None


def build_dataset(
    *,
    image_folder: Path,
    images: Iterable[ImageRecord],
    objects: Iterable[ObjectRecord],
    categories: Sequence[tuple[int, str]],
    content: Iterable[bytes],
    masks: bool = False,
) -> Inspection:
    """The dataset that records make, with the faults of the objects that do not fit their image.

    Args:
        image_folder: the folder that file names start from.
        images: in any order.
        objects: in the order in which an image is to have them.
        categories: id and name of each, by label.
        content: of the annotations; the pixel cache is made again if it changes.
        masks: whether objects need pixels; those without are left out.
    """
    ordered = sorted(images, key=lambda image: image.file_name)
    index = {image.id: i for i, image in enumerate(ordered)}
    placed: list[_Placed] = []
    faults: list[Fault] = []
    for record in objects:
        if record.image_id not in index:
            continue
        i = index[record.image_id]
        found, fault = _place(record, i, ordered[i], masks)
        if found is not None:
            placed.append(found)
        if fault is not None:
            faults.append(fault)
    placed.sort(key=lambda found: found.image)
    dataset = DetectionDataset(
        image_folder=image_folder,
        image_ids=np.array([image.id for image in ordered], dtype=np.int64),
        file_names=tuple(image.file_name for image in ordered),
        sizes=np.array([(image.height, image.width) for image in ordered], dtype=np.int64).reshape(-1, 2),
        boxes=np.array([found.box for found in placed], dtype=np.float32).reshape(-1, 4),
        labels=np.array([found.record.label for found in placed], dtype=np.int64),
        crowd=np.array([found.record.crowd for found in placed], dtype=np.bool_),
        areas=np.array([_area(found.record) for found in placed], dtype=np.float64),
        image_index=np.array([found.image for found in placed], dtype=np.int64),
        category_ids=np.array([number for number, _ in categories], dtype=np.int64),
        category_names=tuple(name for _, name in categories),
        annotation_digest=_digest(content),
        masks=tuple(found.mask for found in placed if found.mask is not None),
    )
    return Inspection(dataset, faults)


def _place(
    record: ObjectRecord, index: int, image: ImageRecord, masks: bool
) -> tuple[_Placed | None, Fault | None]:
    """The object on its image, or None if it must be left out; and what is wrong with it, if anything."""
    x, y, w, h = record.bbox
    box = clip_box(record.bbox, image.height, image.width)
    if box is None:
        reason = why_lost(record.bbox, image.height, image.width)
        return None, Fault(record.where, f"box {_shown(record)} {reason}", "the box")
    mask = None
    if masks:
        try:
            mask = run_lengths(record.segmentation, image.height, image.width)
        except GeometryError as error:
            return None, Fault(record.where, str(error), "the object")
    over = max(-x, -y, x + w - image.width, y + h - image.height)
    fault = None
    if over > EDGE_TOLERANCE:
        fault = Fault(record.where, f"box {_shown(record)} reaches over the image's edge", "the part outside")
    return _Placed(record=record, image=index, box=box, mask=mask), fault


def _shown(record: ObjectRecord) -> str:
    """The box for a message."""
    return f"[{', '.join(f'{value:.12g}' for value in record.bbox)}]"


def _area(record: ObjectRecord) -> float:
    area = record.area if record.area is not None else record.bbox[2] * record.bbox[3]
    return min(area, LARGEST_AREA)


def read_image_sizes(paths: Sequence[Path]) -> list[Size | str]:
    """The sizes of many files, however large, read at once, or why one cannot be read."""

    def read(path: Path) -> Size | str:
        try:
            return image_size(path, MOST_PIXELS)
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, paths))


def decoding_faults(
    dataset: DetectionDataset,
    max_pixels: int = MAX_PIXELS,
    progress: OnProgress | None = None,
) -> list[Fault]:
    """Decodes every image of a dataset: which files are truncated, or of another size than annotated.

    Args:
        dataset: with the names of the files.
        max_pixels: larger images are not decoded.
        progress: called with (done, all) while images are decoded, several at once.
    """

    def look(image: tuple[str, list[int]]) -> Fault | None:
        name, (height, width) = image
        return _decoding_fault(dataset.image_folder / name, (height, width), max_pixels)

    found: list[Fault] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = zip(dataset.file_names, dataset.sizes.tolist(), strict=True)
        for done, fault in enumerate(pool.map(look, images), start=1):
            if fault is not None:
                found.append(fault)
            if progress is not None:
                progress(done, len(dataset))
    return found


def _decoding_fault(path: Path, annotated: Size, max_pixels: int) -> Fault | None:
    try:
        open_rgb(path, annotated, max_pixels=max_pixels)
    except MisfitError as error:
        return Fault(str(path), str(error), "the image")
    except ImageError as error:
        return Fault(str(path), f"cannot be decoded: {error}", "the image")
    except MemoryError:
        return Fault(str(path), "cannot be decoded: it does not fit into memory", "the image")
    return None


def _digest(parts: Iterable[bytes]) -> str:
    """A digest of several contents, which changes if one of them or their order does."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
