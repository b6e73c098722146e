"""What a training uses of a data set, what it leaves out, and why it refuses the set.

`nas data check`, a search and a training all ask here, so that the check calls a fault whatever a training
would refuse, and a training says in one line what the check says at length.
"""

from __future__ import annotations

import filecmp
import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.data.dataset import (
    DataError,
    DetectionDataset,
    Fault,
    Inspection,
    category_difference,
    held_out,
)
from proxy_tasks.data.fields import shorten
from proxy_tasks.data.image_io import MAX_PIXELS, too_large
from proxy_tasks.data.reader import Reader

LOG = logging.getLogger(__name__)

NOTICES = logging.getLogger("proxy_tasks.notices")
"""What the user of a search or of a training must see: it is logged, and the commands print it."""

LEFT_OUT = 0.1
"""Share of the images, or of the objects, that may be left out unless a setting says otherwise."""

NAMED = 5
"""How many names a line lists."""

Part = Literal["search", "finalists"]

Skipped = Sequence[tuple[str, str]]
"""Files that could not be decoded, with the reason."""


@dataclass(frozen=True)
class Limits:
    """What is accepted of a data set.

    Args:
        max_pixels: images of more pixels are left out.
        left_out: share of the images, or of the objects, that may be left out. A single one always may,
            unless the share is 0.
    """

    max_pixels: int = MAX_PIXELS
    left_out: float = LEFT_OUT

    def refuse(self, left: int, total: int, what: str, root: Path) -> str:
        """Why so many that are left out are too many; "" if they are not."""
        if left <= self.left_out * total or (left == 1 and self.left_out > 0):
            return ""
        enough = math.ceil(100 * left / total) / 100
        return (
            f"{root}: {left} of {total} {what} cannot be used, which is more than the share of "
            f"{self.left_out:g} that may be left out; task.data.allow_left_out={enough:g} (nas data: "
            f"--allow-left-out {enough:g}) takes the rest"
        )


