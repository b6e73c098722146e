"""Labeled images: a folder for every class, or iNaturalist's annotations.

A root is either `train/<class>/*` and `val/<class>/*`, or holds `train.json` and `val.json`, perhaps with a
year or "_mini" in the name, with `images` (id, file_name) and `annotations` (image_id, category_id), as
iNaturalist's do. Each image gets a
single box, the whole image, so that the pixel cache and the batches serve it as they serve detection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from proxy_tasks.data.dataset import DataError, DetectionDataset, Fault, Inspection, Split
from proxy_tasks.data.fields import Id, as_id, has_lists
from proxy_tasks.data.files import FileFinder, Finder, Stamp, list_pictures, stamps_of
from proxy_tasks.data.image_io import MAX_PIXELS, MOST_PIXELS
from proxy_tasks.data.limits import LEFT_OUT, Limits
from proxy_tasks.data.pixel_cache import PixelCache, open_caches
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.records import ImageRecord, ObjectRecord, Records, read_image_sizes
from proxy_tasks.data.survey import Part, Survey, survey_set
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import shown
from search_space.utils.paths import make_paths_absolute
from search_space.utils.regular_file import read_regular
from search_space.utils.user_folders import user_cache_folder
from search_space.utils.validation import AtLeast, AtMost, Below, validate

NAMES: dict[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid", "validation")}
"""What the folder of a split may be called."""

Labeled = list[tuple[str, int]]
"""Files below the root, each with the index of its class."""


@dataclass(frozen=True)
class LabeledImages:
    """Training and validation images with one label each.

    Args:
        root: see this file's beginning.
        cache: folder of pixel caches; None for the user's cache folder.
        allow_left_out: share of the images that may be unusable; if more are, the set is refused. A single
            one may always be, unless this is 0.
        max_pixels: images of more pixels are left out.
        selection, part: see `proxy_tasks.DetectionData`.
    """

    root: str | Path
    cache: str | Path | None = None
    allow_left_out: Annotated[float, AtLeast(0), AtMost(1)] = field(default=LEFT_OUT, kw_only=True)
    max_pixels: Annotated[int, AtLeast(1), AtMost(MOST_PIXELS)] = field(default=MAX_PIXELS, kw_only=True)
    selection: Annotated[float, AtLeast(0), Below(1)] = field(default=0.0, kw_only=True)
    part: Part = field(default="search", kw_only=True)

    def __post_init__(self) -> None:
        validate(self, DataError)
        make_paths_absolute(self)

    def survey(self) -> Survey:
        """What is used and what is left out, without decoding an image.

        Raises:
            DataError: if the root is neither layout.
        """
        root = Path(self.root).resolve()
        files = [*READER.files(root, "train"), *(root / name for name in NAMES["val"])]
        limits = Limits(self.max_pixels, self.allow_left_out)
        whole = _survey(root, limits, stamps_of([*files, *_below(root)]))
        return whole.divide(self.selection, self.part)

    def for_finalists(self) -> LabeledImages | None:
        """Gives this data set with the images for the finalists.

        It is None if no images are kept for them, or if the set has these images already.
        """
        kept = self.selection > 0 and self.part == "search"
        return replace(self, part="finalists") if kept else None

    def splits(self) -> tuple[DetectionDataset, DetectionDataset]:
        """What is known of the images without decoding one.

        Raises:
            DataError: if the root is neither layout, a split holds no usable image, or too much of it cannot
                be used.
        """
        return self.survey().datasets()

    def caches(self, size: int) -> tuple[PixelCache, PixelCache]:
        """The images with a longer side of `size` pixels, decoded and resized if they are not yet.

        Raises:
            DataError: see `splits`.
            OSError: if the cache cannot be written.
        """
        return open_caches(self.survey(), size, self.cache_folder)

    @property
    def cache_folder(self) -> Path:
        """Where pixel caches lie."""
        return Path(self.cache) if self.cache is not None else user_cache_folder()


@dataclass(frozen=True)
class LabeledReader(Reader):
    """Reads images of one label each."""

    name: ClassVar[str] = "labeled images"
    layout: ClassVar[str] = "train/<class>/ with images, or train.json (train2018.json, train_mini.json)"

    def recognizes(self, root: Path) -> bool:
        """Whether there are annotations or folders of classes; "images" is a folder of another format."""
        if any(_annotation_file(root, split) is not None for split in NAMES):
            return True
        classes = [name for split in NAMES for name in _class_folders(_split_folder(root, split))]
        return bool(classes) and "images" not in classes

    def files(self, root: Path, split: Split) -> list[Path]:
        """Gives the annotation file, or the folders of the classes.

        Raises:
            DataError: if there is neither.
        """
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; labeled images are wanted")
        file = _annotation_file(root, split)
        if file is not None:
            return [file]
        folder = _split_folder(root, split)
        if not folder.is_dir():
            files = f"{split}.json ({split}2018.json, {split}_mini.json)"
            raise DataError(f"{root}: neither {split}/<class>/ with images nor {files}")
        return [folder, *(folder / name for name in _class_folders(folder))]

    def inspect(self, root: Path, split: Split, masks: bool = False) -> Inspection:
        """See `Reader.inspect`.

        Raises:
            DataError: if masks are wanted, or the set cannot be read.
        """
        if masks:
            raise DataError(f"{root}: labeled images have no masks")
        source = self.files(root, split)[0]
        if source.is_file():
            return read_labels(source, FileFinder(root)).inspection(masks)
        return _read_folders(root, source).inspection(masks)


READER = LabeledReader()


@lru_cache(maxsize=4)
def _survey(root: Path, limits: Limits, stamps: tuple[Stamp, ...]) -> Survey:
    """Both splits, read again if their files change."""
    advice = f"nas data import {root} --out SET divides the images"
    return survey_set(READER, root, limits, without_val=advice)


def _below(root: Path) -> list[Path]:
    """What changes when an image is added: the folders of the classes, and annotations."""
    folders = [_split_folder(root, split) for split in NAMES]
    files = [file for split in NAMES if (file := _annotation_file(root, split)) is not None]
    return [*files, *(folder / name for folder in folders for name in _class_folders(folder))]


def _annotation_file(root: Path, split: Split) -> Path | None:
    """iNaturalist's file of a split, such as train2018.json or train_mini.json."""
    found = sorted(
        path for path in root.glob("*.json") if re.fullmatch(rf"{split}(\d{{4}})?(_mini)?", path.stem)
    )
    return found[0] if found else None


