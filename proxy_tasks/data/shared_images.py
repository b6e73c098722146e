"""Images of train that are in val too: one file is left out of train, and of a copy the user is told."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from hashlib import blake2b
from pathlib import Path, PurePosixPath

import numpy as np

from proxy_tasks.data.dataset import Fault, Inspection
from proxy_tasks.data.inspections import leave_out
from search_space.utils.parsing import shown
from search_space.utils.regular_file import read_regular


def leave_out_shared(training: Inspection, validation: Inspection) -> tuple[Inspection, str]:
    """Leaves the files out of train that are in val too, and says which others have a copy in val.

    A file that cannot be read is in no other split.

    Args:
        training, validation: of the two splits.

    Returns:
        The inspection of train, and a remark on the copies, which are still used; "" if there are none.
    """
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
    return leave_out(training, np.array(shared, dtype=np.int64), faults), remark


def _content(path: Path) -> bytes:
    """A digest of what a file holds; empty if it cannot be read."""
    try:
        return blake2b(read_regular(path), digest_size=16).digest()
    except OSError:
        return b""
