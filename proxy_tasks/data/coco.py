"""COCO's format: one JSON file for a split.

A root is COCO 2017 or 2014 as downloaded (`annotations/instances_train2017.json`, `train2017/`), or holds
`annotations/instances_train.json` with `images/train/` or `images/`, or is an export of Roboflow
(`train/_annotations.coco.json` beside its images); and the same with val, which may be called valid.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from proxy_tasks.data.dataset import SPLITS, DataError, Fault, Inspection, Split
from proxy_tasks.data.fields import Id, as_flag, as_id, as_number, as_whole, has_lists
from proxy_tasks.data.files import FileFinder, Finder
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.records import ImageRecord, ObjectRecord, Records, collect_objects
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import shown
from search_space.utils.regular_file import read_regular

Entry = dict[str, Any]

Entries = dict[Id, Entry]

NAMES: dict[Split, tuple[str, ...]] = {"train": ("train", "training"), "val": ("val", "valid", "validation")}
"""What a split is called, in any case."""

YEARS = ("2017", "", "2014")
"""What follows the name of a split; the first that is there counts."""

ROBOFLOW = "_annotations.coco.json"


@dataclass(frozen=True)
class CocoReader(Reader):
    """Reads COCO's annotations of boxes and of segmentations."""

    name: ClassVar[str] = "COCO"
    layout: ClassVar[str] = "annotations/instances_train.json (or instances_train2017.json)"

    def recognizes(self, root: Path) -> bool:
        """Whether there is an annotation file by one of the names."""
        return any(next(_layouts(root, split), None) is not None for split in SPLITS)

    def files(self, root: Path, split: Split) -> list[Path]:
        """The annotation file and the folder of images."""
        return list(split_files(root, split))

    def inspect(self, root: Path, split: Split, masks: bool = False) -> Inspection:
        """See `Reader.inspect`."""
        path, folder = split_files(root, split)
        return read_coco(path, FileFinder(folder)).inspection(masks)


def split_files(root: Path, split: Split) -> tuple[Path, Path]:
    """The annotation file and the image folder of a split.

    Raises:
        DataError: if the root has none of the layouts.
    """
    for file, folders in _layouts(root, split):
        found = next((folder for folder in folders if folder.is_dir()), None)
        if found is None:
            raise DataError(f"{folders[0]}: no such folder, but {file} is there")
        return file, found
    name = f"annotations/instances_{split}"
    raise DataError(f"{root}: neither {name}2017.json nor {name}.json")


def _layouts(root: Path, split: Split) -> Iterator[tuple[Path, list[Path]]]:
    """The annotation files of a split that are there, each with the folders where its images may be."""
    usual_names = {f"{name}{year}" for name in NAMES[split] for year in YEARS}
    files = _entries(root / "annotations", {f"instances_{name}.json" for name in usual_names})
    folders, below = _entries(root, usual_names), _entries(root / "images", usual_names)
    for year in YEARS:
        for name in NAMES[split]:
            file = files.get(f"instances_{name}{year}.json")
            if file is None or not file.is_file():
                continue
            plain, dated = root / "images" / name, root / f"{name}{year}"
            usual = [dated, plain] if year else [plain, dated]
            wanted = (name + year, name)
            yield (
                file,
                [
                    *(folder for folder in usual if folder.is_dir()),
                    *(found[key] for key in wanted for found in (below, folders) if key in found),
                    *([root / "images"] if (root / "images").is_dir() else []),
                    *usual,
                ],
            )
    for name in NAMES[split]:
        folder = folders.get(name)
        if folder is not None and (folder / ROBOFLOW).is_file():
            yield folder / ROBOFLOW, [folder]


def _entries(folder: Path, names: Set[str]) -> dict[str, Path]:
    """What is in a folder by one of these names, in any case; the first in order where several are.

    All images may lie in the folder, so that no path is made of another entry.
    """
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries if entry.name.lower() in names)
    return {name.lower(): folder / name for name in reversed(found)}


def read_coco(path: Path, finder: Finder) -> Records:
    """What an annotation file says.

    Args:
        path: the file.
        finder: of its images.

    Raises:
        DataError: if it holds no COCO annotations.
    """
    content, data = _read_annotations(path)
    file = path.name if path.name.startswith("instances") else f"{path.parent.name}/{path.name}"
    categories, category_faults = _by_id(data["categories"], file, "category")
    entries, entry_faults = _by_id(data["images"], file, "image")
    boxes, box_faults = _by_id(data["annotations"], file, "annotation")
    numbers, category_numbers = _numbers(entries), _numbers(categories)
    images, image_faults = _image_records(entries, file, finder, numbers)
    labels = {category_id: i for i, category_id in enumerate(categories)}
    objects, object_faults = _object_records(boxes, file, numbers, labels)
    return Records(
        image_folder=finder.folder,
        images=images,
        objects=objects,
        categories=[(category_numbers[key], _name(entry, key)) for key, entry in categories.items()],
        content=[content],
        faults=[*category_faults, *entry_faults, *box_faults, *image_faults, *object_faults],
        named_images=len(data["images"]),
        named_objects=len(data["annotations"]),
    )


