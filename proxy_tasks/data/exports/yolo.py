"""YOLO's label files, a text for each image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from proxy_tasks.data.dataset import DataError, Fault
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.objects import add_image
from proxy_tasks.data.exports.source import Export, Source
from proxy_tasks.data.exports.splits import SPLIT_WORDS, Part
from proxy_tasks.data.files import name_key, read_lines
from proxy_tasks.data.records import Records
from proxy_tasks.data.yolo import unlabeled_images
from proxy_tasks.data.yolo_config import CONFIG_NAMES, read_classes
from proxy_tasks.data.yolo_labels import LABELS_NAMES, holds_labels, parse_lines


def read_yolo_export(contents: Contents) -> Export | None:
    """Reads label files; None without one.

    Raises:
        DataError: if no file names the classes.
    """
    texts = dict.fromkeys(contents.others[".txt"])
    labels = _label_files(contents, [path for path in texts if path.name not in LABELS_NAMES])
    if not any(labels.values()):
        return None
    classes = _yolo_classes(contents)
    if classes is None:
        raise DataError(
            f"{contents.root}: looks like YOLO labels, but no file names the classes; write "
            f"{contents.root / 'classes.txt'} with one name a line"
        )
    records = Records(image_folder=contents.root)
    listed = _yolo_lists(contents)
    splits: dict[str, Part | None] = {}
    for number, picture in enumerate(contents.pictures, start=1):
        file, where = labels[picture], contents.relative(picture)
        image = add_image(records, contents, picture, where, number, where)
        if image is None:
            continue
        if where in listed:
            splits[where] = listed[where]
        if file is None:
            continue
        label_file = contents.relative(file)
        try:
            lines = read_lines(file)
        except DataError:
            records.faults.append(Fault(label_file, "not readable as text", "its boxes"))
            records.named_objects += 1
            continue
        found, wrong = parse_lines(lines, label_file, image, len(classes))
        records.objects += found
        records.faults += wrong
        records.named_objects += len(found) + len(wrong)
    records.categories = [(i + 1, name) for i, name in enumerate(classes)]
    used = {file for file in labels.values() if file is not None}
    places = {path.parent for path in used}
    lost = [
        contents.relative(path)
        for path in texts
        if path not in used and path.parent in places and holds_labels(path)
    ]
    records.faults += [Fault(name, "there is no image of this name", "its boxes") for name in lost]
    bare = [contents.relative(picture) for picture, file in labels.items() if file is None]
    records.faults += unlabeled_images("the labels", bare)
    return Export("YOLO labels", [Source(records, splits=splits)])


def _label_files(contents: Contents, texts: Sequence[Path]) -> dict[Path, Path | None]:
    """The label file of each picture: beside it, in the folder labels where it is in images, or of its name.

    The last one must be the only text of that name, and the picture the only one.
    """
    by_place: dict[tuple[str, ...], Path] = {}
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in texts:
        stem = name_key(path.stem)
        by_place.setdefault((*_folders(contents, path), stem), path)
        by_stem[stem].append(path)
    found: dict[Path, Path | None] = {}
    for picture in contents.pictures:
        stem, folders = name_key(picture.stem), _folders(contents, picture)
        swapped = tuple("labels" if part == "images" else part for part in folders)
        found[picture] = by_place.get((*folders, stem)) or by_place.get((*swapped, stem))
        alone = by_stem[stem] if len(contents.by_stem[stem]) == 1 else []
        if found[picture] is None and len(alone) == 1 and stem not in SPLIT_WORDS:
            found[picture] = alone[0]
    return found


def _folders(contents: Contents, path: Path) -> tuple[str, ...]:
    """The folders of a file, from the root."""
    return tuple(part.lower() for part in path.relative_to(contents.root).parts[:-1])


def _yolo_classes(contents: Contents) -> tuple[str, ...] | None:
    for ending in (".yaml", ".yml"):
        for path in contents.others[ending]:
            if path.name in CONFIG_NAMES:
                return read_classes(path.parent)
    named = {
        path: tuple(line for _, line in read_lines(path))
        for path in (*contents.others[".txt"], *contents.others[".names"], *contents.others[".labels"])
        if path.name in LABELS_NAMES
    }
    if not named:
        return None
    first = next(iter(named))
    for path, names in named.items():
        if names != named[first]:
            raise DataError(f"{first} and {path} name other classes; import each folder by itself")
    return named[first]


def _yolo_lists(contents: Contents) -> dict[str, Part | None]:
    """The split of images that train.txt and the like name."""
    found: dict[str, Part | None] = {}
    for path in contents.others[".txt"]:
        split = SPLIT_WORDS.get(path.stem.lower())
        if split is not None:
            for _, line in read_lines(path):
                picture = contents.picture(line, path)
                if picture is not None:
                    found[contents.relative(picture)] = split
    return found
