"""Pixels of every depth as 8-bit RGB.

A file of 16 bits often holds fewer: cameras give 10, 12 or 14, converters 8. What a file holds is told by its
largest value, which is taken to be of the least of the `DEPTHS` that it fits into. Values of a float picture
are taken to reach 1 if none is well above it. Numbers below zero, and floats of no such range, are spread
from the least to the largest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

DEPTHS, SIGNED_DEPTHS = (8, 10, 12, 14, 16, 24, 32), (8, 10, 12, 14, 15, 16, 24, 31)
"""Bits that values are held to have; one less than whole bytes where there is a sign."""

UNIT_SLACK = 0.5
"""How far a float picture of 0..1 may reach beyond, as one does that was sharpened or enlarged."""

UNIT_FLOOR = 32.0
"""Largest value from which on a float picture counts in whole levels, not in parts of 1."""

PHOTOMETRIC, SAMPLE_FORMAT, WHITE_IS_ZERO, UNSIGNED = 262, 339, 0, 1
"""TIFF's tags and their values."""

Values = NDArray[Any]
Bytes = NDArray[np.uint8]


def eight_bits(image: Image.Image, stored: str, reopen: Callable[[], Image.Image]) -> Image.Image:
    """The image in 8-bit RGB; its pixels are decoded.

    Args:
        image: opened.
        stored: its `raw_mode` before it was decoded.
        reopen: opens the same file once more.

    Raises:
        Exception: whatever Pillow raises for a damaged file.
    """
    from PIL import Image

    if image.mode == "F" or image.mode == "I" or image.mode.startswith("I;16"):
        tags: Any = getattr(image, "tag_v2", {})
        levels = _levels(image, tags)
        if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
            levels = ~levels
        return Image.fromarray(levels).convert("RGB")
    if stored.startswith("LA;16"):
        with reopen() as again:
            return _gray_of_pairs(again)
    if ";16" in stored:
        return _sixteen_bits(image, stored, reopen)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode[:-1] + "A")
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def depth_of(largest: float, depths: Sequence[int] = DEPTHS) -> int:
    """The least of the depths whose values reach this one."""
    return next((bits for bits in depths if largest < 2**bits), depths[-1])


def _levels(image: Image.Image, tags: Any) -> Bytes:
    """A picture of one channel in 8 bits."""
    values: Values = np.asarray(image)
    if image.mode == "F":
        return _float_levels(values)
    unsigned = image.format == "PPM" or (tags and tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0] == UNSIGNED)
    signed = image.mode == "I" and not unsigned
    if image.mode == "I" and unsigned:
        values = values.view(np.uint32)  # Pillow keeps them as if they had a sign.
    least, largest = int(values.min()), int(values.max())
    if least < 0:
        return _spread(values.astype(np.float32), least, largest)
    depth = depth_of(largest, SIGNED_DEPTHS if signed else DEPTHS)
    return (values >> (depth - 8)).astype(np.uint8)


def _float_levels(values: Values) -> Bytes:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    least = float(values.min(where=finite, initial=np.inf))
    largest = float(values.max(where=finite, initial=-np.inf))
    held = np.nan_to_num(values, nan=least, posinf=largest, neginf=least)
    if least >= -UNIT_SLACK and largest <= 1 + UNIT_SLACK:
        return (held.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    if least >= 0 and UNIT_FLOOR <= largest < 2 ** DEPTHS[-1]:
        return (held / 2.0 ** (depth_of(largest) - 8)).clip(0, 255).astype(np.uint8)
    return _spread(held, least, largest)


def _spread(values: Values, least: float, largest: float) -> Bytes:
    """Values from the least to the largest as 0 to 255."""
    wide = np.float64(largest) - np.float64(least)
    if not wide > 0:
        return np.zeros(values.shape, np.uint8)
    if not np.isfinite(wide):  # Of numbers at the ends of what floats can be.
        return _spread(values / 4.0, least / 4.0, largest / 4.0)
    return ((values - np.float64(least)) * (255 / wide) + 0.5).clip(0, 255).astype(np.uint8)


def raw_mode(image: Image.Image) -> str:
    """How the file of an image has its pixels, as Pillow says it before decoding, such as "RGB;16B"."""
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        return ""
    given = tiles[0][3]
    mode = given if isinstance(given, str) else given[0] if isinstance(given, tuple) and given else ""
    return mode if isinstance(mode, str) else ""


def _with_rawmode(image: Image.Image, rawmode: str, mode: str | None = None) -> Image.Image:
    """The image, to be decoded as if its pixels were of another kind of the same length."""
    picture: Any = image
    changed = []
    for tile in picture.tile:
        given = tile[3]
        parts = [*tile[:3], rawmode if isinstance(given, str) else (rawmode, *given[1:])]
        changed.append(type(tile)(*parts) if hasattr(tile, "_fields") else tuple(parts))
    picture.tile = changed
    if mode is not None:
        picture._mode = mode
    return image


def _sixteen_bits(image: Image.Image, rawmode: str, reopen: Callable[[], Image.Image]) -> Image.Image:
    """Several channels of 16 bits. Pillow keeps the upper byte of each, too little if few bits are used."""
    from PIL import Image

    upper = np.asarray(image)
    colors = 3 if image.mode in ("RGB", "RGBA") else upper.shape[-1]
    bits = depth_of(int(upper[..., :colors].max()) * 256 + 255)
    if bits >= 16 or rawmode[-1] not in "BLN" or upper.ndim < 3:
        return image.convert("RGB")
    native = "L" if sys.byteorder == "little" else "B"
    order = native if rawmode[-1] == "N" else rawmode[-1]
    other = rawmode[:-1] + ("B" if order == "L" else "L")
    with reopen() as again:
        lower = np.asarray(_with_rawmode(again, other))
    whole = upper.astype(np.uint16) << 8 | lower
    shift = depth_of(int(whole[..., :colors].max())) - 8
    levels = (whole >> shift).clip(0, 255).astype(np.uint8)
    return Image.frombytes(image.mode, image.size, levels.tobytes()).convert("RGB")


def _gray_of_pairs(image: Image.Image) -> Image.Image:
    """PNG's gray of 16 bits with an alpha channel: the four bytes of a pixel are read as four channels."""
    from PIL import Image

    pairs = np.asarray(_with_rawmode(image, "RGBA", "RGBA"))
    values = pairs[..., 0].astype(np.uint16) << 8 | pairs[..., 1]
    return Image.fromarray((values >> (depth_of(int(values.max())) - 8)).astype(np.uint8)).convert("RGB")
