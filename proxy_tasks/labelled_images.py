"""Labelled images: a folder for every class, or iNaturalist's annotations.

A root is either `train/<class>/*` and `val/<class>/*`, or holds `train*.json` and `val*.json` with
`images` (id, file_name) and `annotations` (image_id, category_id), as iNaturalist's do. Each image becomes
one with a single box, the whole image, so that packs and batches serve it as they serve detection.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from proxy_tasks.coco import DataError, Split
from proxy_tasks.data import cache_folder
from proxy_tasks.images import upright_size
from proxy_tasks.pack import Pack, usable_pack

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")


@dataclass(frozen=True)
class LabelledImages:
    """Training and validation images with one label each.

    Args:
        root: see this file's beginning.
        cache: folder for packs; None for `proxy_tasks.data.cache_folder()`.
    """

    root: str
    cache: str | None = None

    def splits(self) -> tuple[Split, Split]:
        """What is known of the images.

        Raises:
            DataError: if the root is neither layout, or a split holds no usable image.
        """
        return _splits(str(Path(self.root).resolve()), _stamp(Path(self.root)))

    def packs(self, size: int) -> tuple[Pack, Pack]:
        """The images with a longer side of `size` pixels, packed if they are not yet.

        Raises:
            DataError: see `splits`.
            OSError: if the cache cannot be written.
        """
        training, validation = self.splits()
        folder = (Path(self.cache) if self.cache is not None else cache_folder()) / "packs"
        return (
            usable_pack(training, size, folder, "train on"),
            usable_pack(validation, size, folder, "evaluate on"),
        )


def read_labelled(root: Path, name: str) -> Split:
    """The "train" or "val" images of a root.

    Raises:
        DataError: if there are none.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; labelled images are wanted")
    files = sorted(root.glob(f"{name}*.json"))
    if files:
        return _from_annotations(root, files[0])
    if not (root / name).is_dir():
        raise DataError(f"{root}: neither {name}/<class>/ with images nor {name}*.json")
    return _from_folders(root, name)


@lru_cache(maxsize=4)
def _splits(root: str, stamp: tuple[float, ...]) -> tuple[Split, Split]:
    training, validation = (read_labelled(Path(root), name) for name in ("train", "val"))
    if training.category_names != validation.category_names:
        raise DataError(
            f"{root}: train and val have other classes: "
            f"{sorted(set(training.category_names) ^ set(validation.category_names))[:5]}"
        )
    return training, validation


def _stamp(root: Path) -> tuple[float, ...]:
    """Changes when annotations or class folders do."""
    paths = [*root.glob("*.json"), root / "train", root / "val", *root.glob("train/*"), *root.glob("val/*")]
    return tuple(path.stat().st_mtime for path in sorted(paths) if path.exists())


def _from_folders(root: Path, name: str) -> Split:
    # Folders such as .ipynb_checkpoints are no classes.
    classes = sorted(p.name for p in (root / name).iterdir() if p.is_dir() and not p.name.startswith("."))
    names, labels = [], []
    for label, folder in enumerate(classes):
        for path in sorted((root / name / folder).iterdir()):
            if path.suffix.lower() in ENDINGS and not path.name.startswith("."):
                names.append(f"{name}/{folder}/{path.name}")
                labels.append(label)
    return _split(root, names, labels, list(range(len(classes))), classes, f"{root / name}")


def _from_annotations(root: Path, path: Path) -> Split:
    try:
        data = json.loads(path.read_text())
        label_of = {entry["image_id"]: entry["category_id"] for entry in data["annotations"]}
        categories: list[dict[str, Any]] = data.get("categories") or [
            {"id": i, "name": str(i)} for i in sorted(set(label_of.values()))
        ]
        ids = sorted(int(entry["id"]) for entry in categories)
        index = {number: i for i, number in enumerate(ids)}
        named = {int(entry["id"]): str(entry.get("name", entry["id"])) for entry in categories}
        images = sorted(data["images"], key=lambda entry: entry["id"])
        known = [entry for entry in images if label_of.get(entry["id"]) in index]
        names = [str(entry["file_name"]) for entry in known]
        labels = [index[label_of[entry["id"]]] for entry in known]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: no annotations of labelled images: {type(error).__name__}: {error}"
        ) from None
    return _split(root, names, labels, ids, [named[number] for number in ids], str(path))


def _split(
    root: Path, names: list[str], labels: list[int], ids: list[int], classes: list[str], where: str
) -> Split:
    """One box an image: all of it. Files that are no images are left out."""
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(lambda name: _size(root / name), names))
    kept = [i for i, size in enumerate(sizes) if size is not None]
    if not kept:
        raise DataError(f"{where}: no usable image")
    shapes = np.array([sizes[i] for i in kept], dtype=np.int64)
    digest = blake2b(json.dumps([[names[i], labels[i]] for i in kept]).encode(), digest_size=16)
    count = len(kept)
    return Split(
        image_folder=root,
        image_ids=np.arange(count),
        file_names=tuple(names[i] for i in kept),
        sizes=shapes,
        boxes=np.concatenate([np.zeros((count, 2)), shapes[:, ::-1]], 1).astype(np.float32),
        labels=np.array([labels[i] for i in kept], dtype=np.int64),
        crowd=np.zeros(count, np.bool_),
        areas=shapes.prod(1).astype(np.float64),
        owner=np.arange(count),
        category_ids=np.array(ids, dtype=np.int64),
        category_names=tuple(classes),
        annotation_digest=digest.hexdigest(),
    )


def _size(path: Path) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return upright_size(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
