"""YOLO's format, in Ultralytics' layout: one text file for an image.

A root holds `data.yaml`, which names the classes and where the images of train and val lie, or it holds
`images/train`, `images/val` and a file of class names. The labels of `.../images/train/a.jpg` are in
`.../labels/train/a.txt`; an image without such a file has no objects. A line is either
`class cx cy w h` or `class x1 y1 x2 y2 x3 y3 ...`, the corners of a polygon; all numbers but the class are
parts of the image's width and height.

The numbers are rounded decimals, so a pixel coordinate is taken to be the shortest decimal that they can
stand for: with six decimals and images of up to 6,000 px, boxes at hundredths of pixels come back exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from proxy_tasks.data.dataset import SPLITS, DataError, Fault, Inspection, Split
from proxy_tasks.data.fields import as_whole, parse_number, parse_whole, shortest_decimal
from proxy_tasks.data.files import FileFinder, is_file, list_pictures, read_lines, read_text
from proxy_tasks.data.image_io import Size
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.records import ImageRecord, ObjectRecord, Records, collect_objects, read_image_sizes
from search_space.utils.lookup import nearest
from search_space.utils.parsing import ParseError, parse_yaml, shown

CONFIG_NAMES = ("data.yaml", "data.yml", "dataset.yaml")

LABELS_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
"""Files of class names, one a line."""

KEYS = ("path", "train", "val", "test", "nc", "names", "download")
"""The usual keys of such a file; none of them is a misspelling of another."""


NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "_darknet.labels", "train/_darknet.labels")


OUTSIDE = 0.01
"""How far a number may lie outside 0..1. The box is then clipped; more is another unit, not a rounding."""


DECIMALS = 6
"""Decimals that numbers are taken to be rounded to, unless the line has more."""


@dataclass(frozen=True)
class YoloReader(Reader):
    """Reads YOLO's label files of boxes and of polygons."""

    name: ClassVar[str] = "YOLO"
    layout: ClassVar[str] = "data.yaml, or images/train with labels/train and classes.txt"

    def recognizes(self, root: Path) -> bool:
        """Whether there is a data.yaml, or a folder of labels beside one of images."""
        return _config_file(root) is not None or any(
            (root / "images" / split).is_dir() and (root / "labels" / split).is_dir() for split in SPLITS
        )

    def files(self, root: Path, split: Split) -> list[Path]:
        """The sources of images, what names the classes, and the folders of labels with their files."""
        layout = _read_layout(root, split)
        labels = sorted(set(layout.labels.values()))
        return [*layout.sources, layout.classes_file, *sorted({p.parent for p in labels}), *labels]

    def inspect(self, root: Path, split: Split, masks: bool = False) -> Inspection:
        """See `Reader.inspect`."""
        layout = _read_layout(root, split)
        images, image_faults = _image_records(layout)
        parsed = [_read_labels(layout, image, len(layout.classes)) for image in images]
        contents = [content for content, _, _ in parsed if content is not None]
        objects = [record for _, records, _ in parsed for record in records]
        line_faults = [fault for _, _, found in parsed for fault in found]
        others = [*layout.faults, *_label_folder_faults(layout, images)]
        unused = sum(fault.skipped == "its boxes" for fault in others)  # Files, with one box at least.
        return Records(
            image_folder=layout.folder,
            images=images,
            objects=objects,
            categories=[(i + 1, name) for i, name in enumerate(layout.classes)],
            content=[repr(layout.classes).encode(), *contents],
            faults=[*others, *image_faults, *line_faults],
            named_images=len(layout.images) + layout.missing,
            named_objects=len(objects) + len(line_faults) + unused,
        ).inspection(masks)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where the parts of a split lie.

    Args:
        root: the data set.
        folder: what the images' names start from.
        sources: the folders of images, or the files that list them.
        images: every image file, by name.
        labels: the label file of each image; it may be missing.
        missing: how many more images are named.
        classes: names, by number.
        classes_file: what names them.
        faults: of lists of images.
    """

    root: Path
    folder: Path
    sources: tuple[Path, ...]
    images: tuple[Path, ...]
    labels: dict[Path, Path]
    missing: int
    classes: tuple[str, ...]
    classes_file: Path
    faults: tuple[Fault, ...]


def _config_file(root: Path) -> Path | None:
    return next((root / name for name in CONFIG_NAMES if is_file(root / name)), None)


def find_names_file(root: Path) -> Path | None:
    """The file that names the classes where there is no data.yaml."""
    return next((root / name for name in NAME_FILES if is_file(root / name)), None)


def read_classes(root: Path) -> tuple[str, ...] | None:
    """The names of the classes, from data.yaml or a file of names; None if there is neither.

    Raises:
        DataError: if the file is wrong.
    """
    config_file = _config_file(root)
    if config_file is not None:
        return _class_names(_read_config(config_file), config_file)
    names_file = find_names_file(root)
    return None if names_file is None else tuple(name for _, name in read_lines(names_file))


def _read_layout(root: Path, split: Split) -> _Layout:
    config_file = _config_file(root)
    if config_file is None:
        classes_file = find_names_file(root)
        if classes_file is None:
            raise DataError(f"{root}: no file names the classes; write classes.txt with one name a line")
        classes = tuple(name for _, name in read_lines(classes_file))
        sources: tuple[Path, ...] = (root / "images" / split,)
    else:
        config = _read_config(config_file)
        classes_file, classes = config_file, _class_names(config, config_file)
        sources = _sources(config, config_file, split)
    if not classes:
        raise DataError(f"{classes_file}: names no class")
    images, faults, missing = _images_of_all(sources, root)
    folder = sources[0] if len(sources) == 1 and sources[0].is_dir() else root
    return _Layout(
        root=root,
        folder=folder,
        sources=sources,
        images=tuple(images),
        labels=_label_files(images, root),
        missing=missing,
        classes=classes,
        classes_file=classes_file,
        faults=tuple(faults),
    )


def _read_config(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        config, written = parse_yaml(text), parse_yaml(text, as_written=True)
    except ParseError as error:
        raise DataError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(config, dict):
        raise DataError(f"{path}: must be a mapping with names, train and val")
    if "kpt_shape" in config:
        raise DataError(
            f"{path}: labels with key points (kpt_shape) are not supported; only boxes and polygons"
        )
    if "names" in config:  # YAML takes the name `no` for false, and 010 for 8.
        config["names"] = written["names"]
    return config


def _class_names(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    if "names" not in config:
        raise DataError(f"{path}: names must list the classes, but {_missing('names', config)}")
    names = config["names"]
    if isinstance(names, dict):
        numbers = [as_whole(number) for number in names]
        if None in numbers or sorted(n for n in numbers if n is not None) != list(range(len(names))):
            raise DataError(f"{path}: names must be numbered from 0 without a gap, not {shown(list(names))}")
        by_number = dict(zip(numbers, names.values(), strict=True))
        names = [by_number[number] for number in range(len(names))]
    if not isinstance(names, list):
        raise DataError(f"{path}: names must list the classes, not {shown(names)}")
    if any(isinstance(name, (list, dict)) or name is None for name in names):
        raise DataError(f"{path}: names must list the classes, each a text, not {shown(names)}")
    return tuple(str(name) for name in names)


def _missing(key: str, config: dict[str, Any]) -> str:
    """Says that a key is missing, and which other key may be a misspelling of it."""
    others = [str(name) for name in config if name not in KEYS]
    meant = nearest(key, others)
    return "the key is missing" + (f"; is {meant} a misspelling of it?" if meant else "")


def _sources(config: dict[str, Any], path: Path, split: Split) -> tuple[Path, ...]:
    """The folders and lists that data.yaml gives for a split, each looked for in the usual places."""
    given = config.get(split)
    listed = given if isinstance(given, list) else [given]
    entries = [entry for entry in listed if isinstance(entry, str) and entry]
    if not entries or len(entries) < len(listed):
        wrong = f"not {shown(given)}" if split in config else f"but {_missing(split, config)}"
        raise DataError(f"{path}: {split} must be a folder, a .txt file, or a list of them, {wrong}")
    bases = [path.parent]
    if isinstance(config.get("path"), str):
        bases.insert(0, path.parent / config["path"])
    sources = []
    for entry in entries:
        # Roboflow writes "../train/images" for what lies beside data.yaml.
        plain = entry.replace("\\", "/")
        names = (entry, plain, plain.removeprefix("../"))
        candidates = [base / name for base in bases for name in names]
        found = next((place for place in candidates if place.is_dir() or is_file(place)), None)
        if found is None:
            raise DataError(
                f"{path}: {split} names {shown(entry)}, but there is no {shown(str(candidates[0]))}"
            )
        sources.append(found)
    return tuple(sources)


def _images_of_all(sources: Sequence[Path], root: Path) -> tuple[list[Path], list[Fault], int]:
    """The images of all sources, each once, what is wrong with the sources, and how many are lost."""
    images: dict[Path, Path] = {}
    faults: list[Fault] = []
    missing = 0
    for source in sources:
        found, wrong, lost = _images_of(source)
        faults += wrong
        missing += lost
        for path in found:
            if path in images:
                what = f"{_relative(path, root)} is in {_relative(images[path], root)} too"
                faults.append(Fault(_relative(source, root), what, "the second image"))
                missing += 1
            else:
                images[path] = source
    return list(images), faults, missing


def _images_of(source: Path) -> tuple[list[Path], list[Fault], int]:
    """The images of a folder or of a list, what is wrong with it, and how many images that costs."""
    if source.is_dir():
        pictures = list_pictures(source)
        return pictures.images, pictures.faults, pictures.unread
    if not source.is_file():
        raise DataError(f"{source}: no such folder")
    finder = FileFinder(source.parent)
    images: dict[Path, int] = {}
    faults = []
    for number, line in read_lines(source):
        path, where = source.parent / line.removeprefix("./"), f"{source.name} line {number}"
        if not is_file(path):
            found = finder.find(line)
            path = source.parent / found if found is not None else path
        if not is_file(path):
            faults.append(Fault(where, f"no file {shown(line)}", "the image"))
        elif path in images:
            what = f"{shown(line)} stands in line {images[path]} too"
            faults.append(Fault(where, what, "the second image"))
        else:
            images[path] = number
    return list(images), faults, len(faults)


def _label_path(image: Path, root: Path) -> Path:
    """The label file of an image: the last folder below the root that is called images becomes labels."""
    parts = list(image.parts)
    first = len(root.parts) if image.is_relative_to(root) else 1
    for i in range(len(parts) - 2, first - 1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _label_files(images: Sequence[Path], root: Path) -> dict[Path, Path]:
    """The label file of every image, however its name is written; the usual one if there is none."""
    finders: dict[Path, FileFinder | None] = {}
    found: dict[Path, Path] = {}
    for image in images:
        path = _label_path(image, root)
        if path.parent not in finders:
            finders[path.parent] = FileFinder(path.parent) if path.parent.is_dir() else None
        finder = finders[path.parent]
        name = finder.find(path.name) if finder is not None else None
        found[image] = path if name is None else path.parent / name
    return found


def _relative(path: Path, folder: Path) -> str:
    """A path as messages and datasets have it: below a folder if it is there, else whole."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _image_records(layout: _Layout) -> tuple[list[ImageRecord], list[Fault]]:
    """The images with their sizes, numbered from 1 by file name."""
    by_name = sorted((_relative(path, layout.folder), path) for path in layout.images)
    sizes = read_image_sizes([path for _, path in by_name])
    records: list[ImageRecord] = []
    faults: list[Fault] = []
    labeled: dict[Path, str] = {}
    for i, ((name, path), size) in enumerate(zip(by_name, sizes, strict=True)):
        where, label_path = _relative(path, layout.root), layout.labels[path]
        if label_path in labeled:
            what = f"has the label file of {labeled[label_path]} too: {_relative(label_path, layout.root)}"
            faults.append(Fault(where, what, "the second image"))
        elif isinstance(size, str):
            faults.append(Fault(where, f"cannot be read as an image: {size}", "the image"))
        else:
            labeled[label_path] = name
            records.append(ImageRecord(id=i + 1, file_name=name, height=size[0], width=size[1]))
    return records, faults


