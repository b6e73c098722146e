"""What a detection task trains and validates on: a data set in any format, or generated shapes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from proxy_tasks.data.dataset import SPLITS, DataError, DetectionDataset, category_difference, held_out
from proxy_tasks.data.files import Stamp, stamps_of
from proxy_tasks.data.pixel_cache import PixelCache, cache_folder, open_caches
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.readers import find_reader
from proxy_tasks.data.shapes import VERSION, ShapesConfig, make_shapes
from search_space.utils.validation import validate

Validation = Literal["auto", "val", "held-out"]


@dataclass(frozen=True)
class DetectionData:
    """Training and validation images with boxes.

    Args:
        root: the data set; None for generated shapes.
        cache: folder of pixel caches and generated sets; None for `cache_folder()`.
        validation: "val" for the split of that name, "held-out" for a fixed part of train, "auto" for
            held-out where the training images lie in a folder `train2017`: a search must not see COCO's
            val2017.
        shapes: what to generate if there is no root.
        masks: whether the objects' pixels are needed too.
        reader: of the set's format; None for the one that recognizes the root.
    """

    root: str | None = None
    cache: str | None = None
    validation: Validation = field(default="auto", kw_only=True)
    shapes: ShapesConfig = field(default_factory=ShapesConfig, kw_only=True)
    masks: bool = field(default=False, kw_only=True)
    reader: Reader | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        validate(self, DataError)
        if self.reader is not None and type(self.reader).__hash__ is None:
            kind = type(self.reader).__name__
            raise DataError(f"reader: {kind} cannot be hashed; write @dataclass(frozen=True) above its class")

    def splits(self) -> tuple[DetectionDataset, DetectionDataset]:
        """What is known of the training and validation images without decoding one.

        Raises:
            DataError: if the root holds no usable set.
            OSError: if generated shapes cannot be written.
        """
        root = Path(self.root) if self.root is not None else self._generate_shapes()
        reader = self.reader if self.reader is not None else find_reader(root)
        train_files, val_files = (reader.files(root, split) for split in SPLITS)
        training, validation = _read_splits(
            reader, root.resolve(), self.validation, self.masks, stamps_of([*train_files, *val_files])
        )
        held = _holds_out(self.validation, training)
        for dataset, source, purpose in (
            (training, train_files[0], "train on"),
            (validation, train_files[0] if held else val_files[0], "evaluate on"),
        ):
            if dataset.crowd.all():
                masks = " --masks" if self.masks else ""
                raise DataError(f"{source}: no boxes to {purpose}; nas data check {root}{masks} tells more")
        other = category_difference(training.categories, validation.categories)
        if other:
            raise DataError(f"{root}: train and val have other categories: {other}")
        return training, validation

    def caches(self, size: int) -> tuple[PixelCache, PixelCache]:
        """Training and validation images with a longer side of `size` pixels, made if they are missing.

        Raises:
            DataError, OSError: see `splits`; also if the cache cannot be written.
        """
        training, validation = self.splits()
        return open_caches(training, validation, size, self.cache_folder)

    @property
    def cache_folder(self) -> Path:
        """Where pixel caches and generated sets lie."""
        return Path(self.cache) if self.cache is not None else cache_folder()

    def _generate_shapes(self) -> Path:
        name = blake2b(repr((VERSION, asdict(self.shapes))).encode(), digest_size=6).hexdigest()
        self.cache_folder.mkdir(parents=True, exist_ok=True)
        return make_shapes(self.cache_folder / f"shapes-{name}", self.shapes)


@lru_cache(maxsize=4)
def _read_splits(
    reader: Reader, root: Path, validation: Validation, masks: bool, stamps: tuple[Stamp, ...]
) -> tuple[DetectionDataset, DetectionDataset]:
    """Annotations are read once in the life of a worker, and again if the files change."""
    training = reader.read(root, "train", masks)
    if _holds_out(validation, training):
        return held_out(training)
    return training, reader.read(root, "val", masks)


def _holds_out(validation: Validation, training: DetectionDataset) -> bool:
    """Whether the validation images are a part of train."""
    is_coco_2017 = training.image_folder.name == "train2017"
    return validation == "held-out" or (validation == "auto" and is_coco_2017)
