"""The side of the images that a network takes, as it is typed."""

from __future__ import annotations


def check_image_size(size: int | None) -> None:
    """Raises ValueError for a side of images that no network takes; None is the network's own."""
    if size is not None and not 32 <= size <= 4096:
        raise ValueError(f"--size must be in 32..4096 pixels, not {size}")
