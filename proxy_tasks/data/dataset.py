"""Detection datasets, whatever format they were read from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

COCO_TRAIN = 118_287
COCO_HELD_OUT = 7_392
"""Images of COCO's train2017, and how many of them a search holds out for validation (paper section 5.1)."""


RunLengths = dict[str, Any]
"""{"size": [height, width], "counts": bytes}, as pycocotools takes them."""


Split = Literal["train", "val"]


SPLITS: tuple[Split, Split] = ("train", "val")


class DataError(ValueError):
    """Data cannot be used. The message says which file is wrong, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a data set.

    Args:
        where: the file, or the file and the entry, such as "instances_train.json annotation 17".
        what: what is wrong.
        skipped: what a training leaves out because of it, such as "the box"; "nothing" if it is a remark.
    """

    where: str
    what: str
    skipped: str


@dataclass(frozen=True, kw_only=True)
class DetectionDataset:
    """The usable images and objects of one split, whatever format they were read from.

    Args:
        image_folder: the folder that file names start from.
        image_ids: [N] unique ids.
        file_names: [N] paths below the image folder, ascending.
        sizes: [N, 2] height and width as annotated.
        boxes: [M, 4] x0, y0, x1, y1 in pixels, clipped to the image.
        labels: [M] indices into category_ids.
        crowd: [M] whether the box is a region of many objects: it is neither trained on nor scored.
        areas: [M] in pixels as annotated; the evaluation sorts objects by them.
        image_index: [M] index of the box's image, ascending.
        category_ids: [K] ids, ascending.
        category_names: [K].
        annotation_digest: a digest of the annotations' content.
        masks: [M] the objects' pixels, if they were asked for; else none.
    """

    image_folder: Path
    image_ids: NDArray[np.int64]
    file_names: tuple[str, ...]
    sizes: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    image_index: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    category_names: tuple[str, ...]
    annotation_digest: str
    masks: tuple[RunLengths, ...] = ()

    def __len__(self) -> int:
        return len(self.file_names)

    @property
    def categories(self) -> tuple[tuple[int, str], ...]:
        """The id and the name of each category."""
        return tuple(zip(self.category_ids.tolist(), self.category_names, strict=True))

    def boxes_of(self, image: int) -> slice:
        """The range of an image's boxes."""
        return slice(*np.searchsorted(self.image_index, (image, image + 1)).tolist())

    def subset(self, images: NDArray[np.int64]) -> DetectionDataset:
        """The dataset with only these images, given by ascending index."""
        position = np.full(len(self), -1)
        position[images] = np.arange(len(images))
        kept = position[self.image_index] >= 0
        return replace(
            self,
            image_ids=self.image_ids[images],
            file_names=tuple(self.file_names[i] for i in images),
            sizes=self.sizes[images],
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            crowd=self.crowd[kept],
            areas=self.areas[kept],
            image_index=position[self.image_index[kept]],
            masks=tuple(mask for mask, keep in zip(self.masks, kept.tolist(), strict=False) if keep),
        )


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a reader found in a split; it can be taken apart as a pair of the dataset and the faults.

    Args:
        dataset: the usable part, which may be empty.
        faults: everything that is wrong with the rest.
        named_images: how many images the files name, with those that are left out; None if that is what the
            faults tell.
        named_objects: likewise.
    """

    dataset: DetectionDataset
    faults: list[Fault]
    named_images: int | None = None
    named_objects: int | None = None

    def __iter__(self) -> Iterator[Any]:
        """Gives the dataset, then the faults."""
        return iter((self.dataset, self.faults))

    @property
    def left_out_images(self) -> int:
        """How many images are left out."""
        if self.named_images is not None:
            return max(0, self.named_images - len(self.dataset))
        return sum(fault.skipped.endswith("image") for fault in self.faults)

    @property
    def left_out_objects(self) -> int:
        """How many objects are left out, with those of images that are."""
        if self.named_objects is not None:
            return max(0, self.named_objects - len(self.dataset.boxes))
        return sum(fault.skipped in ("the box", "the object") for fault in self.faults)


def held_out(
    dataset: DetectionDataset, count: int | None = None
) -> tuple[DetectionDataset, DetectionDataset]:
    """Divides a training split into a training and a validation part, always in the same way.

    Images are ordered by a digest of their file name, so that every format and every layout of a set is
    divided alike, and an image in a further folder does not deal the others anew. Of images with one file
    name, those after the first have as much of their path in it as tells them apart. The first ones are held
    out: 7,392 of COCO's 118,287, or the same share of another set, but at least one.

    Args:
        dataset: the whole training split.
        count: how many images are held out; by default the share above.

    Raises:
        DataError: if there are too few images.
    """
    if count is None:
        count = max(1, round(len(dataset) * COCO_HELD_OUT / COCO_TRAIN))
    if not 0 < count < len(dataset):
        raise DataError(f"cannot hold out {count} of {len(dataset)} images")
    digests = [
        blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        for name in _short_names(dataset.file_names)
    ]
    order = sorted(range(len(dataset)), key=digests.__getitem__)
    chosen = np.array(sorted(order[:count]), dtype=np.int64)
    others = np.setdiff1d(np.arange(len(dataset)), chosen)
    return dataset.subset(others), dataset.subset(chosen)


def _short_names(names: Sequence[str]) -> list[str]:
    """The fewest last parts of each path that no path before it is called by."""
    taken: set[str] = set()
    found = []
    for name in names:
        parts = name.split("/")
        ends = ("/".join(parts[-count:]) for count in range(1, len(parts) + 1))
        found.append(next((end for end in ends if end not in taken), name))
        taken.add(found[-1])
    return found


def category_difference(
    ours: Sequence[tuple[int, str]], theirs: Sequence[tuple[int, str]], us: str = "train", them: str = "val"
) -> str:
    """How two lists of (id, name) differ, in one line; "" if they are the same."""
    if tuple(ours) == tuple(theirs):
        return ""
    lost = [f"{number} {name!r}" for number, name in ours if (number, name) not in theirs]
    new = [f"{number} {name!r}" for number, name in theirs if (number, name) not in ours]
    parts = []
    for what, names in ((f"only {us} has", lost), (f"only {them} has", new)):
        if names:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            parts.append(f"{what} {', '.join(names[:4])}{more}")
    return "; ".join(parts) or "their order differs"


def unused_categories(dataset: DetectionDataset) -> list[tuple[int, str]]:
    """The categories without an object."""
    used = set(dataset.labels.tolist())
    return [category for i, category in enumerate(dataset.categories) if i not in used]
