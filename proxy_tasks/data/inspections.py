"""The inspection of a part of a split: without images that have faults, or with a part held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.data.dataset import Fault, Inspection, held_out


def leave_out(found: Inspection, images: NDArray[np.int64], faults: list[Fault]) -> Inspection:
    """Leaves images out of a split because of a fault, with their objects.

    Args:
        found: of the split.
        images: which ones, by ascending index.
        faults: why, one for each of them.
    """
    kept = np.setdiff1d(np.arange(len(found.dataset)), images)
    return Inspection(
        found.dataset.subset(kept),
        [*found.faults, *faults],
        found.left_out_images + len(found.dataset),
        found.left_out_objects + len(found.dataset.boxes),
    )


def hold_out_images(found: Inspection, count: int | None = None) -> tuple[Inspection, Inspection]:
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
