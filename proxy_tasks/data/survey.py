"""What a training uses of a data set, what it leaves out, and why it refuses the set.

`nas data check`, a search and a training all ask here, so that the check calls a fault whatever a training
would refuse, and a training says in one line what the check says at length.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.data.dataset import (
    DataError,
    DetectionDataset,
    Fault,
    Inspection,
    Split,
    category_difference,
    held_out,
)
from proxy_tasks.data.image_io import MAX_PIXELS, too_large
from proxy_tasks.data.reader import Reader, files_of, inspect_with
from search_space.utils.parsing import shown
from search_space.utils.regular_file import read_regular

LOG = logging.getLogger(__name__)

NOTICES = logging.getLogger("proxy_tasks.notices")
"""What the user of a search or of a training must see: it is logged, and the commands print it."""

LEFT_OUT = 0.1
"""Share of the images, or of the objects, that may be left out unless a setting says otherwise."""

NAMED = 5
"""How many names a line lists."""

Part = Literal["search", "finalists"]
"""Of the validation images: those for the trials of a search, or those that are kept for its finalists."""

Skipped = Sequence[tuple[str, str]]
"""Files that could not be decoded, with the reason."""

OF_COCO = re.compile(r"(instances_)?(train|val)20(14|17)", re.IGNORECASE)
"""Names of the folders and of the lists of COCO's images. val2017 is a part of val2014."""


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
        """Says why too many of the files or objects are left out; "" if they are few enough."""
        if left / max(total, 1) <= self.left_out or (left == 1 and self.left_out > 0):
            return ""
        reason = (
            f"{root}: {left} of {total} {what} cannot be used, which is more than the share of "
            f"{self.left_out:g} that may be left out"
        )
        enough = math.ceil(100 * left / total) / 100
        options = f"task.data.allow_left_out={enough:g} (--allow-left-out {enough:g} of other commands)"
        return f"{reason}; {options} takes the rest" if left < total else reason