def _label_folder_faults(layout: _Layout, images: Sequence[ImageRecord]) -> list[Fault]:
    """Labels without an image, and images without labels in one remark."""
    known = set(layout.labels.values())
    faults = []
    for folder in sorted({path.parent for path in known}):
        listed = layout.sources[0].is_file()  # A list may leave images out on purpose.
        found = [] if listed else sorted(folder.glob("*.txt"))
        faults += [
            Fault(_relative(path, layout.root), "there is no image of this name", "its boxes")
            for path in found
            if path not in known and holds_labels(path)
        ]
    paths = [(image.file_name, layout.labels[layout.folder / image.file_name]) for image in images]
    bare = [name for name, path in paths if not is_file(path)]
    return faults + unlabeled_images(_relative(layout.sources[0], layout.root), bare)


def holds_labels(path: Path) -> bool:
    """Whether a text has numbers as labels have, unlike notes and names of classes that lie among them.

    An empty one has none: it says that its image shows no object.
    """
    if path.name in LABELS_NAMES:
        return False
    try:
        lines = [line.split() for _, line in read_lines(path)]
    except DataError:
        return False
    numbers = (len(words) >= 5 and None not in map(parse_number, words) for words in lines)
    return bool(lines) and all(numbers)


def unlabeled_images(where: str, names: Sequence[str]) -> list[Fault]:
    """The remark on images without a label file, which costs nothing; none if there are no such images.

    Args:
        where: the place that the remark names.
        names: of these images.
    """
    if not names:
        return []
    if len(names) == 1:
        what = f"{names[0]} has no label file; it counts as an image without objects"
    else:
        such = f"{len(names)} images have no label file, such as {names[0]}"
        what = f"{such}; they count as images without objects"
    return [Fault(where, what, "nothing")]