def is_coco(data: object) -> bool:
    """Whether JSON looks like COCO's annotations."""
    return has_lists(data, "images", "annotations", "categories")


def _read_annotations(path: Path) -> tuple[bytes, dict[str, list[Any]]]:
    content = read_regular(path)
    data = parse_json(content, error=DataError, where=path)
    if not isinstance(data, dict):
        raise DataError(f"{path}: no COCO annotations: expected an object")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise DataError(f'{path}: no COCO annotations: "{key}" must be a list')
    return content, data


def _by_id(entries: Iterable[Any], file: str, what: str) -> tuple[Entries, list[Fault]]:
    """Entries by ascending id, numbers before texts; of those with equal ids the first counts."""
    found: Entries = {}
    faults = []
    for i, entry in enumerate(entries):
        given = entry.get("id") if isinstance(entry, dict) else None
        key = as_id(given)
        where = f"{file} {what} entry {i}"
        if isinstance(given, int) and not isinstance(given, bool) and key is None:
            faults.append(Fault(where, "has an id beyond 64 bits", f"the {what}"))
        elif key is None:
            faults.append(Fault(where, "must have a number or a text as id", f"the {what}"))
        elif key in found:
            faults.append(Fault(f"{file} {what} {_shown(key)}", "the id stands twice", f"the second {what}"))
        else:
            found[key] = entry
    ordered = sorted(found, key=lambda key: (isinstance(key, str), key))
    return {key: found[key] for key in ordered}, faults


def _numbers(entries: Entries) -> dict[Id, int]:
    """A number for every id: itself, and for a text the first that is free."""
    taken = {key for key in entries if isinstance(key, int)}
    free = (number for number in count(1) if number not in taken)
    return {key: key if isinstance(key, int) else next(free) for key in entries}


def _image_records(
    entries: Entries, file: str, finder: Finder, numbers: dict[Id, int]
) -> tuple[list[ImageRecord], list[Fault]]:
    records, faults = [], []
    owners: dict[str, str] = {}
    for key, entry in entries.items():
        where = f"{file} image {_shown(key)}"
        name = finder.find(entry.get("file_name"))
        height, width = as_whole(entry.get("height")), as_whole(entry.get("width"))
        if name is None:
            faults.append(Fault(where, finder.explain(entry.get("file_name")), "the image"))
        elif height is None or width is None or height < 1 or width < 1:
            found = f"{shown(entry.get('height'))} and {shown(entry.get('width'))}"
            what = f"height and width must be whole numbers above 0, not {found}"
            faults.append(Fault(where, what, "the image"))
        elif name in owners:
            what = f"its file {shown(name)} is that of image {owners[name]} too"
            faults.append(Fault(where, what, "the second image"))
        else:
            owners[name] = _shown(key)
            records.append(ImageRecord(id=numbers[key], file_name=name, height=height, width=width))
    return records, faults


def _object_records(
    entries: Entries, file: str, images: dict[Id, int], labels: dict[Id, int]
) -> tuple[list[ObjectRecord], list[Fault]]:
    named = ((f"{file} annotation {_shown(key)}", entry) for key, entry in entries.items())
    return collect_objects((where, _object_record(entry, where, images, labels)) for where, entry in named)


def _object_record(
    entry: Entry, where: str, images: dict[Id, int], labels: dict[Id, int]
) -> ObjectRecord | str:
    """The record of an annotation, or what is wrong with it."""
    image_id, category_id = as_id(entry.get("image_id")), as_id(entry.get("category_id"))
    if image_id is None or image_id not in images:
        return f"unknown image id {shown(entry.get('image_id'))}"
    if category_id is None or category_id not in labels:
        return f"unknown category id {shown(entry.get('category_id'))}"
    crowd = as_flag(entry.get("iscrowd"))
    if crowd is None:
        return f"iscrowd must be 0 or 1, not {shown(entry['iscrowd'])}"
    bbox = entry.get("bbox")
    numbers = [as_number(value) for value in bbox] if isinstance(bbox, list) else []
    box = [number for number in numbers if number is not None]
    if len(numbers) != 4 or len(box) != 4:
        return f"bbox must be four finite numbers, not {shown(bbox)}"
    if box[2] <= 0 or box[3] <= 0:
        return f"box {shown(bbox)} is empty"
    area = as_number(entry.get("area"))
    return ObjectRecord(
        where=where,
        image_id=images[image_id],
        label=labels[category_id],
        bbox=(box[0], box[1], box[2], box[3]),
        crowd=crowd,
        area=area if area is not None and area > 0 else None,
        segmentation=entry.get("segmentation"),
    )


def _name(entry: Entry, key: Id) -> str:
    """The name of a category; its id where it has none."""
    name = entry.get("name")
    return str(key) if name is None or isinstance(name, (dict, list)) else str(name)


def _shown(key: Id) -> str:
    return str(key) if isinstance(key, int) else shown(key)