@dataclass(frozen=True, kw_only=True)
class SplitSurvey:
    """One split, or a part of one: what is used of it, and why it is refused.

    Args:
        root: the data set.
        name: of the split, for messages.
        found: what is used and what is wrong.
        limits: what is accepted.
        judged: what the limits are for, if these images are a part of it.
    """

    root: Path
    name: str
    found: Inspection
    limits: Limits
    judged: Inspection | None = None

    def refuse(self) -> str:
        """Says why too much is left out; "" if it is not."""
        found = self.judged or self.found
        images = found.left_out_images + len(found.dataset)
        objects = found.left_out_objects + len(found.dataset.boxes)
        reason = self.limits.refuse(found.left_out_images, images, f"images of {self.name}", self.root)
        return reason or self.limits.refuse(
            found.left_out_objects, objects, f"objects of {self.name}", self.root
        )

    def refuse_skipped(self, skipped: Skipped) -> str:
        """Says why too many images are left out, those that cannot be decoded included; "" if not."""
        found = self.judged or self.found
        if not skipped:
            return ""
        images, lost = found.left_out_images + len(skipped), _objects_of(found.dataset, skipped)
        used = len(found.dataset.boxes) - lost
        objects = found.left_out_objects + lost
        total = found.left_out_images + len(found.dataset)
        reason = self.limits.refuse(images, total, f"images of {self.name}", self.root)
        if not reason and images > 1:  # A single image may be left out, with all of its objects.
            reason = self.limits.refuse(objects, objects + used, f"objects of {self.name}", self.root)
        if not reason and lost and not used:
            reason = f"{self.root}: no object of {self.name} is in an image that can be used"
        return f"{reason}; one is {skipped[0][0]}: {skipped[0][1]}" if reason else ""

    def line(self, skipped: Skipped) -> str:
        """Counts of what is used and of what is left out, in one line."""
        found, gone = self.found, _objects_of(self.found.dataset, skipped)
        images, objects = len(found.dataset) - len(skipped), len(found.dataset.boxes) - gone
        lost_images, lost_objects = found.left_out_images + len(skipped), found.left_out_objects + gone
        lost = [
            f"{count} of {count + used} {what}"
            for count, used, what in ((lost_images, images, "images"), (lost_objects, objects, "objects"))
            if count
        ]
        part = f"{self.name}: {images} images, {objects} {'object' if objects == 1 else 'objects'}"
        return f"{part}; left out: {', '.join(lost)}" if lost else part

    def details(self, skipped: Skipped) -> list[str]:
        """Everything that is wrong, one line each."""
        return [
            *(f"{self.name}: {f.where}: {f.what}; skipped: {f.skipped}" for f in self.found.faults),
            *(f"{self.name}: {file}: cannot be decoded: {why}; skipped: the image" for file, why in skipped),
        ]

    def announce(self, skipped: Skipped) -> None:
        """Logs the line for the user, and the details."""
        _announce(self.line(skipped), self.details(skipped))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Both parts of a data set as a training would use them.

    Args:
        root: the data set.
        training, validation: what is used and what is wrong; an inspection of a part that is held out has
            no faults of its own.
        refusals: why no training uses the set, each in one line; none if one does.
        refusals_of: those of one split alone.
        remarks: what spoils a training that runs nevertheless.
        limits: that were applied.
        masks: whether objects need pixels.
        sources: the first file or folder that each split is read from; a part of train has that of train.
        part: which part of the validation images these are; None if they are all.
        undivided: all validation images, if these are a part.
    """

    root: Path
    training: Inspection
    validation: Inspection | None
    refusals: tuple[str, ...]
    remarks: tuple[str, ...]
    limits: Limits
    masks: bool
    refusals_of: Mapping[Split, tuple[str, ...]]
    sources: Mapping[Split, Path]
    part: Part | None = None
    undivided: Inspection | None = None

    def divide(self, share: float, part: Part) -> Survey:
        """Gives the survey of a part of the validation images, and of all training images.

        Each part has one image at least. Limits hold for all of them, as before. What is left out is told
        with the part for the trials.

        Args:
            share: of the images that are kept for the finalists; 0 to divide nothing.
            part: which part is wanted.
        """
        whole = self.validation
        if not share or whole is None:
            return self
        images = len(whole.dataset)
        if images < 2:
            reason = f"{self.root}: one validation image cannot be divided; give task.data.selection=0"
            return replace(self, refusals=(*self.refusals, reason))
        others, kept = _divide(whole, min(images - 1, max(1, round(share * images))))
        if part == "finalists":
            found, purpose = kept, "are kept for the finalists"
        else:
            found, purpose = others, "are left for the trials"
        refusals = self.refusals
        if found.dataset.crowd.all():  # Of no box, too.
            reason = (
                f"{self.root}: there are no boxes to evaluate on in the {len(found.dataset)} of {images} "
                f"validation images that {purpose}; give another share than task.data.selection={share:g}"
            )
            refusals = (*refusals, reason)
        return replace(self, validation=found, refusals=refusals, part=part, undivided=whole)

    def datasets(self) -> tuple[DetectionDataset, DetectionDataset]:
        """The training and the validation images.

        Raises:
            DataError: if a training refuses the set.
        """
        if self.refusals or self.validation is None:
            raise DataError(f"{self.refusals[0]}; {advice(self.root, self.masks)}")
        return self.training.dataset, self.validation.dataset

    def split_surveys(self) -> tuple[SplitSurvey, SplitSurvey | None]:
        """The training images, and the validation images if there are any."""
        train = SplitSurvey(root=self.root, name="train", found=self.training, limits=self.limits)
        if self.validation is None:
            return train, None
        name = "val, for the finalists" if self.part == "finalists" else "val"
        val = SplitSurvey(
            root=self.root, name=name, found=self.validation, limits=self.limits, judged=self.undivided
        )
        return train, val

    def refuse_skipped(self, training: Skipped, validation: Skipped) -> str:
        """Says why too many images are left out, those that cannot be decoded included; "" if not."""
        reasons = [part.refuse_skipped(skipped) for part, skipped in self._parts(training, validation)]
        return next((f"{reason}; {advice(self.root, self.masks)}" for reason in reasons if reason), "")

    def line(self, training: Skipped = (), validation: Skipped = ()) -> str:
        """Counts of what is used and of what is left out, in one line."""
        parts = [part.line(skipped) for part, skipped in self._parts(training, validation)]
        if self.part == "finalists":  # All else is told with the other part.
            return ". ".join(parts)
        unused = unused_categories(self.training.dataset)
        if unused:
            names = ", ".join(shown(name) for _, name in unused[:NAMED])
            more = f" and {len(unused) - NAMED} more" if len(unused) > NAMED else ""
            classes = "class" if len(unused) == 1 else "classes"
            parts.append(f"train has no {self._unit} of {len(unused)} {classes}: {names}{more}")
        return ". ".join([*parts, *self.remarks])

    def details(self, training: Skipped = (), validation: Skipped = ()) -> list[str]:
        """Everything that is wrong, one line each."""
        return [line for part, skipped in self._parts(training, validation) for line in part.details(skipped)]

    def announce(self, training: Skipped, validation: Skipped) -> None:
        """Logs the line for the user, and the details."""
        remarks = self.part != "finalists" and (self.remarks or unused_categories(self.training.dataset))
        _announce(self.line(training, validation), self.details(training, validation), bool(remarks))

    @property
    def _unit(self) -> str:
        """What a class must have: a labeled image has one object, which is all of it."""
        data = self.training.dataset
        whole = len(data.boxes) == len(data) and np.array_equal(data.boxes[:, 2:], data.sizes[:, ::-1])
        return "image" if whole and len(data) else "object"

    def _parts(self, training: Skipped, validation: Skipped) -> list[tuple[SplitSurvey, Skipped]]:
        """What is told, with the files that cannot be decoded; in a finalists' survey only their images."""
        train, val = self.split_surveys()
        parts = [] if self.part == "finalists" else [(train, training)]
        return parts if val is None else [*parts, (val, validation)]