def _read_labels(
    layout: _Layout, image: ImageRecord, classes: int
) -> tuple[bytes | None, list[ObjectRecord], list[Fault]]:
    """The content of an image's label file, its objects, and its faults; None if there is no such file."""
    path = layout.labels[layout.folder / image.file_name]
    if not is_file(path):
        return None, [], []
    file = _relative(path, layout.root)
    try:
        lines = read_lines(path)
    except DataError:
        return b"", [], [Fault(file, "not readable as text", "its boxes")]
    records, faults = parse_lines(lines, file, image, classes)
    content = image.file_name.encode("utf-8", "surrogateescape") + b"\n"
    return content + "\n".join(line for _, line in lines).encode(), records, faults


def parse_lines(
    lines: Sequence[tuple[int, str]], file: str, image: ImageRecord, classes: int
) -> tuple[list[ObjectRecord], list[Fault]]:
    """The objects of a label file.

    Args:
        lines: of the file, with their numbers.
        file: the file, for messages.
        image: that the objects are in.
        classes: how many classes are named.
    """
    named = ((f"{file} line {number}", line) for number, line in lines)
    return collect_objects((where, _parse_line(line, where, image, classes)) for where, line in named)


def _parse_line(line: str, where: str, image: ImageRecord, classes: int) -> ObjectRecord | str:
    """The object of a line, or what is wrong with it."""
    label_text, *texts = line.split()
    if len(texts) != 4 and (len(texts) < 6 or len(texts) % 2):
        confidence = "; is the last one a confidence?" if len(texts) == 5 else ""
        return (
            f"must be a class and 4 numbers cx cy w h, or a class and the x and y of 3 corners or more, "
            f"not {len(texts) + 1} values{confidence}"
        )
    label = parse_whole(label_text)
    if label is None or label < 0:
        return f"class must be a whole number from 0, not {shown(label_text)}"
    if label >= classes:
        return f"unknown class {label}; {classes} classes are named, from 0 to {classes - 1}"
    values: list[float] = []
    for text in texts:
        value = parse_number(text)
        if value is None or not -OUTSIDE <= value <= 1 + OUTSIDE:
            return f"coordinates must be parts of the image in 0..1, not {text[:60]}"
        values.append(value)
    decimals = max(DECIMALS, *map(_decimals, texts))
    size = (image.height, image.width)
    if len(values) == 4:
        bbox, polygon = _pixel_box(values, size, decimals), None
    else:
        polygon = _pixel_polygon(values, size, decimals)
        bbox = _extent(polygon)
    if bbox[2] <= 0 or bbox[3] <= 0:
        return f"box {shown(line)} is empty"
    segmentation = [polygon] if polygon is not None else None
    return ObjectRecord(where=where, image_id=image.id, label=label, bbox=bbox, segmentation=segmentation)


