"""YOLO's label files, a text for each image."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from proxy_tasks.data.dataset import DataError, Fault
from proxy_tasks.data.exports.contents import LABELS_NAMES, Contents
from proxy_tasks.data.exports.objects import add_image
from proxy_tasks.data.exports.source import Export, Source
from proxy_tasks.data.exports.splits import SPLIT_WORDS, Part
from proxy_tasks.data.fields import parse_number
from proxy_tasks.data.files import name_key, read_lines
from proxy_tasks.data.records import Records
from proxy_tasks.data.yolo import CONFIG_NAMES, parse_lines, read_classes, unlabeled_images


def read_yolo_export(contents: Contents) -> Export | None:
    """Reads label files; None without one.

    Raises:
        DataError: if no file names the classes.
    """
    texts = dict.fromkeys(contents.others[".txt"])
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in texts:
        by_stem[name_key(path.stem)].append(path)
    labels = {picture: _label_file(contents, picture, by_stem) for picture in contents.pictures}
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
        shown = contents.relative(file)
        try:
            lines = read_lines(file)
        except DataError:
            records.faults.append(Fault(shown, "not readable as text", "its boxes"))
            continue
        found, wrong = parse_lines(lines, shown, image, len(classes))
        records.objects += found
        records.faults += wrong
        records.named_objects += len(found) + len(wrong)
    records.categories = [(i + 1, name) for i, name in enumerate(classes)]
    used = {file for file in labels.values() if file is not None}
    lost = [contents.relative(path) for path in texts if path not in used and _is_lost_label(path, used)]
    records.faults += [Fault(name, "there is no image of this name", "its boxes") for name in lost]
    bare = [contents.relative(picture) for picture, file in labels.items() if file is None]
    records.faults += unlabeled_images("the labels", bare)
    return Export("YOLO labels", [Source(records, splits=splits)])


def _is_lost_label(path: Path, used: set[Path]) -> bool:
    """Whether a text is the labels of an image that is not there: it lies among others and has numbers."""
    if path.name in LABELS_NAMES or path.parent not in {other.parent for other in used}:
        return False
    try:
        lines = [line.split() for _, line in read_lines(path)]
    except DataError:
        return False
    return all(len(words) >= 5 and None not in map(parse_number, words) for words in lines)


def _label_file(contents: Contents, picture: Path, by_stem: dict[str, list[Path]]) -> Path | None:
    """The label file of a picture: beside it, or in the folder labels where it is in images."""
    found = [p for p in by_stem.get(name_key(picture.stem), []) if p.name not in LABELS_NAMES]
    wanted = [part.lower() for part in picture.relative_to(contents.root).parts[:-1]]
    swapped = ["labels" if part == "images" else part for part in wanted]
    for path in found:
        here = [part.lower() for part in path.relative_to(contents.root).parts[:-1]]
        if here in (wanted, swapped):
            return path
    return None


def _yolo_classes(contents: Contents) -> tuple[str, ...] | None:
    for ending in (".yaml", ".yml"):
        for path in contents.others[ending]:
            if path.name in CONFIG_NAMES:
                return read_classes(path.parent)
    for path in (*contents.others[".txt"], *contents.others[".names"], *contents.others[".labels"]):
        if path.name in LABELS_NAMES:
            return tuple(line for _, line in read_lines(path))
    return None


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