def _announce(line: str, details: Sequence[str], remarks: bool = False) -> None:
    NOTICES.log(logging.WARNING if details or remarks else logging.INFO, "%s", line)
    for detail in details:
        LOG.info("%s", detail)


def advice(root: Path, masks: bool = False) -> str:
    """What names every fault of a data set."""
    return f"nas data check {root}{' --masks' if masks else ''} names every fault"


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
    without_val: str,
    hold_out: str = "val",
    masks: bool = False,
) -> Survey:
    """Looks over both splits of a data set.

    Args:
        reader: of its format.
        root: the data set.
        limits: what is accepted.
        without_val: what to do where there is no val split.
        hold_out: "val" for the split of that name, "held-out" for a part of train, "auto" for the part where
            the images are COCO's.
        masks: whether objects need pixels.

    Raises:
        DataError: if there is no training split of the format at all.
    """
    sides = _find_sides(reader, root, limits, without_val=without_val, hold_out=hold_out, masks=masks)
    train, val = sides.train, sides.val
    of_train = train.refuse(root, limits)
    of_val = [*([sides.no_val] if sides.no_val else []), *(val.refuse(root, limits) if val else [])]
    return Survey(
        root=root,
        training=train.found,
        validation=val.found if val else None,
        refusals=(*of_train, *of_val, *_refuse_together(root, sides)),
        remarks=(sides.remark,) if sides.remark else (),
        limits=limits,
        masks=masks,
        refusals_of={"train": tuple(of_train), "val": tuple(of_val)},
        sources={side.split: side.source for side in (train, val) if side},
    )


