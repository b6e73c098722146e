"""Pascal VOC's format: one XML file for an image.

A root holds `Annotations/*.xml`, `JPEGImages/`, and `ImageSets/Main/train.txt` and `val.txt`, which list
images by their name without an ending. Coordinates count pixels from 1, and the last pixel is inside the box:
`xmin` 1 and `xmax` 10 are the first ten columns.

`difficult` objects are treated as COCO's crowd regions: they are not trained on, and a detection of one is
neither right nor wrong, as in VOC's own evaluation. `truncated` and `occluded` objects are ordinary ones.

Categories are numbered from 1 in the order of `labels.txt` or `classes.txt`, one name a line. Without such a
file they are all names in the annotations of train and val, sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from proxy_tasks.data.dataset import SPLITS, DataError, Fault, Inspection, Split
from proxy_tasks.data.fields import parse_number, parse_whole
from proxy_tasks.data.files import FileFinder, is_file, list_pictures, name_key, read_lines
from proxy_tasks.data.image_io import IMAGE_ENDINGS
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.records import ImageRecord, ObjectRecord, Records, collect_objects
from search_space.utils.parsing import shown
from search_space.utils.regular_file import read_regular

NAME_FILES = ("labels.txt", "classes.txt")


Labels = dict[str, int]
"""Indices of categories, by name."""


@dataclass(frozen=True)
class PascalVocReader(Reader):
    """Reads Pascal VOC's annotations of boxes; its pictures of segmentations are not read."""

    name: ClassVar[str] = "Pascal VOC"
    layout: ClassVar[str] = "Annotations/ with XML files, JPEGImages/ and ImageSets/Main/train.txt"

    def recognizes(self, root: Path) -> bool:
        """Whether there is a folder of annotations and a list of images."""
        return (root / "Annotations").is_dir() and any(_list_file(root, split).is_file() for split in SPLITS)

    def files(self, root: Path, split: Split) -> list[Path]:
        """The list of the split, what names the categories, and the annotation files."""
        names_file = _names_file(root)
        lists = [_list_file(root, split)] if names_file else [_list_file(root, s) for s in _order(split)]
        annotations = [_annotation_file(root, name) for path in lists for _, name in _listed(path)]
        return [*lists, *([names_file] if names_file else []), root / "JPEGImages", *annotations]

    def inspect(self, root: Path, split: Split, masks: bool = False) -> Inspection:
        """See `Reader.inspect`.

        Raises:
            DataError: if masks are wanted, or the set cannot be read.
        """
        if masks:
            raise DataError(
                f"{root}: Pascal VOC data has boxes only; a head that learns masks needs COCO or YOLO data"
            )
        if not (root / "JPEGImages").is_dir():
            raise DataError(f"{root / 'JPEGImages'}: no such folder")
        documents, faults = _read_documents(root, split)
        named_images = len(documents) + len(faults)
        names = _category_names(root, split, documents)
        labels = {name: i for i, name in enumerate(names)}
        pairs, missing = _images_of(documents, root / "JPEGImages")
        faults += missing
        images: list[ImageRecord] = []
        objects: list[ObjectRecord] = []
        for number, (file_name, document) in enumerate(pairs, start=1):
            image = read_image_record(document.root, document.where, file_name, number)
            if isinstance(image, Fault):
                faults.append(image)
                continue
            images.append(image)
            records, wrong = read_object_records(document.root, document.where, number, labels)
            objects += records
            faults += wrong
        return Records(
            image_folder=root / "JPEGImages",
            images=images,
            objects=objects,
            categories=[(i + 1, name) for i, name in enumerate(names)],
            content=[repr(names).encode(), *(document.content for document in documents)],
            faults=faults,
            named_images=named_images,
            named_objects=sum(len(document.root.findall("object")) for document in documents),
        ).inspection(masks)


@dataclass(frozen=True, kw_only=True)
class _Document:
    """One annotation file.

    Args:
        stem: the image's name without its ending.
        where: the file, for messages.
        content: its bytes.
        root: its outermost element.
    """

    stem: str
    where: str
    content: bytes
    root: ElementTree.Element


class _EntitiesError(ValueError):
    """An XML file defines a document type, which could blow up memory."""


