"""What is accepted of a data set: how large an image may be, and how much may be left out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proxy_tasks.data.dataset import Fault, Inspection
from proxy_tasks.data.image_io import MAX_PIXELS, too_large
from proxy_tasks.data.inspections import leave_out

LEFT_OUT = 0.1
"""Share of the images, or of the objects, that may be left out unless a setting says otherwise."""


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
    return leave_out(found, large, faults)
