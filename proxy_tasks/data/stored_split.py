"""A split as arrays in one file: read in a moment, where annotations take seconds and gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.data.dataset import DetectionDataset
from search_space.utils.atomic_file import atomic_write

ARRAYS = (
    *("image_ids", "sizes", "boxes", "labels", "crowd", "areas", "image_index"),
    "category_ids",
)
"""Fields of a split that are arrays."""


def write_split(path: Path, split: DetectionDataset) -> None:
    """Writes a split, whole or not at all.

    Raises:
        OSError: if the file cannot be written.
    """
    counts = [bytes(mask["counts"]) for mask in split.masks]
    texts = {
        "file_names": _bytes("\0".join(split.file_names)),
        "category_names": _bytes("\0".join(split.category_names)),
        "image_folder": _bytes(str(split.image_folder)),
        "annotation_digest": _bytes(split.annotation_digest),
    }
    masks = {
        "mask_ends": np.cumsum([len(part) for part in counts], dtype=np.int64),
        "mask_sizes": np.array([mask["size"] for mask in split.masks], np.int64).reshape(-1, 2),
        "mask_counts": np.frombuffer(b"".join(counts), np.uint8),
    }
    arrays: dict[str, Any] = {name: getattr(split, name) for name in ARRAYS}
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **{**arrays, **texts, **masks})


def read_stored_split(path: Path) -> DetectionDataset | None:
    """Reads what `write_split` wrote; None if the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            content = {name: stored[name] for name in stored.files}
        names = _texts(content["file_names"])
        ends = content["mask_ends"].tolist()
        counts = content["mask_counts"].tobytes()
        split = DetectionDataset(
            **{name: content[name] for name in ARRAYS},
            file_names=names if len(content["image_ids"]) else (),
            category_names=_texts(content["category_names"]) if len(content["category_ids"]) else (),
            image_folder=Path(_texts(content["image_folder"])[0]),
            annotation_digest=content["annotation_digest"].tobytes().decode(),
            masks=tuple(
                {"size": size, "counts": counts[start:end]}
                for size, start, end in zip(
                    content["mask_sizes"].tolist(), [0, *ends][:-1], ends, strict=True
                )
            ),
        )
    except Exception:  # Whatever damage makes a parser raise, the annotations are read again.
        return None
    return split if len(split) == len(split.image_ids) == len(split.sizes) else None


def _bytes(text: str) -> NDArray[np.uint8]:
    """A text as bytes; names may hold surrogates alone, which are no valid text."""
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)


def _texts(content: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(content.tobytes().decode("utf-8", "surrogatepass").split("\0"))