class _PlainBuilder(ElementTree.TreeBuilder):
    """Builds elements and refuses document types: without one there are no entities to expand."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuses; the parser calls this before it reads the first entity."""
        raise _EntitiesError("a document type (<!DOCTYPE ...>) is not read")


def parse_xml(content: bytes) -> ElementTree.Element:
    """The outermost element of an XML text.

    Raises:
        ValueError: if it is no XML, or defines a document type.
    """
    parser = ElementTree.XMLParser(target=_PlainBuilder())
    try:
        parser.feed(content)
        return parser.close()
    except _EntitiesError:
        raise
    except Exception as error:  # The parser raises whatever an odd encoding or entity runs into.
        raise ValueError(f"not readable as XML: {' '.join(str(error).split())[:200]}") from None


def _list_file(root: Path, split: Split) -> Path:
    return root / "ImageSets" / "Main" / f"{split}.txt"


def _annotation_file(root: Path, name: str) -> Path:
    return root / "Annotations" / f"{name}.xml"


def _names_file(root: Path) -> Path | None:
    return next((root / name for name in NAME_FILES if is_file(root / name)), None)


def _order(split: Split) -> tuple[Split, Split]:
    """The split and the other one."""
    return ("train", "val") if split == "train" else ("val", "train")


def _listed(path: Path) -> list[tuple[int, str]]:
    """The names in a list of images with their line numbers; nothing if there is no list."""
    return read_lines(path) if path.is_file() else []


def _read_documents(root: Path, split: Split) -> tuple[list[_Document], list[Fault]]:
    path = _list_file(root, split)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; it must list the images of {split}, one a line without ending"
        )
    documents: dict[str, _Document] = {}
    faults = []
    seen: dict[str, int] = {}
    finder = _annotation_finder(root)
    for number, line in _listed(path):
        name = _stem(root, line, finder)
        where = f"{path.name} line {number}"
        if name in seen:
            faults.append(Fault(where, f"{shown(name)} stands in line {seen[name]} too", "the second image"))
            continue
        seen[name] = number
        document = _read_document(root, name)
        if isinstance(document, _Document):
            documents[name] = document
        else:
            missing = Fault(where, f"no file Annotations/{shown(name)[1:-1]}.xml", "the image")
            faults.append(document or missing)
    return list(documents.values()), faults


def _annotation_finder(root: Path) -> FileFinder | None:
    folder = root / "Annotations"
    return FileFinder(folder) if folder.is_dir() else None


def _stem(root: Path, line: str, finder: FileFinder | None) -> str:
    """The name of an image without its ending, however a line of a list writes it."""
    if finder is None or is_file(_annotation_file(root, line)):
        return line
    plain = line.replace("\\", "/")
    name, dot, ending = plain.rpartition(".")
    if dot and f".{ending.lower()}" in IMAGE_ENDINGS:
        plain = name
    found = finder.find(f"{plain}.xml")
    return line if found is None else found.removesuffix(".xml")


def _read_document(root: Path, name: str) -> _Document | Fault | None:
    """An annotation file, or why it cannot be read; None if it is missing."""
    path = _annotation_file(root, name)
    if ".." in Path(name).parts or Path(name).is_absolute() or not is_file(path):
        return None
    where = f"Annotations/{name}.xml"
    content = read_regular(path)
    try:
        element = parse_xml(content)
    except ValueError as error:
        return Fault(where, str(error), "the image")
    return _Document(stem=name, where=where, content=content, root=element)


def _category_names(root: Path, split: Split, documents: Sequence[_Document]) -> list[str]:
    """The names of the categories by label."""
    path = _names_file(root)
    if path is not None:
        names = [name for _, name in read_lines(path)]
        if not names or len(set(names)) < len(names):
            raise DataError(f"{path}: must name each category once, one a line")
        return names
    finder, listed = _annotation_finder(root), _listed(_list_file(root, _order(split)[1]))
    others = [_read_document(root, _stem(root, line, finder)) for _, line in listed]
    everything = [*documents, *(other for other in others if isinstance(other, _Document))]
    named = {_text(element, "name") for document in everything for element in document.root.iter("object")}
    return sorted(name for name in named if name)