def _decimals(text: str) -> int:
    """Decimals that a number is written with; many if it has an exponent."""
    return 17 if "e" in text.lower() else len(text.partition(".")[2])


def _pixel_box(values: Sequence[float], size: Size, decimals: int) -> tuple[float, float, float, float]:
    """x, y, width and height in pixels of a center, width and height in parts of the image."""
    cx, cy, w, h = values
    height, width = size
    return (
        _snap((cx - w / 2) * width, 1.5 * width, decimals),
        _snap((cy - h / 2) * height, 1.5 * height, decimals),
        _snap(w * width, width, decimals),
        _snap(h * height, height, decimals),
    )


def _pixel_polygon(values: Sequence[float], size: Size, decimals: int) -> list[float]:
    """x, y, x, y, ... in pixels."""
    height, width = size
    sides = [width, height] * (len(values) // 2)
    return [_snap(value * side, side, decimals) for value, side in zip(values, sides, strict=True)]


def _snap(pixels: float, side: float, decimals: int) -> float:
    """A pixel coordinate without the error of numbers that were rounded to some decimals."""
    return shortest_decimal(pixels, side * (0.5 * 10.0**-decimals + 1e-12))


def _extent(polygon: Sequence[float]) -> tuple[float, float, float, float]:
    x0, y0 = min(polygon[::2]), min(polygon[1::2])
    return x0, y0, max(polygon[::2]) - x0, max(polygon[1::2]) - y0
