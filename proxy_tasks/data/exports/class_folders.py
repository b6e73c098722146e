"""Folders that are classes, with one label for each image."""

from __future__ import annotations

from pathlib import Path

from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.objects import add_image
from proxy_tasks.data.exports.source import Export, Source
from proxy_tasks.data.exports.splits import SPLIT_WORDS, Part
from proxy_tasks.data.records import ObjectRecord, Records


def read_class_folders(contents: Contents) -> Export | None:
    """Folders that are classes, perhaps in folders that are splits."""
    placed: dict[Path, tuple[Part | None, str]] = {}
    for picture in contents.pictures:
        parts = picture.relative_to(contents.root).parts[:-1]
        split = SPLIT_WORDS.get(parts[0].lower()) if parts else None
        inner = parts[1:] if split is not None else parts
        if not inner or inner[0].lower() in ("images", "labels"):
            return None
        placed[picture] = (split, inner[0])
    if not placed:
        return None
    labels = {name: i for i, name in enumerate(sorted({name for _, name in placed.values()}))}
    records, splits = Records(image_folder=contents.root), {}
    for number, (picture, (split, name)) in enumerate(placed.items(), start=1):
        where = contents.relative(picture)
        image = add_image(records, contents, picture, where, number, where)
        if image is not None:
            splits[where] = split
            bbox = (0.0, 0.0, float(image.width), float(image.height))
            records.objects.append(ObjectRecord(where=where, image_id=number, label=labels[name], bbox=bbox))
    records.categories = [(i, name) for name, i in labels.items()]
    faults = [fault for fault in contents.faults if fault.skipped == "the files"]
    return Export("folders of classes", [Source(records, splits=splits)], labeled=True, faults=faults)
