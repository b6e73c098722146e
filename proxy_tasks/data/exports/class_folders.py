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
    """Reads folders that are classes, perhaps in folders that are splits; None if no picture is in one.

    Pictures of the split test need no class.
    """
    splits = _split_folders(contents)
    placed: dict[Path, tuple[Part | None, str | None]] = {}
    records = Records(image_folder=contents.root)
    for picture in contents.pictures:
        parts = picture.relative_to(contents.root).parts[:-1]
        split = splits.get(parts[0]) if parts else None
        inner = parts[1:] if split is not None else parts
        if inner and inner[0].lower() in ("images", "labels"):
            return None
        if inner or split == "test":
            placed[picture] = (split, inner[0] if inner else None)
        else:
            records.named_images += 1
            fault = Fault(contents.relative(picture), "lies in no folder of a class", "the image")
            records.faults.append(fault)
    names = {name for _, name in placed.values() if name is not None}
    if not names:
        return None
    labels = {name: i for i, name in enumerate(sorted(names))}
    places = {}
    for number, (picture, (split, name)) in enumerate(placed.items(), start=1):
        where = contents.relative(picture)
        image = add_image(records, contents, picture, where, number, where)
        if image is not None:
            places[where] = split
        if image is not None and name is not None:
            bbox = (0.0, 0.0, float(image.width), float(image.height))
            records.objects.append(ObjectRecord(where=where, image_id=number, label=labels[name], bbox=bbox))
    records.categories = [(i, name) for name, i in labels.items()]
    faults = [fault for fault in contents.faults if fault.skipped == "the files"]
    return Export("folders of classes", [Source(records, splits=places)], labeled=True, faults=faults)


def _split_folders(contents: Contents) -> dict[str, Part]:
    """The folders that are splits: all of such names, or none.

    Beside classes they are classes, too, if none of them has a folder with pictures.
    """
    folders = [picture.relative_to(contents.root).parts[:-1] for picture in contents.pictures]
    outer = {parts[0] for parts in folders if parts}
    named = {name: SPLIT_WORDS[name.lower()] for name in outer if name.lower() in SPLIT_WORDS}
    nested = any(parts[0] in named for parts in folders if len(parts) > 1)
    return named if nested or len(named) == len(outer) else {}