@dataclass(frozen=True, kw_only=True)
class Side:
    """The images of a training, or those of its evaluations.

    Args:
        split: what they are used as. Those of "val" may be a part of the split train.
        source: the first file or folder that they are read from.
        found: what is used and what is wrong.
        whole: the same before files were left out that are in the other split, too.
    """

    split: Split
    source: Path
    found: Inspection
    whole: Inspection

    def refuse(self, root: Path, limits: Limits) -> list[str]:
        """Says why they are not used: there is nothing to train or evaluate on, or too much is left out.

        Args:
            root: the data set.
            limits: what is accepted.
        """
        reason = SplitSurvey(root=root, name=self.split, found=self.found, limits=limits).refuse()
        return [*self._nothing_to_use(root), *([reason] if reason else [])]

    def _nothing_to_use(self, root: Path) -> list[str]:
        """Why there is nothing to train or evaluate on."""
        data, purpose = self.found.dataset, "train on" if self.split == "train" else "evaluate on"
        if len(data) == 0 and len(self.whole.dataset) > 0:
            return [
                f"{root}: all {len(self.whole.dataset)} images of train are in val too, so none is left to "
                "train on; task.data.validation=held-out divides train"
            ]
        if len(data) == 0:
            return [f"{self.source}: no usable image"]
        if not len(data.boxes):
            return [f"{self.source}: no boxes to {purpose}"]
        if data.crowd.all():
            return [
                f"{self.source}: no boxes to {purpose}: all {len(data.crowd)} are marked iscrowd (VOC: "
                f"difficult), which is for regions of many objects; write iscrowd 0 for single ones"
            ]
        return []


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """Both sides of a data set.

    Args:
        train, val: the images of a training, and those of its evaluations; None if there are none.
        no_val: why there are none; "" if there are.
        remark: what spoils a training that runs nevertheless; "" if nothing does.
    """

    train: Side
    val: Side | None
    no_val: str = ""
    remark: str = ""


def read_side(reader: Reader, root: Path, split: Split, limits: Limits, masks: bool) -> Side:
    """Reads a split, and leaves the images out that have too many pixels.

    Args:
        reader: of its format.
        root: the data set.
        split: which one.
        limits: what is accepted.
        masks: whether objects need pixels.

    Raises:
        DataError: if there is no such split of the format.
    """
    found = limit_pixels(inspect_with(reader, root, split, masks), limits.max_pixels)
    return Side(split=split, source=files_of(reader, root, split)[0], found=found, whole=found)


def _find_sides(
    reader: Reader, root: Path, limits: Limits, *, without_val: str, hold_out: str, masks: bool
) -> _Sides:
    """Reads the split train, and the split val or a part of train; see `survey_set`."""
    train = read_side(reader, root, "train", limits, masks)
    if _wants_division(train, root, hold_out):
        return _divide_training(root, train)
    val = _read_validation(reader, root, limits, masks, without_val)
    if isinstance(val, str):
        return _Sides(train=train, val=None, no_val=val)
    if _wants_division(val, root, hold_out):
        return _divide_training(root, train)
    found, remark = _without_shared(train.found, val.found)
    return _Sides(train=replace(train, found=found), val=val, remark=remark)


def _wants_division(side: Side, root: Path, hold_out: str) -> bool:
    """Whether a part of train is held out, as far as one of the splits tells."""
    if hold_out != "auto":
        return hold_out == "held-out"
    return is_of_coco(side.found.dataset, side.source, root)


def _read_validation(reader: Reader, root: Path, limits: Limits, masks: bool, without_val: str) -> Side | str:
    """Reads the split val, or says why it cannot be read."""
    source: Path | None = None
    try:
        source = files_of(reader, root, "val")[0]
        found = limit_pixels(inspect_with(reader, root, "val", masks), limits.max_pixels)
    except DataError as error:
        is_there = source is not None and source.exists()
        return str(error) if is_there else f"{error}; {without_val}"
    return Side(split="val", source=source, found=found, whole=found)


