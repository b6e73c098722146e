"""What a detection task trains and validates on: a data set in any format, or generated shapes."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal

from proxy_tasks.data.dataset import DataError, DetectionDataset
from proxy_tasks.data.files import Stamp, stamps_of
from proxy_tasks.data.image_io import MAX_PIXELS, MOST_PIXELS
from proxy_tasks.data.limits import LEFT_OUT, Limits
from proxy_tasks.data.pixel_cache import PixelCache, open_caches
from proxy_tasks.data.reader import Reader, files_of
from proxy_tasks.data.readers import find_reader
from proxy_tasks.data.shapes import VERSION, ShapesConfig, make_shapes
from proxy_tasks.data.survey import Part, Survey, survey_set
from search_space.utils.paths import make_paths_absolute
from search_space.utils.user_folders import user_cache_folder
from search_space.utils.validation import AtLeast, AtMost, Below, validate

Validation = Literal["auto", "val", "held-out"]

WITHOUT_VAL = (
    "task.data.validation=held-out (nas data: --validation held-out) holds out a part of train instead"
)
"""What to do where there is no val split."""


@dataclass(frozen=True)
class DetectionData:
    """Training and validation images with boxes.

    Args:
        root: the data set; None for generated shapes.
        cache: folder of pixel caches and generated sets; None for the user's cache folder.
        validation: "val" for the split of that name, "held-out" for a fixed part of train, "auto" for
            held-out where the images are COCO's, whose val2017 a search must not see: where images of either
            split lie in a folder called train2017, train2014, val2017 or val2014 in any case, or are listed
            in a file of such a name.
        shapes: what to generate if there is no root.
        masks: whether the objects' pixels are needed too.
        reader: of the set's format; None for the one that recognizes the root.
        allow_left_out: share of the images, or of the objects, that may be unusable; if more are, the set is
            refused. A single one may always be, unless this is 0.
        max_pixels: images of more pixels are left out.
        selection: share of the validation images that is kept for the finalists of a search, at least one;
            0 if they are evaluated on those of all trials.
        part: "finalists" to validate on these images, "search" to validate on the others.

    Raises:
        DataError: if a value is out of its range. The methods raise it if the set cannot be used.
    """

    root: str | Path | None = None
    cache: str | Path | None = None
    validation: Validation = field(default="auto", kw_only=True)
    shapes: ShapesConfig = field(default_factory=ShapesConfig, kw_only=True)
    masks: bool = field(default=False, kw_only=True)
    reader: Reader | None = field(default=None, kw_only=True)
    allow_left_out: Annotated[float, AtLeast(0), AtMost(1)] = field(default=LEFT_OUT, kw_only=True)
    max_pixels: Annotated[int, AtLeast(1), AtMost(MOST_PIXELS)] = field(default=MAX_PIXELS, kw_only=True)
    selection: Annotated[float, AtLeast(0), Below(1)] = field(default=0.0, kw_only=True)
    part: Part = field(default="search", kw_only=True)

    def __post_init__(self) -> None:
        validate(self, DataError)
        make_paths_absolute(self)
        if self.reader is not None and type(self.reader).__hash__ is None:
            kind = type(self.reader).__name__
            raise DataError(f"reader: {kind} cannot be hashed; write @dataclass(frozen=True) above its class")

    def survey(self) -> Survey:
        """What is used and what is left out, without decoding an image.

        Raises:
            DataError: if the root holds no set of a known format.
            OSError: if generated shapes cannot be written.
        """
        root = Path(self.root) if self.root is not None else self._generate_shapes()
        reader = self.reader if self.reader is not None else find_reader(root)
        files = [*files_of(reader, root, "train")]
        if self.validation != "held-out":
            with contextlib.suppress(DataError):  # The survey says so.
                files += files_of(reader, root, "val")
        limits = Limits(self.max_pixels, self.allow_left_out)
        # Annotations are read once in the life of a worker, and again if the files change.
        whole = _survey(reader, root.resolve(), self.validation, self.masks, limits, stamps_of(files))
        return whole.divide(self.selection, self.part)

    def for_finalists(self) -> DetectionData | None:
        """Gives this data set with the images for the finalists.

        It is None if no images are kept for them, or if the set has these images already.
        """
        kept = self.selection > 0 and self.part == "search"
        return replace(self, part="finalists") if kept else None

    def splits(self) -> tuple[DetectionDataset, DetectionDataset]:
        """What is known of the training and validation images without decoding one.

        Raises:
            DataError: if the root holds no usable set, or too much of it cannot be used.
            OSError: if generated shapes cannot be written.
        """
        return self.survey().datasets()

    def caches(self, size: int) -> tuple[PixelCache, PixelCache]:
        """Training and validation images with a longer side of `size` pixels, made if they are missing.

        Raises:
            DataError, OSError: see `splits`; also if the cache cannot be written.
        """
        return open_caches(self.survey(), size, self.cache_folder)

    @property
    def cache_folder(self) -> Path:
        """Where pixel caches and generated sets lie."""
        return Path(self.cache) if self.cache is not None else user_cache_folder()

    def _generate_shapes(self) -> Path:
        name = blake2b(repr((VERSION, asdict(self.shapes))).encode(), digest_size=6).hexdigest()
        self.cache_folder.mkdir(parents=True, exist_ok=True)
        return make_shapes(self.cache_folder / f"shapes-{name}", self.shapes)


@lru_cache(maxsize=4)
def _survey(
    reader: Reader, root: Path, validation: Validation, masks: bool, limits: Limits, stamps: tuple[Stamp, ...]
) -> Survey:
    return survey_set(reader, root, limits, without_val=WITHOUT_VAL, hold_out=validation, masks=masks)
