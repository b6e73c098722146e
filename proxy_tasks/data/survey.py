"""What a training uses of a data set, what it leaves out, and why it refuses the set.

`nas data check`, a search and a training all ask here, so that the check calls a fault whatever a training
would refuse, and a training says in one line what the check says at length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from proxy_tasks.data.dataset import DataError, DetectionDataset, Inspection, Split, unused_categories
from proxy_tasks.data.inspections import hold_out_images
from proxy_tasks.data.limits import Limits
from proxy_tasks.data.notices import advice, notify
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.sides import find_sides
from proxy_tasks.data.split_survey import Skipped, SplitSurvey
from search_space.utils.parsing import shown

NAMED = 5
"""How many names a line lists."""

Part = Literal["search", "finalists"]
"""Of the validation images: those for the trials of a search, or those that are kept for its finalists."""


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
        others, kept = hold_out_images(whole, min(images - 1, max(1, round(share * images))))
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
        notify(self.line(training, validation), self.details(training, validation), bool(remarks))

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
    sides = find_sides(reader, root, limits, without_val=without_val, hold_out=hold_out, masks=masks)
    train, val = sides.train, sides.val
    of_train = train.refuse(root, limits)
    of_val = [*([sides.no_val] if sides.no_val else []), *(val.refuse(root, limits) if val else [])]
    return Survey(
        root=root,
        training=train.found,
        validation=val.found if val else None,
        refusals=(*of_train, *of_val, *sides.refuse_together(root)),
        remarks=(sides.remark,) if sides.remark else (),
        limits=limits,
        masks=masks,
        refusals_of={"train": tuple(of_train), "val": tuple(of_val)},
        sources={side.split: side.source for side in (train, val) if side},
    )
