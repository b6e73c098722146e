"""What a detection task trains and validates on: a COCO root, or generated shapes where none is given."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from proxy_tasks.coco import DataError, Split, category_difference, held_out, read_split, split_files
from proxy_tasks.pack import Pack, usable_pack
from proxy_tasks.shapes import VERSION, ShapesSpec, make_shapes


def cache_folder() -> Path:
    """Where generated sets and packs lie unless told otherwise: $XDG_CACHE_HOME/spinenas."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spinenas"


@dataclass(frozen=True)
class DetectionData:
    """Training and validation images.

    Args:
        root: COCO root, see `proxy_tasks.coco`; None for generated shapes.
        cache: folder for packs and generated sets; None for `cache_folder()`.
        validation: "val" for the split of that name, "held-out" for a fixed part of train, "auto" for
            held-out where the root is COCO 2017, whose val2017 a search must not see.
        shapes: what to generate if there is no root.
        masks: whether the objects' pixels are wanted too.
    """

    root: str | None = None
    cache: str | None = None
    validation: Literal["auto", "val", "held-out"] = "auto"
    shapes: ShapesSpec = field(default_factory=ShapesSpec)
    masks: bool = False

    def splits(self) -> tuple[Split, Split]:
        """What is known of the training and validation images without opening one.

        Raises:
            DataError: if the root holds no usable set.
            OSError: if generated shapes cannot be written.
        """
        root = Path(self.root) if self.root is not None else self._generated(self._cache())
        files = [split_files(root, split)[0].resolve() for split in ("train", "val")]
        stamps = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
        training, validation = _splits(str(root.resolve()), self.validation, stamps, self.masks)
        for split, file, purpose in (
            (training, files[0], "train on"),
            (validation, files[0 if validation.image_folder == training.image_folder else 1], "evaluate on"),
        ):
            if split.crowd.all():
                masks = " --masks" if self.masks else ""
                raise DataError(f"{file}: no boxes to {purpose}; nas data check {root}{masks} tells more")
        other = category_difference(training.categories, validation.categories)
        if other:
            raise DataError(f"{root}: train and val have other categories: {other}")
        return training, validation

    def packs(self, size: int) -> tuple[Pack, Pack]:
        """Training and validation images with a longer side of `size` pixels, packed if they are not yet.

        Raises:
            DataError, OSError: see `splits`; also if the cache cannot be written.
        """
        training, validation = self.splits()
        folder = self.pack_folder
        return (
            usable_pack(training, size, folder, "train on"),
            usable_pack(validation, size, folder, "evaluate on"),
        )

    @property
    def pack_folder(self) -> Path:
        """Where packs lie."""
        return self._cache() / "packs"

    def _cache(self) -> Path:
        return Path(self.cache) if self.cache is not None else cache_folder()

    def _generated(self, cache: Path) -> Path:
        name = blake2b(repr((VERSION, asdict(self.shapes))).encode(), digest_size=6).hexdigest()
        cache.mkdir(parents=True, exist_ok=True)
        return make_shapes(cache / f"shapes-{name}", self.shapes)


@lru_cache(maxsize=4)
def _splits(
    root: str, validation: str, stamps: tuple[tuple[str, int, int], ...], masks: bool
) -> tuple[Split, Split]:
    """Annotations parsed once in the life of a worker, and again if the files change."""
    training = read_split(root, "train", masks)
    is_coco_2017 = Path(stamps[0][0]).name == "instances_train2017.json"
    if validation == "held-out" or (validation == "auto" and is_coco_2017):
        return held_out(training)
    return training, read_split(root, "val", masks)
