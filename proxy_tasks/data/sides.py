"""The two sides of a data set: the images of a training, and those of its evaluations.

The evaluations have the split val, or a part of train that is held out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from proxy_tasks.data.coco_images import is_of_coco
from proxy_tasks.data.dataset import DataError, Inspection, Split, category_difference
from proxy_tasks.data.inspections import hold_out_images
from proxy_tasks.data.limits import Limits, limit_pixels
from proxy_tasks.data.reader import Reader, files_of, inspect_with
from proxy_tasks.data.shared_images import leave_out_shared
from proxy_tasks.data.split_survey import SplitSurvey


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
class Sides:
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

    def refuse_together(self, root: Path) -> list[str]:
        """Says why the two sides do not go together; nothing if they do, or if there is only one.

        Args:
            root: the data set.
        """
        if self.val is None:
            return []
        other = category_difference(self.train.found.dataset.categories, self.val.found.dataset.categories)
        return [f"{root}: train and val have other categories: {other}"] if other else []


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


def find_sides(
    reader: Reader, root: Path, limits: Limits, *, without_val: str, hold_out: str, masks: bool
) -> Sides:
    """Reads the split train, and the split val or a part of train.

    Args:
        reader, root, limits, without_val, hold_out, masks: see `proxy_tasks.data.survey.survey_set`.

    Raises:
        DataError: if there is no training split of the format at all.
    """
    train = read_side(reader, root, "train", limits, masks)
    if _wants_division(train, root, hold_out):
        return _divide_training(root, train)
    val = _read_validation(reader, root, limits, masks, without_val)
    if isinstance(val, str):
        return Sides(train=train, val=None, no_val=val)
    if _wants_division(val, root, hold_out):
        return _divide_training(root, train)
    found, remark = leave_out_shared(train.found, val.found)
    return Sides(train=replace(train, found=found), val=val, remark=remark)


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


def _divide_training(root: Path, train: Side) -> Sides:
    """Holds a part of train out for the evaluations."""
    whole = train.found
    if len(whole.dataset) < 2:
        count = "one image" if len(whole.dataset) else "no image"
        return Sides(train=train, val=None, no_val=f"{root}: cannot hold out a part of {count}")
    others, part = hold_out_images(whole)
    return Sides(
        train=replace(train, found=others),
        val=Side(split="val", source=train.source, found=part, whole=part),
    )
