"""Folders that are classes, with one label for each image."""

from __future__ import annotations

from pathlib import Path

from proxy_tasks.data.dataset import Fault
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.objects import add_image
from proxy_tasks.data.exports.source import Export, Source
from proxy_tasks.data.exports.splits import SPLIT_WORDS, Part
from proxy_tasks.data.records import ObjectRecord, Records


def read_class_folders(contents: Contents) -> Export | None:
    """Reads folders that are classes, perhaps in folders that are splits; None if no picture is in one."""
    splits = _split_folders(contents)
    placed: dict[Path, tuple[Part | None, str]] = {}
    records = Records(image_folder=contents.root)
    for picture in contents.pictures:
        parts = picture.relative_to(contents.root).parts[:-1]
        split = splits.get(parts[0]) if parts else None
        inner = parts[1:] if split is not None else parts
        if inner and inner[0].lower() in ("images", "labels"):
            return None
        if inner:
            placed[picture] = (split, inner[0])
        else:
            records.named_images += 1
            fault = Fault(contents.relative(picture), "lies in no folder of a class", "the image")
            records.faults.append(fault)
    if not placed:
        return None
    labels = {name: i for i, name in enumerate(sorted({name for _, name in placed.values()}))}
    places = {}
    for number, (picture, (split, name)) in enumerate(placed.items(), start=1):
        where = contents.relative(picture)
        image = add_image(records, contents, picture, where, number, where)
        if image is not None:
            places[where] = split
            bbox = (0.0, 0.0, float(image.width), float(image.height))
            records.objects.append(ObjectRecord(where=where, image_id=number, label=labels[name], bbox=bbox))
    records.categories = [(i, name) for name, i in labels.items()]
    faults = [fault for fault in contents.faults if fault.skipped == "the files"]
    return Export("folders of classes", [Source(records, splits=places)], labeled=True, faults=faults)


def _split_folders(contents: Contents) -> dict[str, Part]:
    """The folders that are splits. Beside classes, one of such a name with pictures alone is a class, too."""
    below: dict[str, set[bool]] = {}
    for picture in contents.pictures:
        parts = picture.relative_to(contents.root).parts[:-1]
        if parts:
            below.setdefault(parts[0], set()).add(len(parts) == 1)
    named = {name: SPLIT_WORDS[name.lower()] for name in below if name.lower() in SPLIT_WORDS}
    if len(named) == len(below):
        return named
    return {name: split for name, split in named.items() if below[name] != {True}}
