"""COCO's format: one JSON file for a split.

A root is either COCO 2017 as downloaded (`annotations/instances_train2017.json`, `train2017/`) or
`annotations/instances_train.json` with `images/train/`, and the same with val.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from proxy_tasks.data.dataset import SPLITS, DataError, Fault, Inspection, Split
from proxy_tasks.data.fields import as_number, as_whole, shorten
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.records import ImageRecord, ObjectRecord, build_dataset

Entry = dict[str, Any]


@dataclass(frozen=True)
class CocoReader(Reader):
    """Reads COCO's annotations of boxes and of segmentations."""

    name: ClassVar[str] = "COCO"
    layout: ClassVar[str] = "annotations/instances_train.json (or instances_train2017.json)"

    def recognizes(self, root: Path) -> bool:
        """Whether there is an annotation file by one of the names."""
        return any(file.is_file() for split in SPLITS for file, _ in _layouts(root, split))

    def files(self, root: Path, split: Split) -> list[Path]:
        """The annotation file."""
        return [split_files(root, split)[0]]

    def inspect(self, root: Path, split: Split, masks: bool = False) -> Inspection:
        """See `Reader.inspect`."""
        path, folder = split_files(root, split)
        content, data = _read_annotations(path)
        categories, category_faults = _by_id(data["categories"], path, "category")
        entries, entry_faults = _by_id(data["images"], path, "image")
        boxes, box_faults = _by_id(data["annotations"], path, "annotation")
        images, image_faults = _image_records(entries, path, folder)
        labels = {category_id: i for i, category_id in enumerate(sorted(categories))}
        objects, object_faults = _object_records(boxes, path, entries, labels)
        dataset, faults = build_dataset(
            image_folder=folder,
            images=images,
            objects=objects,
            categories=[(number, str(categories[number].get("name", number))) for number in labels],
            content=[content],
            masks=masks,
        )
        return Inspection(
            dataset,
            [*category_faults, *entry_faults, *box_faults, *image_faults, *object_faults, *faults],
        )


def split_files(root: Path, split: Split) -> tuple[Path, Path]:
    """The annotation file and the image folder of a split.

    Raises:
        DataError: if the root has neither of the two layouts.
    """
    layouts = _layouts(root, split)
    for file, images in layouts:
        if file.is_file():
            if not images.is_dir():
                raise DataError(f"{images}: no such folder, but {file} is there")
            return file, images
    neither, nor = (file.relative_to(root) for file, _ in layouts)
    raise DataError(f"{root}: neither {neither} nor {nor}")


def _layouts(root: Path, split: Split) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    return (
        (root / "annotations" / f"instances_{split}2017.json", root / f"{split}2017"),
        (root / "annotations" / f"instances_{split}.json", root / "images" / split),
    )


def _read_annotations(path: Path) -> tuple[bytes, dict[str, list[Any]]]:
    content = path.read_bytes()
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: no COCO annotations: expected an object")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise DataError(f'{path}: no COCO annotations: "{key}" must be a list')
    return content, data


def _by_id(entries: Iterable[Any], path: Path, what: str) -> tuple[dict[int, Entry], list[Fault]]:
    """Entries by ascending id; of those with equal ids the first counts."""
    found: dict[int, Entry] = {}
    faults = []
    for i, entry in enumerate(entries):
        number = as_whole(entry.get("id")) if isinstance(entry, dict) else None
        where = f"{path.name} {what} entry {i}"
        if number is None:
            faults.append(Fault(where, "has no whole number as id", f"the {what}"))
        elif not -(2**63) <= number < 2**63:
            faults.append(Fault(where, "has an id beyond 64 bits", f"the {what}"))
        elif number in found:
            faults.append(Fault(f"{path.name} {what} {number}", "the id stands twice", f"the second {what}"))
        else:
            found[number] = entry
    return dict(sorted(found.items())), faults


def _image_records(
    entries: dict[int, Entry], path: Path, folder: Path
) -> tuple[list[ImageRecord], list[Fault]]:
    is_file = _file_test(folder)
    records, faults = [], []
    for number, entry in entries.items():
        where = f"{path.name} image {number}"
        name = entry.get("file_name")
        height, width = as_whole(entry.get("height")), as_whole(entry.get("width"))
        if not isinstance(name, str) or not is_file(name):
            faults.append(Fault(where, f"no file {name!r} in {folder}", "the image"))
        elif height is None or width is None or height < 1 or width < 1:
            found = f"{entry.get('height')!r} and {entry.get('width')!r}"
            faults.append(Fault(where, f"height and width must be above 0, not {found}", "the image"))
        else:
            records.append(ImageRecord(id=number, file_name=name, height=height, width=width))
    return records, faults


def _file_test(folder: Path) -> Callable[[str], bool]:
    """Whether a name is that of a file below a folder; one look at the folder is quicker than one a file."""
    names = {entry.name for entry in folder.iterdir()}

    def is_file(name: str) -> bool:
        path = Path(name)
        if path.name == name:
            return name in names
        return not path.is_absolute() and ".." not in path.parts and (folder / path).is_file()

    return is_file


def _object_records(
    entries: dict[int, Entry], path: Path, images: dict[int, Entry], labels: dict[int, int]
) -> tuple[list[ObjectRecord], list[Fault]]:
    records, faults = [], []
    for number, entry in entries.items():
        where = f"{path.name} annotation {number}"
        record = _object_record(entry, where, images, labels)
        if isinstance(record, str):
            faults.append(Fault(where, record, "the box"))
        else:
            records.append(record)
    return records, faults


def _object_record(
    entry: Entry, where: str, images: dict[int, Entry], labels: dict[int, int]
) -> ObjectRecord | str:
    """The record of an annotation, or what is wrong with it."""
    image_id, category_id = as_whole(entry.get("image_id")), as_whole(entry.get("category_id"))
    if image_id is None or image_id not in images:
        return f"unknown image id {shorten(entry.get('image_id'))}"
    if category_id is None or category_id not in labels:
        return f"unknown category id {shorten(entry.get('category_id'))}"
    crowd = entry.get("iscrowd", 0)
    if isinstance(crowd, str) or crowd not in (0, 1):
        return f"iscrowd must be 0 or 1, not {crowd!r}"
    bbox = entry.get("bbox")
    numbers = [as_number(value) for value in bbox] if isinstance(bbox, list) else []
    box = [number for number in numbers if number is not None]
    if len(numbers) != 4 or len(box) != 4:
        return f"bbox must be four numbers, not {str(bbox)[:60]}"
    if box[2] <= 0 or box[3] <= 0:
        return f"box {bbox} is empty"
    area = as_number(entry.get("area"))
    return ObjectRecord(
        where=where,
        image_id=image_id,
        label=labels[category_id],
        bbox=(box[0], box[1], box[2], box[3]),
        crowd=bool(crowd),
        area=area if area is not None and area > 0 else None,
        segmentation=entry.get("segmentation"),
    )