def _split_folder(root: Path, split: Split) -> Path:
    """The folder of a split; one of the usual name if there is none."""
    found = (root / name for name in NAMES[split] if (root / name).is_dir())
    return next(found, root / split)


def _class_folders(folder: Path) -> list[str]:
    """The classes by name. Folders such as .ipynb_checkpoints are none."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_folders(root: Path, folder: Path) -> Records:
    """The images of folders that are classes."""
    classes = _class_folders(folder)
    labeled: Labeled = []
    faults: list[Fault] = []
    lost = 0
    for label, name in enumerate(classes):
        pictures = list_pictures(folder / name)
        labeled += [(path.relative_to(root).as_posix(), label) for path in pictures.images]
        faults += pictures.faults
        lost += pictures.unread
    inside = {path for name, _ in labeled for path in [root / name]}
    for path in (path for path in list_pictures(folder).images if path not in inside):
        faults.append(Fault(path.relative_to(root).as_posix(), "lies in no folder of a class", "the image"))
        lost += 1
    categories = list(enumerate(classes))
    return _labeled_records(root, labeled, categories, faults, lost=lost, labels=len(labeled) + lost)


def read_labels(path: Path, finder: Finder) -> Records:
    """The images of annotations in iNaturalist's form, which are COCO's without boxes.

    Args:
        path: the annotations.
        finder: of the images.

    Raises:
        DataError: if the file holds no such annotations.
    """
    data = parse_json(read_regular(path), error=DataError, where=path)
    if not has_lists(data, "images", "annotations"):
        raise DataError(f'{path}: no annotations of labeled images: "images" and "annotations" must be lists')
    categories = _named_categories(data, path)
    index = {key: i for i, key in enumerate(categories)}
    label_of: dict[Id, Id] = {}
    faults: list[Fault] = []
    for i, entry in enumerate(data["annotations"]):
        image, category = _ids(entry, "image_id", "category_id")
        where = f"{path.name} annotation entry {i}"
        if image is None or category not in index or category is None:
            given = entry.get("category_id") if isinstance(entry, dict) else entry
            faults.append(Fault(where, f"unknown category or image: {shown(given)}", "the label"))
        elif label_of.setdefault(image, category) != category:
            what = f"image {shown(image)} has another label already"
            faults.append(Fault(where, what, "the second label"))
    labels = len(faults)  # So far those that are left out.
    owners: set[str] = set()
    labeled: Labeled = []
    for i, entry in enumerate(data["images"]):
        (image,) = _ids(entry, "id")
        where = f"{path.name} image entry {i}"
        given = entry.get("file_name") if isinstance(entry, dict) else None
        name = finder.find(given)
        labels += image in label_of
        if image is None or image not in label_of:
            faults.append(Fault(where, "has no label of a known category", "the image"))
        elif name is None:
            faults.append(Fault(where, finder.explain(given), "the image"))
        elif name in owners:
            faults.append(
                Fault(where, f"its file {shown(name)} is that of another image too", "the second image")
            )
        else:
            owners.add(name)
            labeled.append((name, index[label_of[image]]))
    numbered = [
        (key if isinstance(key, int) else i, name) for i, (key, name) in enumerate(categories.items())
    ]
    return _labeled_records(
        finder.folder, labeled, numbered, faults, lost=len(data["images"]) - len(labeled), labels=labels
    )


def _named_categories(data: dict[str, Any], path: Path) -> dict[Id, str]:
    """The names of the categories by ascending id, numbers before texts."""
    listed = data.get("categories")
    found: dict[Id, str] = {}
    if isinstance(listed, list) and listed:
        for entry in listed:
            (key,) = _ids(entry, "id")
            if key is None:
                raise DataError(f"{path}: a category must have a number or a text as id, not {shown(entry)}")
            found[key] = str(key if entry.get("name") is None else entry["name"])
    else:
        keys = [_ids(entry, "category_id")[0] for entry in data["annotations"]]
        found = {key: str(key) for key in keys if key is not None}
    texts = {isinstance(key, str) for key in found}
    if len(texts) > 1:
        raise DataError(f"{path}: the ids of categories must be numbers or texts, not both")
    return {key: found[key] for key in sorted(found, key=lambda key: (isinstance(key, str), key))}


def _ids(entry: object, *keys: str) -> tuple[Id | None, ...]:
    return tuple(as_id(entry.get(key)) if isinstance(entry, dict) else None for key in keys)


def _labeled_records(
    root: Path,
    labeled: Labeled,
    categories: Sequence[tuple[int, str]],
    faults: list[Fault],
    *,
    lost: int,
    labels: int,
) -> Records:
    """The records of files with their labels: one box an image, which is all of it.

    A file that has one label under several names is an image for each of them.

    Args:
        root: that the files' names start from.
        labeled: the files.
        categories: id and name of each.
        faults: of what is left out already.
        lost: how many images that is.
        labels: that are named, with those that are left out.
    """
    ordered = sorted(labeled)
    found = Records(
        image_folder=root,
        categories=list(categories),
        content=[repr(ordered).encode("utf-8", "surrogateescape")],
        faults=list(faults),
        named_images=len(ordered) + lost,
        named_objects=labels,
    )
    sizes = read_image_sizes([root / name for name, _ in ordered])
    owners: dict[tuple[int, int], tuple[str, int]] = {}
    for number, ((name, label), size) in enumerate(zip(ordered, sizes, strict=True)):
        if isinstance(size, str):
            found.faults.append(Fault(name, f"cannot be read as an image: {size}", "the image"))
            continue
        state = (root / name).stat()
        owner, known = owners.setdefault((state.st_dev, state.st_ino), (name, label))
        if owner != name:
            skipped = "nothing" if known == label else "the second image"
            found.faults.append(Fault(name, f"is the same file as {shown(owner)}", skipped))
        if known != label:
            continue
        height, width = size
        found.images.append(ImageRecord(id=number, file_name=name, height=height, width=width))
        bbox = (0.0, 0.0, float(width), float(height))
        found.objects.append(ObjectRecord(where=name, image_id=number, label=label, bbox=bbox))
    return found