def _divide_training(root: Path, train: Side) -> _Sides:
    """Holds a part of train out for the evaluations."""
    whole = train.found
    if len(whole.dataset) < 2:
        count = "one image" if len(whole.dataset) else "no image"
        return _Sides(train=train, val=None, no_val=f"{root}: cannot hold out a part of {count}")
    others, part = _divide(whole)
    return _Sides(
        train=replace(train, found=others),
        val=Side(split="val", source=train.source, found=part, whole=part),
    )


def _refuse_together(root: Path, sides: _Sides) -> list[str]:
    """Says why the two sides do not go together."""
    if sides.val is None:
        return []
    other = category_difference(sides.train.found.dataset.categories, sides.val.found.dataset.categories)
    return [f"{root}: train and val have other categories: {other}"] if other else []


def is_of_coco(dataset: DetectionDataset, source: Path, root: Path) -> bool:
    """Whether images are COCO's, as the names of their folders or of the list that names them tell.

    Args:
        dataset: of a split.
        source: the first file or folder that the split is read from.
        root: the data set. Of a folder elsewhere, the last two names count.
    """
    folder = dataset.image_folder
    folders = {part for name in dataset.file_names for part in name.split("/")[:-1]}
    for path in (folder, folder.resolve()):
        inside = path.is_relative_to(root)
        folders |= {path.name, *(path.relative_to(root).parts if inside else path.parts[-2:])}
    return any(OF_COCO.fullmatch(name) for name in {*folders, source.stem})


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


def _divide(found: Inspection, count: int | None = None) -> tuple[Inspection, Inspection]:
    """Holds usable images out; what is left out, and the faults, stay with the others.

    Args:
        found: of all images.
        count: how many are held out; see `held_out`.

    Returns:
        The others, and the images that are held out.

    Raises:
        DataError: if there are too few images.
    """
    others, kept = held_out(found.dataset, count)
    return (
        Inspection(
            others,
            found.faults,
            found.left_out_images + len(others),
            found.left_out_objects + len(others.boxes),
        ),
        Inspection(kept, [], len(kept), len(kept.boxes)),
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
    places: set[tuple[int, int]] = set()
    by_size: dict[tuple[str, int], list[Path]] = defaultdict(list)
    for name in validation.dataset.file_names:
        path = validation.dataset.image_folder / name
        with contextlib.suppress(OSError):
            state = path.stat()
            places.add((state.st_dev, state.st_ino))
            by_size[PurePosixPath(name).name, state.st_size].append(path)
    contents: dict[tuple[str, int], set[bytes]] = {}
    shared, copies, faults = [], [], []
    for i, name in enumerate(training.dataset.file_names):
        path = training.dataset.image_folder / name
        try:
            state = path.stat()
        except OSError:
            continue
        key = (PurePosixPath(name).name, state.st_size)
        if (state.st_dev, state.st_ino) in places:
            shared.append(i)
            faults.append(Fault(name, "the file is in train and in val", "the image in train"))
        elif state.st_size and key in by_size:
            if key not in contents:
                contents[key] = {_content(other) for other in by_size[key]} - {b""}
            if _content(path) in contents[key]:
                copies.append(name)
    remark = ""
    if copies:
        what = "image of train is" if len(copies) == 1 else "images of train are"
        remark = (
            f"{len(copies)} {what} in val too, as a copy of the same name, such as {shown(copies[0])}: "
            "the score will look better than the network is"
        )
    if not shared:
        return training, remark
    return _without(training, np.array(shared, dtype=np.int64), faults), remark


def _content(path: Path) -> bytes:
    """A digest of what a file holds; empty if it cannot be read."""
    try:
        return blake2b(read_regular(path), digest_size=16).digest()
    except OSError:
        return b""


def _objects_of(dataset: DetectionDataset, skipped: Skipped) -> int:
    """How many objects the images have that cannot be decoded."""
    if not skipped:
        return 0
    names = {name for name, _ in skipped}
    lost = np.array([name in names for name in dataset.file_names], dtype=np.bool_)
    return int(lost[dataset.image_index].sum())
