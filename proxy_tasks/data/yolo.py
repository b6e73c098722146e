"""YOLO's format, in Ultralytics' layout: one text file for an image.

A root holds `data.yaml`, which names the classes and where the images of train and val lie, or it holds
`images/train`, `images/val` and a file of class names. The labels of `.../images/train/a.jpg` are in
`.../labels/train/a.txt`; an image without such a file has no objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from proxy_tasks.data.dataset import SPLITS, DataError, Fault, Inspection, Split
from proxy_tasks.data.files import FileFinder, is_file, list_pictures, read_lines
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.records import ImageRecord, ObjectRecord, Records, read_image_sizes
from proxy_tasks.data.yolo_config import class_names, config_file, find_names_file, find_sources, read_config
from proxy_tasks.data.yolo_labels import holds_labels, parse_lines
from search_space.utils.parsing import shown


@dataclass(frozen=True)
class YoloReader(Reader):
    """Reads YOLO's label files of boxes and of polygons."""

    name: ClassVar[str] = "YOLO"
    layout: ClassVar[str] = "data.yaml, or images/train with labels/train and classes.txt"

    def recognizes(self, root: Path) -> bool:
        """Whether there is a data.yaml, or a folder of labels beside one of images."""
        return config_file(root) is not None or any(
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


def _read_layout(root: Path, split: Split) -> _Layout:
    config_path = config_file(root)
    if config_path is None:
        classes_file = find_names_file(root)
        if classes_file is None:
            raise DataError(f"{root}: no file names the classes; write classes.txt with one name a line")
        classes = tuple(name for _, name in read_lines(classes_file))
        sources: tuple[Path, ...] = (root / "images" / split,)
    else:
        config = read_config(config_path)
        classes_file, classes = config_path, class_names(config, config_path)
        sources = find_sources(config, config_path, split)
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
