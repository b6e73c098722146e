"""What labeling tools write, read wherever its files lie: the sources of `nas data import`.

A folder is looked through once. What its annotations are in is told by the files themselves, not by their
places: COCO's JSON, Label Studio's JSON, CVAT's XML, Pascal VOC's XML, YOLO's label files, or folders that
are classes. The split of an image is told by the names of folders and files, such as `valid/`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from proxy_tasks.data.coco import is_coco, read_coco
from proxy_tasks.data.dataset import DataError, Fault
from proxy_tasks.data.fields import as_number, parse_number, shorten
from proxy_tasks.data.files import is_file, list_pictures, name_key, read_lines, walk_files
from proxy_tasks.data.image_io import MOST_PIXELS, ImageError, image_size
from proxy_tasks.data.pascal_voc import parse_xml, read_image_record, read_object_records
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.records import ImageRecord, ObjectRecord, Records
from proxy_tasks.data.yolo import CONFIG_NAMES, parse_lines, read_classes, unlabeled_images
from search_space.utils.json_text import parse_json
from search_space.utils.regular_file import open_regular, read_regular

Part = Literal["train", "val", "test"]

SPLIT_WORDS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

WORD = re.compile(r"(?<![a-z])(train|training|val|valid|validation|test|testing)(?![a-z])")

LABELS_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
"""Files of class names, one a line."""

UPLOAD = re.compile(r"^[0-9a-f]{6,8}-")
"""What Label Studio writes before the name of a file that was uploaded."""

LOOK = 4000
"""Files after which a folder is not looked through further for a hint."""


@dataclass(frozen=True)
class Source:
    """What one file, or one folder, says.

    Args:
        records: with file names that start from the root.
        split: of its images; None where their own names tell it.
        splits: of single images, by file name; they come first.
    """

    records: Records
    split: Part | None = None
    splits: dict[str, Part | None] = field(default_factory=dict)

    def split_of(self, name: str) -> Part | None:
        """The split of an image."""
        if name in self.splits:
            return self.splits[name]
        return self.split or split_of(str(PurePosixPath(name).parent))


@dataclass(frozen=True)
class Export:
    """What a folder holds.

    Args:
        kind: in words, such as "YOLO labels".
        sources: what was read.
        labeled: whether every image has one label, and no boxes.
        faults: of files that belong to no source.
    """

    kind: str
    sources: list[Source]
    labeled: bool = False
    faults: list[Fault] = field(default_factory=list)


def split_of(text: str) -> Part | None:
    """The split that a path names; the last word counts."""
    found = WORD.findall(re.sub(r"\d+", " ", text.lower()))
    return SPLIT_WORDS[found[-1]] if found else None


@dataclass
class _Contents:
    """The files of a folder and of those below it."""

    root: Path
    pictures: list[Path] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    others: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, root: Path) -> _Contents:
        found = list_pictures(root)
        contents = cls(root, found.images, found.faults)
        for path in walk_files(root):
            contents.others[path.suffix.lower()].append(path)
        return contents

    @cached_property
    def json(self) -> _Json:
        """The JSON files by what they are."""
        return _sort_json(self)

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """Pictures by what is the same for all ways to write their name."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in self.pictures:
            found[name_key(path.name)].append(path)
        return found

    @cached_property
    def by_stem(self) -> dict[str, list[Path]]:
        """Pictures likewise, by their names without endings."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in self.pictures:
            found[name_key(path.stem)].append(path)
        return found

    def picture(self, name: object, near: Path) -> Path | None:
        """The picture that an annotation file names.

        Args:
            name: as the file writes it: a path, an address, or what a tool calls an upload.
            near: the annotation file.
        """
        if not isinstance(name, str) or not name or "\0" in name:
            return None
        parts = [part for part in re.split(r"[\\/]+", name.split("?")[0]) if part not in ("", ".", "..")]
        if not parts:
            return None
        found = self.by_name.get(name_key(parts[-1])) or self.by_name.get(name_key(UPLOAD.sub("", parts[-1])))
        return self.nearest(found or [], parts, near)

    def nearest(self, found: Sequence[Path], parts: Sequence[str], near: Path) -> Path | None:
        """Of pictures of one name the one that is meant: by its folders, and by its split."""
        if len(found) < 2:
            return found[0] if found else None
        split = split_of(near.relative_to(self.root).as_posix())

        def rank(path: Path) -> tuple[int, bool, bool]:
            ours = path.relative_to(self.root).parts
            same = 0
            for one, other in zip(reversed(ours[:-1]), reversed(parts[:-1]), strict=False):
                if name_key(one) != name_key(other):
                    break
                same += 1
            return same, path.parent == near.parent, split_of("/".join(ours[:-1])) == split

        ranked = sorted(found, key=rank, reverse=True)
        return ranked[0] if rank(ranked[0]) > rank(ranked[1]) else None

    def relative(self, path: Path) -> str:
        """A path as records have it."""
        return path.relative_to(self.root).as_posix()


@dataclass
class _Finder:
    """Finds the images of a COCO file anywhere below the root."""

    contents: _Contents
    near: Path

    @property
    def folder(self) -> Path:
        return self.contents.root

    def find(self, name: object) -> str | None:
        path = self.contents.picture(name, self.near)
        return None if path is None else self.contents.relative(path)

    def explain(self, name: object) -> str:
        return f"no file {shorten(name)} below {self.folder}, or several"


def read_export(root: Path) -> Export:
    """Reads a folder that a labeling tool has written.

    Raises:
        DataError: if it holds nothing that is known; the message says what it looks like.
    """
    if not root.is_dir():
        what = "a file; unpack an archive first" if is_file(root) else "no such folder"
        raise DataError(f"{root}: {what}")
    contents = _Contents.of(root)
    in_json, others = (_read_coco, _read_label_studio), (_read_cvat, _read_voc, _read_yolo)
    unread = contents.json.damaged
    # With annotations that are damaged, a folder of pictures is not the name of their class.
    for read in (*in_json, *others, *([] if unread else [_read_classes])):
        export = read(contents)
        if export is not None:
            lost = [fault for fault in contents.faults if fault.skipped == "its images"]
            lost += unread if read in in_json else []
            return Export(export.kind, export.sources, export.labeled, [*lost, *export.faults])
    damaged = "".join(f"; {fault.where} cannot be read: {fault.what}" for fault in unread[:1])
    if contents.pictures:
        count = len(contents.pictures)
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        raise DataError(f"{root}: {pictures}, but no annotations of a known kind{damaged}")
    raise DataError(f"{root}: no pictures and no annotations of a known kind{damaged}")


def advise(root: Path, readers: Sequence[Reader]) -> str:
    """What a folder that no reader recognizes looks like, and what to do; "" if nothing is known of it."""
    below = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    for folder in (*below[:50], root.absolute().parent):
        found = next((reader.name for reader in readers if reader.recognizes(folder)), None)
        if found is not None:
            return f"But {folder} is a set in {found} format: give this folder. "
    kind = _guess(root)
    return f"It looks like {kind}: nas data import {root} --out SET makes a set of it. " if kind else ""


def _guess(root: Path) -> str:
    """What a folder looks like by its first files."""
    names = list(islice(walk_files(root), LOOK))
    endings = {path.suffix.lower() for path in names}
    heads = {path: _head(path) for path in [p for p in names if p.suffix.lower() in (".json", ".xml")][:20]}
    if any(b'"annotations"' in head and b'"images"' in head for head in heads.values()):
        return "annotations in COCO's format without a split or in other places (as of Label Studio, CVAT)"
    if any(path.name == "result.json" or path.name.startswith("instances_") for path in heads):
        return "annotations in COCO's format without a split or in other places (as of Label Studio, CVAT)"
    if any(head.lstrip().startswith(b"[") and b'"data"' in head for head in heads.values()):
        return "Label Studio's JSON"
    if any(b"<annotations" in head for head in heads.values()):
        return "CVAT's XML"
    if any(b"<annotation" in head for head in heads.values()):
        return "Pascal VOC's XML without lists of a split (as of Label Studio, Roboflow)"
    listed = {path.name.lower() for path in names}
    if listed & {*LABELS_NAMES, *CONFIG_NAMES, "obj.data"}:
        return "YOLO labels without a split or in other places (as of Label Studio, CVAT)"
    pictures = [path for path in names if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    if pictures and ".txt" in endings:
        return "YOLO labels without names of classes (write classes.txt with one name a line)"
    if pictures and all(path.parent != root for path in pictures):
        return "folders of classes without a split"
    return ""


def _head(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            start = file.read(1 << 16)
            file.seek(max(0, path.stat().st_size - (1 << 16)))
            return start + file.read(1 << 16)
    except OSError:
        return b""


ANNOTATIONS = re.compile(rb'"(images|annotations|categories|bbox|result|image)"\s*:|^\s*\[?\s*\{\s*"id"')
"""What annotations hold, even where their end is lost."""


@dataclass(frozen=True, kw_only=True)
class _Json:
    """The JSON files of a folder.

    Args:
        coco, tasks: COCO's annotations, and Label Studio's.
        damaged: those that cannot be read, and may be annotations.
    """

    coco: tuple[Path, ...]
    tasks: tuple[Path, ...]
    damaged: tuple[Fault, ...]


def _sort_json(contents: _Contents) -> _Json:
    """Says what each JSON file is; each is parsed once, and not kept, as annotations may be large."""
    coco, tasks, damaged = [], [], []
    for path in contents.others[".json"]:
        try:
            data = parse_json(read_regular(path))
        except (OSError, ValueError) as error:
            # Others are such as a list of lines, or settings with comments.
            if ANNOTATIONS.search(_head(path)):
                why = getattr(error, "strerror", None) or error
                damaged.append(Fault(contents.relative(path), str(why), "its images"))
            continue
        if is_coco(data):
            coco.append(path)
        elif _is_tasks(data):
            tasks.append(path)
    return _Json(coco=tuple(coco), tasks=tuple(tasks), damaged=tuple(damaged))


def _read_coco(contents: _Contents) -> Export | None:
    sources = [
        Source(read_coco(path, _Finder(contents, path)), split_of(contents.relative(path)))
        for path in contents.json.coco
    ]
    if any(source.records.named_objects for source in sources):
        boxed = any(source.records.objects for source in sources)
        if boxed or not all(map(_only_labels, sources)):
            return Export("COCO annotations", sources)
    return None


def _only_labels(source: Source) -> bool:
    """Whether annotations have no boxes at all, as those of labeled images."""
    return all("bbox must be" in fault.what for fault in source.records.faults if fault.skipped == "the box")


def _is_tasks(data: Any) -> bool:
    """Whether a document is what Label Studio writes."""
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(task, dict) for task in data)
        and any(isinstance(task.get("data"), dict) and "annotations" in task for task in data)
    )


def _read_label_studio(contents: _Contents) -> Export | None:
    sources = [
        Source(_label_studio(contents, path, parse_json(read_regular(path)))) for path in contents.json.tasks
    ]
    return Export("Label Studio's JSON", sources) if sources else None


def _label_studio(contents: _Contents, path: Path, tasks: list[dict[str, Any]]) -> Records:
    records = Records(image_folder=contents.root)
    labels: dict[str, int] = {}
    for number, task in enumerate(tasks, start=1):
        where = f"{path.name} task {number}"
        values = task.get("data")
        names = (
            [value for value in values.values() if isinstance(value, str)] if isinstance(values, dict) else []
        )
        picture = next((found for name in names if (found := contents.picture(name, path))), None)
        image = _own_record(records, contents, picture, where, number, names[0] if names else None)
        if image is None or picture is None:
            continue
        listed = task.get("annotations")
        annotations = (
            [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        )
        kept = [entry for entry in annotations if not entry.get("was_cancelled")]
        results = kept[-1].get("result") if kept else []
        for i, result in enumerate(results if isinstance(results, list) else [], start=1):
            records.named_objects += 1
            drawn = _label_studio_object(result, image)
            if isinstance(drawn, str):
                records.faults.append(Fault(f"{where} result {i}", drawn, "the box"))
                continue
            name, polygon, bbox = drawn
            label = labels.setdefault(name, len(labels))
            records.objects.append(
                ObjectRecord(
                    where=f"{where} result {i}",
                    image_id=number,
                    label=label,
                    bbox=bbox,
                    segmentation=None if polygon is None else [polygon],
                )
            )
    records.categories = [(i + 1, name) for name, i in labels.items()]
    return _in_order_of_names(records)


Box = tuple[float, float, float, float]


def _label_studio_object(result: object, image: ImageRecord) -> tuple[str, list[float] | None, Box] | str:
    """Class, polygon and box of a result, or what is wrong with it. Numbers are hundredths of the image."""
    value = result.get("value") if isinstance(result, dict) else None
    kind = result.get("type") if isinstance(result, dict) else None
    if not isinstance(value, dict) or kind not in ("rectanglelabels", "polygonlabels"):
        return f"only rectangles and polygons are read, not {shorten(kind)}"
    names = value.get(str(kind))
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        return "has no label"
    sides = (image.width / 100, image.height / 100)
    if kind == "rectanglelabels":
        numbers = [as_number(value.get(key)) for key in ("x", "y", "width", "height")]
        x, y, w, h = (number if number is not None else -1.0 for number in numbers)
        if None in numbers or w <= 0 or h <= 0:
            return "x, y, width and height must be numbers, and the sides above 0"
        if as_number(value.get("rotation") or 0) != 0:
            return "a turned rectangle is not read"
        return names[0], None, (x * sides[0], y * sides[1], w * sides[0], h * sides[1])
    points: Any = value.get("points")
    flat = [as_number(number) for point in points for number in point] if _are_points(points) else []
    polygon = [number * sides[i % 2] for i, number in enumerate(flat) if number is not None]
    if len(polygon) < len(flat) or len(polygon) < 6:
        return "points must be three pairs of numbers or more"
    return _with_extent(names[0], polygon)


def _are_points(points: object) -> bool:
    return isinstance(points, list) and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in points)


def _with_extent(name: str, polygon: list[float]) -> tuple[str, list[float], Box] | str:
    x0, y0, x1, y1 = min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])
    if x1 <= x0 or y1 <= y0:
        return "the polygon is empty"
    return name, polygon, (x0, y0, x1 - x0, y1 - y0)


def _xml_roots(contents: _Contents, tag: str) -> tuple[list[tuple[Path, Any]], list[Fault]]:
    found, faults = [], []
    for path in contents.others[".xml"]:
        try:
            element = parse_xml(read_regular(path))
        except (OSError, ValueError) as error:
            faults.append(Fault(contents.relative(path), str(error), "the image"))
            continue
        if element.tag == tag:
            found.append((path, element))
    return found, faults


def _read_cvat(contents: _Contents) -> Export | None:
    roots = [
        (path, root)
        for path, root in _xml_roots(contents, "annotations")[0]
        if root.find("image") is not None
    ]
    if not roots:
        return None
    sources = []
    for path, root in roots:
        records, splits = Records(image_folder=contents.root), {}
        labels: dict[str, int] = {}
        for element in root.iterfind(".//labels/label/name"):
            labels.setdefault((element.text or "").strip(), len(labels))
        for number, element in enumerate(root.iterfind("image"), start=1):
            where = f"{path.name} image {number}"
            name = element.get("name")
            picture = contents.picture(name, path)
            image = _own_record(records, contents, picture, where, number, name)
            if image is None:
                continue
            splits[image.file_name] = split_of(element.get("subset") or "") or split_of(
                str(PurePosixPath(image.file_name).parent)
            )
            for i, shape in enumerate((s for s in element if s.get("label") is not None), start=1):
                if shape.tag == "tag":
                    continue
                records.named_objects += 1
                found = _cvat_object(shape)
                if isinstance(found, str):
                    records.faults.append(Fault(f"{where} shape {i}", found, "the box"))
                    continue
                label, polygon, bbox = found
                records.objects.append(
                    ObjectRecord(
                        where=f"{where} shape {i}",
                        image_id=number,
                        label=labels.setdefault(label, len(labels)),
                        bbox=bbox,
                        segmentation=None if polygon is None else [polygon],
                    )
                )
        records.categories = [(i + 1, name) for name, i in labels.items()]
        sources.append(Source(records, splits=splits))
    return Export("CVAT's XML", sources)


def _cvat_object(shape: Any) -> tuple[str, list[float] | None, Box] | str:
    """Class, polygon and box of a shape, or what is wrong with it."""
    label = shape.get("label").strip()
    if shape.tag == "box":
        numbers = [parse_number(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")]
        x0, y0, x1, y1 = (number if number is not None else 0.0 for number in numbers)
        if None in numbers or x1 <= x0 or y1 <= y0:
            return "xtl, ytl, xbr and ybr must be the corners of a box"
        if parse_number(shape.get("rotation") or "0") != 0:
            return "a turned box is not read"
        return label, None, (x0, y0, x1 - x0, y1 - y0)
    if shape.tag == "polygon":
        texts = re.split(r"[,;]", shape.get("points") or "")
        values = [parse_number(text) for text in texts]
        polygon = [value for value in values if value is not None]
        if len(polygon) < len(values) or len(polygon) < 6 or len(polygon) % 2:
            return "points must be three pairs of numbers or more"
        return _with_extent(label, polygon)
    return f"only boxes and polygons are read, not {shorten(shape.tag)}"


def _read_voc(contents: _Contents) -> Export | None:
    roots, faults = _xml_roots(contents, "annotation")
    if not roots:
        return None
    names = {(e.findtext("name") or "").strip() for _, root in roots for e in root.iter("object")} - {""}
    labels = {name: i for i, name in enumerate(_listed_names(contents, names) or sorted(names))}
    listed = _image_sets(contents)
    records = Records(image_folder=contents.root, faults=faults, named_images=len(faults))
    splits: dict[str, Part | None] = {}
    for number, (path, root) in enumerate(roots, start=1):
        where, given = contents.relative(path), root.findtext("filename")
        picture = contents.picture(given, path)
        if picture is None or name_key(picture.stem) != name_key(path.stem):
            same = contents.by_stem.get(name_key(path.stem), [])
            picture = contents.nearest(same, [path.stem], path) or picture
        records.named_images += 1
        if picture is None:
            records.faults.append(Fault(where, f"no image {shorten(given)}", "the image"))
            continue
        image = read_image_record(root, where, contents.relative(picture), number)
        if isinstance(image, Fault):
            size = _size_or_none(picture)
            if size is None:
                records.faults.append(image)
                continue
            name = contents.relative(picture)
            image = ImageRecord(id=number, file_name=name, height=size[0], width=size[1])
        records.images.append(image)
        splits[image.file_name] = listed.get(name_key(path.stem)) or split_of(
            str(PurePosixPath(where).parent)
        )
        found, wrong = read_object_records(root, where, number, labels)
        records.objects += found
        records.faults += wrong
        records.named_objects += len(found) + len(wrong)
    records.categories = [(i + 1, name) for name, i in labels.items()]
    return Export("Pascal VOC's XML", [Source(_in_order_of_names(records), splits=splits)])


def _image_sets(contents: _Contents) -> dict[str, Part | None]:
    """The split of each image by its name without ending, from ImageSets/Main/train.txt and the like."""
    found: dict[str, Part | None] = {}
    for path in contents.others[".txt"]:
        split = SPLIT_WORDS.get(path.stem.lower())
        if split is None or path.parent.name not in ("Main", "ImageSets"):
            continue
        for _, line in read_lines(path):
            found[name_key(PurePosixPath(line.replace("\\", "/")).stem)] = split
    return found


def _listed_names(contents: _Contents, names: Iterable[str]) -> list[str] | None:
    """The classes in the order of a file that names all of them."""
    for path in (*contents.others[".txt"], *contents.others[".names"]):
        if path.name in LABELS_NAMES:
            listed = [line for _, line in read_lines(path)]
            if set(names) <= set(listed) and len(set(listed)) == len(listed):
                return listed
    return None


def _read_yolo(contents: _Contents) -> Export | None:
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
        image = _own_record(records, contents, picture, where, number, where)
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


def _label_file(contents: _Contents, picture: Path, by_stem: dict[str, list[Path]]) -> Path | None:
    """The label file of a picture: beside it, or in the folder labels where it is in images."""
    found = [p for p in by_stem.get(name_key(picture.stem), []) if p.name not in LABELS_NAMES]
    wanted = [part.lower() for part in picture.relative_to(contents.root).parts[:-1]]
    swapped = ["labels" if part == "images" else part for part in wanted]
    for path in found:
        here = [part.lower() for part in path.relative_to(contents.root).parts[:-1]]
        if here in (wanted, swapped):
            return path
    return None


def _yolo_classes(contents: _Contents) -> tuple[str, ...] | None:
    for ending in (".yaml", ".yml"):
        for path in contents.others[ending]:
            if path.name in CONFIG_NAMES:
                return read_classes(path.parent)
    for path in (*contents.others[".txt"], *contents.others[".names"], *contents.others[".labels"]):
        if path.name in LABELS_NAMES:
            return tuple(line for _, line in read_lines(path))
    return None


def _yolo_lists(contents: _Contents) -> dict[str, Part | None]:
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


def _read_classes(contents: _Contents) -> Export | None:
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
        image = _own_record(records, contents, picture, where, number, where)
        if image is not None:
            splits[where] = split
            bbox = (0.0, 0.0, float(image.width), float(image.height))
            records.objects.append(ObjectRecord(where=where, image_id=number, label=labels[name], bbox=bbox))
    records.categories = [(i, name) for name, i in labels.items()]
    faults = [fault for fault in contents.faults if fault.skipped == "the files"]
    return Export("folders of classes", [Source(records, splits=splits)], labeled=True, faults=faults)


def _own_record(
    records: Records, contents: _Contents, picture: Path | None, where: str, number: int, given: object
) -> ImageRecord | None:
    """Adds the record of an image whose size its file tells, or a fault."""
    records.named_images += 1
    if picture is None:
        records.faults.append(Fault(where, f"no image {shorten(given)}", "the image"))
        return None
    try:
        height, width = image_size(picture, MOST_PIXELS)
    except ImageError as error:
        records.faults.append(Fault(where, f"cannot be read as an image: {error}", "the image"))
        return None
    image = ImageRecord(id=number, file_name=contents.relative(picture), height=height, width=width)
    records.images.append(image)
    return image


def _size_or_none(picture: Path) -> tuple[int, int] | None:
    try:
        return image_size(picture, MOST_PIXELS)
    except ImageError:
        return None


def _in_order_of_names(records: Records) -> Records:
    """The records with their categories sorted by name."""
    order = sorted(range(len(records.categories)), key=lambda i: records.categories[i][1])
    places = {old: new for new, old in enumerate(order)}
    records.objects = [
        ObjectRecord(
            where=record.where,
            image_id=record.image_id,
            label=places[record.label],
            bbox=record.bbox,
            crowd=record.crowd,
            area=record.area,
            segmentation=record.segmentation,
        )
        for record in records.objects
    ]
    records.categories = [(i + 1, records.categories[old][1]) for i, old in enumerate(order)]
    return records
