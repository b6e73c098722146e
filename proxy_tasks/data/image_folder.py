"""Labeled images: a folder for every class, or iNaturalist's annotations.

A root is either `train/<class>/*` and `val/<class>/*`, or holds `train*.json` and `val*.json` with
`images` (id, file_name) and `annotations` (image_id, category_id), as iNaturalist's do. Each image gets a
single box, the whole image, so that the pixel cache and the batches serve it as they serve detection.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from proxy_tasks.data.dataset import SPLITS, DataError, DetectionDataset, Fault, Inspection, Split
from proxy_tasks.data.files import IMAGE_ENDINGS, Stamp, stamps_of
from proxy_tasks.data.pixel_cache import PixelCache, cache_folder, open_caches
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.records import ImageRecord, ObjectRecord, build_dataset, read_image_sizes


@dataclass(frozen=True)
class LabeledImages:
    """Training and validation images with one label each.

    Args:
        root: see this file's beginning.
        cache: folder of pixel caches; None for `proxy_tasks.data.pixel_cache.cache_folder()`.
    """

    root: str
    cache: str | None = None

    def splits(self) -> tuple[DetectionDataset, DetectionDataset]:
        """What is known of the images without decoding one.

        Raises:
            DataError: if the root is neither layout, or a split holds no usable image.
        """
        root = Path(self.root).resolve()
        return _splits(str(root), stamps_of(path for split in SPLITS for path in READER.files(root, split)))

    def caches(self, size: int) -> tuple[PixelCache, PixelCache]:
        """The images with a longer side of `size` pixels, decoded and resized if they are not yet.

        Raises:
            DataError: see `splits`.
            OSError: if the cache cannot be written.
        """
        training, validation = self.splits()
        return open_caches(training, validation, size, Path(self.cache) if self.cache else cache_folder())


@dataclass(frozen=True)
class LabeledReader(Reader):
    """Reads images of one label each."""

    name: ClassVar[str] = "labeled images"
    layout: ClassVar[str] = "train/<class>/ with images, or train*.json"

    def recognizes(self, root: Path) -> bool:
        """Whether there are annotations or folders of classes; "images" is a folder of another format."""
        if any(_annotation_file(root, split) is not None for split in SPLITS):
            return True
        classes = [name for split in SPLITS for name in _class_folders(root / split)]
        return bool(classes) and "images" not in classes

    def files(self, root: Path, split: Split) -> list[Path]:
        """The annotation file, or the folders of the classes."""
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; labeled images are wanted")
        file = _annotation_file(root, split)
        if file is not None:
            return [file]
        if not (root / split).is_dir():
            raise DataError(f"{root}: neither {split}/<class>/ with images nor {split}*.json")
        return [root / split, *(root / split / name for name in _class_folders(root / split))]

    def inspect(self, root: Path, split: Split, masks: bool = False) -> Inspection:
        """See `Reader.inspect`."""
        if masks:
            raise DataError(f"{root}: labeled images have no masks")
        source = self.files(root, split)[0]
        if source.is_file():
            return _inspect_annotations(root, source)
        return _inspect_folders(root, split)


READER = LabeledReader()


def read_labeled(root: Path, split: Split) -> DetectionDataset:
    """The "train" or "val" images of a root.

    Raises:
        DataError: if there are none.
    """
    return READER.read(root, split)


@lru_cache(maxsize=4)
def _splits(root: str, stamps: tuple[Stamp, ...]) -> tuple[DetectionDataset, DetectionDataset]:
    """Both splits, read again if their files change."""
    training, validation = (read_labeled(Path(root), split) for split in SPLITS)
    if training.category_names != validation.category_names:
        raise DataError(
            f"{root}: train and val have other classes: "
            f"{sorted(set(training.category_names) ^ set(validation.category_names))[:5]}"
        )
    return training, validation


def _annotation_file(root: Path, split: Split) -> Path | None:
    return next(iter(sorted(root.glob(f"{split}*.json"))), None)


def _class_folders(folder: Path) -> list[str]:
    """The classes by name. Folders such as .ipynb_checkpoints are none."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _inspect_folders(root: Path, split: Split) -> Inspection:
    classes = _class_folders(root / split)
    labeled = [
        (f"{split}/{name}/{path.name}", label)
        for label, name in enumerate(classes)
        for path in (root / split / name).iterdir()
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")
    ]
    return _inspect_labeled(root, labeled, list(enumerate(classes)))


def _inspect_annotations(root: Path, path: Path) -> Inspection:
    try:
        data = json.loads(path.read_text())
        label_of = {entry["image_id"]: entry["category_id"] for entry in data["annotations"]}
        categories: list[dict[str, Any]] = data.get("categories") or [
            {"id": i, "name": str(i)} for i in sorted(set(label_of.values()))
        ]
        named = {int(entry["id"]): str(entry.get("name", entry["id"])) for entry in categories}
        index = {number: i for i, number in enumerate(sorted(named))}
        labeled = [
            (str(entry["file_name"]), index[label_of[entry["id"]]])
            for entry in data["images"]
            if label_of.get(entry["id"]) in index
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: no annotations of labeled images: {type(error).__name__}: {error}"
        ) from None
    return _inspect_labeled(root, labeled, [(number, named[number]) for number in index])


def _inspect_labeled(
    root: Path, labeled: Sequence[tuple[str, int]], categories: Sequence[tuple[int, str]]
) -> Inspection:
    """The dataset of files with their labels: one box an image, which is all of it."""
    ordered = sorted(labeled)
    images: list[ImageRecord] = []
    objects: list[ObjectRecord] = []
    faults = []
    sizes = read_image_sizes([root / name for name, _ in ordered])
    for number, ((name, label), size) in enumerate(zip(ordered, sizes, strict=True)):
        if size is None:
            faults.append(Fault(name, "cannot be read as an image", "the image"))
            continue
        height, width = size
        images.append(ImageRecord(id=number, file_name=name, height=height, width=width))
        bbox = (0.0, 0.0, float(width), float(height))
        objects.append(ObjectRecord(where=name, image_id=number, label=label, bbox=bbox))
    dataset, _ = build_dataset(
        image_folder=root,
        images=images,
        objects=objects,
        categories=categories,
        content=[json.dumps(ordered).encode()],
    )
    return Inspection(dataset, faults)
