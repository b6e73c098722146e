"""What is used of one split, or of a part of one, what is left out of it, and why it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proxy_tasks.data.dataset import DetectionDataset, Inspection
from proxy_tasks.data.limits import Limits
from proxy_tasks.data.notices import notify

Skipped = Sequence[tuple[str, str]]
"""Files that could not be decoded, with the reason."""


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
        notify(self.line(skipped), self.details(skipped))


def _objects_of(dataset: DetectionDataset, skipped: Skipped) -> int:
    """How many objects the images have that cannot be decoded."""
    if not skipped:
        return 0
    names = {name for name, _ in skipped}
    lost = np.array([name in names for name in dataset.file_names], dtype=np.bool_)
    return int(lost[dataset.image_index].sum())