@dataclass(frozen=True)
class Selection:
    """Which part of the validation images is used.

    Args:
        share: of the validation images that are kept for the finalists of a search.
        part: "search" for all others, "finalists" for these.
    """

    share: float = 0.0
    part: Part = "search"

    @property
    def split(self) -> str:
        """Name of the part in messages."""
        return "val" if self.part == "search" else "selection"


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Both parts of a data set as a training would use them.

    Args:
        root: the data set.
        training, validation: what is used and what is wrong; an inspection of a part that is held out has
            no faults of its own.
        refusals: why no training uses the set, each in one line; none if one does.
        remarks: what spoils a training that runs nevertheless.
        limits: that were applied.
        masks: whether objects need pixels.
        selection: which part of the validation images these are.
    """

    root: Path
    training: Inspection
    validation: Inspection | None
    refusals: tuple[str, ...]
    remarks: tuple[str, ...]
    limits: Limits
    masks: bool
    selection: Selection = Selection()

    def datasets(self) -> tuple[DetectionDataset, DetectionDataset]:
        """The training and the validation images.

        Raises:
            DataError: if a training refuses the set.
        """
        if self.refusals or self.validation is None:
            raise DataError(f"{self.refusals[0]}; {self._advice}")
        return self.training.dataset, self.validation.dataset

    def refuse_skipped(self, training: Skipped, validation: Skipped) -> str:
        """Why so many files that cannot be decoded are too many, with what is left out already."""
        for split, found, skipped in self._parts(training, validation):
            left = found.left_out_images + len(skipped)
            total = found.left_out_images + len(found.dataset)
            reason = self.limits.refuse(left, total, f"images of {split}", self.root)
            if skipped and reason:
                return f"{reason}; one is {skipped[0][0]}: {skipped[0][1]}; {self._advice}"
        return ""

    def line(self, training: Skipped = (), validation: Skipped = ()) -> str:
        """Counts of what is used and of what is left out, in one line."""
        parts = []
        for split, found, skipped in self._parts(training, validation):
            images = len(found.dataset) - len(skipped)
            part = f"{split}: {images} images, {_count(len(found.dataset.boxes), 'object')}"
            lost = [
                f"{count} of {total} {what}"
                for count, total, what in (
                    (
                        found.left_out_images + len(skipped),
                        found.left_out_images + len(found.dataset),
                        "images",
                    ),
                    (found.left_out_objects, found.left_out_objects + len(found.dataset.boxes), "objects"),
                )
                if count
            ]
            parts.append(f"{part}; left out: {', '.join(lost)}" if lost else part)
        unused = unused_categories(self.training.dataset)
        if unused:
            names = ", ".join(shorten(name) for _, name in unused[:NAMED])
            more = f" and {len(unused) - NAMED} more" if len(unused) > NAMED else ""
            parts.append(
                f"train has no {self._unit} of {_count(len(unused), 'class', 'classes')}: {names}{more}"
            )
        return ". ".join([*parts, *self.remarks])

    def details(self, training: Skipped = (), validation: Skipped = ()) -> list[str]:
        """Everything that is wrong, one line each."""
        lines = []
        for split, found, skipped in self._parts(training, validation):
            lines += [f"{split}: {f.where}: {f.what}; skipped: {f.skipped}" for f in found.faults]
            lines += [
                f"{split}: {name}: cannot be decoded: {why}; skipped: the image" for name, why in skipped
            ]
        return lines

    def announce(self, training: Skipped, validation: Skipped) -> None:
        """Logs the line for the user, and the details."""
        details = self.details(training, validation)
        bad = bool(details or self.remarks or unused_categories(self.training.dataset))
        NOTICES.log(logging.WARNING if bad else logging.INFO, "%s", self.line(training, validation))
        for detail in details:
            LOG.info("%s", detail)

    @property
    def _advice(self) -> str:
        return f"nas data check {self.root}{' --masks' if self.masks else ''} names every fault"

    @property
    def _unit(self) -> str:
        """What a class must have: a labeled image has one object, which is all of it."""
        data = self.training.dataset
        whole = len(data.boxes) == len(data) and np.array_equal(data.boxes[:, 2:], data.sizes[:, ::-1])
        return "image" if whole and len(data) else "object"

    def _parts(self, training: Skipped, validation: Skipped) -> list[tuple[str, Inspection, Skipped]]:
        parts: list[tuple[str, Inspection, Skipped]] = [("train", self.training, training)]
        if self.validation is not None:
            parts.append((self.selection.split, self.validation, validation))
        return parts


@runtime_checkable
class HasSurvey(Protocol):
    """Data that says what is left out of it."""

    def survey(self) -> Survey:
        """Both splits, with their faults; see `Survey`."""


def survey_set(
    reader: Reader,
    root: Path,
    limits: Limits,
    *,
    advice: str,
    hold_out: str = "val",
    masks: bool = False,
    selection: Selection = Selection(),
) -> Survey:
    """Looks over both splits of a data set.

    Args:
        reader: of its format.
        root: the data set.
        limits: what is accepted.
        advice: what to do where there is no val split.
        hold_out: "val" for the split of that name, "held-out" for a part of train, "auto" for the part where
            the training images are COCO's.
        masks: whether objects need pixels.
        selection: which part of the validation images is used.

    Raises:
        DataError: if there is no training split of the format at all.
    """
    whole = limit_pixels(reader.inspect(root, "train", masks), limits.max_pixels)
    refusals: list[str] = []
    remarks: list[str] = []
    validation: Inspection | None = None
    training = whole
    held = holds_out(hold_out, whole.dataset)
    if held:
        if len(whole.dataset) > 1:
            first, second = held_out(whole.dataset)
            lost = len(whole.dataset) - len(first), len(whole.dataset.boxes) - len(first.boxes)
            training = _named_less(whole, first, *lost)
            validation = Inspection(second, [], len(second), len(second.boxes))
        elif len(whole.dataset) == 1:
            refusals.append(f"{root}: cannot hold out a part of one image")
    else:
        try:
            there = False
            there = reader.files(root, "val")[0].exists()
            validation = limit_pixels(reader.inspect(root, "val", masks), limits.max_pixels)
        except DataError as error:
            refusals.append(str(error) if there else f"{error}; {advice}")
        if validation is not None:
            training, remark = _without_shared(whole, validation)
            remarks += [remark] if remark else []
    source = reader.files(root, "train")[0]
    refusals += _split_refusals(source, root, training, whole, "train on")
    refusals += _too_many_left_out(training, "train", limits, root)
    if validation is not None:
        all_of_it = validation
        if selection.share and len(validation.dataset) > 1:
            validation = _select(validation, selection)
        elif selection.share:
            refusals.append(f"{root}: cannot keep a part of one validation image for the finalists")
        source = source if held else reader.files(root, "val")[0]
        refusals += _split_refusals(source, root, validation, all_of_it, "evaluate on")
        refusals += _too_many_left_out(all_of_it, "val", limits, root)
        other = category_difference(training.dataset.categories, validation.dataset.categories)
        if other:
            refusals.append(f"{root}: train and val have other categories: {other}")
    return Survey(
        root=root,
        training=training,
        validation=validation,
        refusals=tuple(refusals),
        remarks=tuple(remarks),
        limits=limits,
        masks=masks,
        selection=selection,
    )


def _select(validation: Inspection, selection: Selection) -> Inspection:
    """The part of the validation images that is asked for; both parts have one at least.

    What is left out is told with the part of the search.
    """
    whole = validation.dataset
    count = min(len(whole) - 1, max(1, round(selection.share * len(whole))))
    others, kept = held_out(whole, count)
    if selection.part == "finalists":
        return Inspection(kept, [], len(kept), len(kept.boxes))
    return _named_less(validation, others, len(kept), len(kept.boxes))


def holds_out(how: str, training: DetectionDataset) -> bool:
    """Whether the validation images are a part of train."""
    is_coco = training.image_folder.name in ("train2017", "train2014")
    return how == "held-out" or (how == "auto" and is_coco)


def unused_categories(dataset: DetectionDataset) -> list[tuple[int, str]]:
    """The categories without an object."""
    used = set(dataset.labels.tolist())
    return [category for i, category in enumerate(dataset.categories) if i not in used]


def limit_pixels(found: Inspection, max_pixels: int) -> Inspection:
    """Leaves out the images that are annotated with more pixels."""
    sizes = found.dataset.sizes
    large = np.flatnonzero(sizes[:, 0].astype(float) * sizes[:, 1] > max_pixels)
    if not len(large):
        return found
    faults = [
        Fault(found.dataset.file_names[i], too_large((int(h), int(w)), max_pixels), "the image")
        for i, (h, w) in zip(large.tolist(), sizes[large].tolist(), strict=True)
    ]
    return _without(found, large, faults)


def _too_many_left_out(found: Inspection, split: str, limits: Limits, root: Path) -> list[str]:
    """Why so much of a split that is left out is too much."""
    images, objects = len(found.dataset), len(found.dataset.boxes)
    for left, used, what in (
        (found.left_out_images, images, "images"),
        (found.left_out_objects, objects, "objects"),
    ):
        reason = limits.refuse(left, used + left, f"{what} of {split}", root)
        if reason:
            return [reason]
    return []


def _split_refusals(
    source: Path, root: Path, found: Inspection, whole: Inspection, purpose: str
) -> list[str]:
    """Why a split has nothing to train or evaluate on."""
    data = found.dataset
    if len(data) == 0 and len(whole.dataset) > 0:
        return [
            f"{root}: all {len(whole.dataset)} images of train are in val too, so none is left to train "
            "on; task.data.validation=held-out divides train"
        ]
    if len(data) == 0:
        return [f"{source}: no usable image"]
    if not len(data.boxes):
        return [f"{source}: no boxes to {purpose}"]
    if data.crowd.all():
        return [
            f"{source}: no boxes to {purpose}: all {len(data.crowd)} are marked iscrowd (VOC: difficult), "
            f"which is for regions of many objects; write iscrowd 0 for single ones"
        ]
    return []


def _named_less(found: Inspection, dataset: DetectionDataset, images: int, objects: int) -> Inspection:
    """The inspection of a part: what is used elsewhere is not left out."""
    named = found.left_out_images + len(found.dataset) - images
    return Inspection(
        dataset,
        found.faults,
        named,
        found.left_out_objects + len(found.dataset.boxes) - objects,
    )


def _without(found: Inspection, images: NDArray[np.int64], faults: list[Fault]) -> Inspection:
    kept = np.setdiff1d(np.arange(len(found.dataset)), images)
    return Inspection(
        found.dataset.subset(kept),
        [*found.faults, *faults],
        found.left_out_images + len(found.dataset),
        found.left_out_objects + len(found.dataset.boxes),
    )


def _without_shared(training: Inspection, validation: Inspection) -> tuple[Inspection, str]:
    """Leaves the files out of train that are in val too; and says which others have a copy in val."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for name in validation.dataset.file_names:
        by_name[PurePosixPath(name).name].append(validation.dataset.image_folder / name)
    shared, copies, faults = [], [], []
    for i, name in enumerate(training.dataset.file_names):
        path = training.dataset.image_folder / name
        others = by_name.get(PurePosixPath(name).name, [])
        if any(_is_same(path, other) for other in others):
            shared.append(i)
            faults.append(Fault(name, "the file is in train and in val", "the image in train"))
        elif any(_is_copy(path, other) for other in others):
            copies.append(name)
    remark = ""
    if copies:
        what = "image of train is" if len(copies) == 1 else "images of train are"
        remark = (
            f"{len(copies)} {what} in val too, as a copy of the same name, such as {shorten(copies[0])}: "
            "the score will look better than the network is"
        )
    if not shared:
        return training, remark
    return _without(training, np.array(shared, dtype=np.int64), faults), remark


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def _is_copy(one: Path, other: Path) -> bool:
    try:
        size = one.stat().st_size
        return size > 0 and size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _count(number: int, unit: str, units: str = "") -> str:
    return f"{number} {unit if number == 1 else units or unit + 's'}"
