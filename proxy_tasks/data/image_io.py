"""Image files as trainings and predictions see them: upright, in 8-bit RGB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


Size = tuple[int, int]
"""Height and width in pixels."""


ORIENTATION, SIDEWAYS = 274, (5, 6, 7, 8)
"""EXIF's tag, and its values by which height and width change places."""


class MisfitError(ValueError):
    """An image of another size than annotated."""


def open_rgb(path: Path, annotated: Size | None = None, enough: int | None = None) -> Image.Image:
    """An image file as RGB, upright wherever that agrees with what is annotated.

    Grey values of 16 bits are brought to 8.

    Args:
        path: of the file.
        annotated: size that annotations give the image.
        enough: length of the longer side from which on more is not needed; JPEGs are read quicker then.

    Raises:
        OSError, SyntaxError, Image.DecompressionBombError: if it is no image that can be read.
        ValueError: likewise.
        MisfitError: if the annotated size is that of another picture.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        upright = annotated is None or fits(upright_size(image), annotated)
        if not upright and annotated is not None and not fits((image.height, image.width), annotated):
            raise MisfitError(
                f"the file has {image.width}x{image.height} pixels, "
                f"{annotated[1]}x{annotated[0]} are annotated"
            )
        if enough is not None:
            # JPEG can be decoded at an eighth, a quarter or half of its size, which is much quicker.
            image.draft("RGB", (enough, enough))
        turned = ImageOps.exif_transpose(image) if upright else image
        return _eight_bits(turned).convert("RGB")


def upright_size(image: Image.Image) -> Size:
    """Gives the size that viewers show, with the EXIF rotation applied."""
    sideways = image.getexif().get(ORIENTATION) in SIDEWAYS
    return (image.width, image.height) if sideways else (image.height, image.width)


def fits(size: Size, annotated: Size) -> bool:
    """Whether sizes are of one picture: in the same proportions, but for the rounding of a resize."""
    off = abs(size[0] * annotated[1] - size[1] * annotated[0]) / (size[1] * annotated[0])
    return off <= max(0.02, 1.5 / min(*size, *annotated))


def _eight_bits(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    if image.mode == "I" and values.max(initial=0) <= 255:
        return Image.fromarray(values.clip(0).astype(np.uint8))
    return Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8))