def _images_of(
    documents: Sequence[_Document], folder: Path
) -> tuple[list[tuple[str, _Document]], list[Fault]]:
    """The documents with the names of their image files, sorted by these, and faults of those without."""
    pictures = list_pictures(folder)
    by_stem: dict[str, list[str]] = {}
    by_key: dict[str, list[str]] = {}
    for path in pictures.images:
        name = path.relative_to(folder).as_posix()
        stem = name.removesuffix(path.suffix)
        by_stem.setdefault(stem, []).append(name)
        by_key.setdefault(name_key(stem), []).append(name)
    pairs, faults = [], [fault for fault in pictures.faults if fault.skipped == "its images"]
    owners: dict[str, str] = {}
    for document in documents:
        names = sorted(by_stem.get(document.stem) or by_key.get(name_key(document.stem), []))
        named = _text(document.root, "filename")
        if not names:
            what = f"no image {shown(document.stem)} in JPEGImages"
            faults.append(Fault(document.where, what, "the image"))
        elif len(names) > 1 and named not in names:
            what = f"JPEGImages holds {' and '.join(names)}, and filename says neither"
            faults.append(Fault(document.where, what, "the image"))
        else:
            name = named if named is not None and named in names else names[0]
            if name in owners:
                what = f"its image {shown(name)} is that of {owners[name]} too"
                faults.append(Fault(document.where, what, "the second image"))
                continue
            owners[name] = document.where
            pairs.append((name, document))
    return sorted(pairs, key=lambda pair: pair[0]), faults


def read_image_record(
    root: ElementTree.Element, where: str, file_name: str, number: int
) -> ImageRecord | Fault:
    """The record of a document's image, or what is wrong with its size."""
    texts = _text(root, "size/height"), _text(root, "size/width")
    height, width = map(parse_whole, texts)
    if height is None or width is None or height < 1 or width < 1:
        given = f"{shown(texts[0])} and {shown(texts[1])}"
        return Fault(where, f"height and width must be whole numbers above 0, not {given}", "the image")
    return ImageRecord(id=number, file_name=file_name, height=height, width=width)


def read_object_records(
    root: ElementTree.Element, file: str, image_id: int, labels: Labels
) -> tuple[list[ObjectRecord], list[Fault]]:
    """The objects of a document, and what is wrong with the others.

    Args:
        root: its outermost element.
        file: for messages.
        image_id: of its image.
        labels: indices of the categories.
    """
    named = ((f"{file} object {i}", element) for i, element in enumerate(root.findall("object"), start=1))
    return collect_objects(
        (where, _object_record(element, where, image_id, labels)) for where, element in named
    )


def _object_record(
    element: ElementTree.Element, where: str, image_id: int, labels: Labels
) -> ObjectRecord | str:
    """The record of an object, or what is wrong with it."""
    name = _text(element, "name")
    if not name:
        return "has no name"
    if name not in labels:
        return f"unknown category {shown(name)}"
    difficult = parse_whole(_text(element, "difficult") or "0")
    if difficult not in (0, 1):
        return f"difficult must be 0 or 1, not {shown(_text(element, 'difficult'))}"
    corners = [parse_number(_text(element, f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
    numbers = [corner for corner in corners if corner is not None]
    if len(numbers) < 4:
        return "bndbox must have the numbers xmin, ymin, xmax and ymax"
    x0, y0, x1, y1 = numbers
    # Rounded, as 46.7 - 1 is not 45.7 in binary.
    bbox = (round(x0 - 1, 6), round(y0 - 1, 6), round(x1 - x0 + 1, 6), round(y1 - y0 + 1, 6))
    if bbox[2] <= 0 or bbox[3] <= 0:
        return f"box from {x0:g}, {y0:g} to {x1:g}, {y1:g} is empty"
    return ObjectRecord(where=where, image_id=image_id, label=labels[name], bbox=bbox, crowd=difficult == 1)


def _text(element: ElementTree.Element, path: str) -> str | None:
    """The text of an element below another, stripped; None if there is none."""
    text = element.findtext(path)
    return text.strip() if text is not None and text.strip() else None
