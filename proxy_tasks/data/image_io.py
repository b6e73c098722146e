"""Image files as trainings and predictions see them: upright, in 8-bit RGB.

Only the kinds in `FORMATS` are opened, whatever a file is called: Pillow knows fifty, and some of them start
other programs. Whatever Pillow raises becomes an `ImageError`.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proxy_tasks.data.pixel_depth import eight_bits, raw_mode
from search_space.utils.parsing import reading

if TYPE_CHECKING:
    from PIL import Image


FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "GIF", "BMP", "PPM")
"""The kinds of pictures that are read, by Pillow's names."""

IMAGE_ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
    ".avif",
    ".gif",
    ".bmp",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
"""Endings by which pictures are found in a folder; upper case counts too."""

MOST_PIXELS = 2**32 - 1
"""Pixels that an image may have whatever the user allows."""

MAX_PIXELS = 128_000_000
"""Pixels of an image from which on it is not read, unless a setting says otherwise: it may be a bomb."""

LIMIT_KEY, LIMIT_OPTION = "task.data.max_pixels", "--max-pixels"
"""The setting of a task that raises the limit, and the option of other commands, for messages."""

Size = tuple[int, int]
"""Height and width in pixels."""

ORIENTATION, SIDEWAYS = 274, (5, 6, 7, 8)
"""EXIF's tag, and its values by which height and width change places."""

BACK = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The orientation that undoes each."""

_HEADERS = threading.Lock()

_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
"""What `warnings.filterwarnings` adds for Pillow's modules."""


class ImageError(ValueError):
    """A file is no image that can be read; the message says why, without the file's name."""


class MisfitError(ImageError):
    """An image of another size than annotated."""


def open_rgb(
    path: Path, annotated: Size | None = None, enough: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """An image file as RGB, upright wherever that agrees with what is annotated.

    Values of more than 8 bits are brought to 8; see `proxy_tasks.data.pixel_depth`.

    Args:
        path: of the file.
        annotated: size that annotations give the image.
        enough: length of the longer side from which on more is not needed; JPEGs are read quicker then.
        max_pixels: an image of more pixels is refused.

    Raises:
        ImageError: if it is no image that can be read.
        MisfitError: if the annotated size is that of another picture.
    """
    with _opened(path, max_pixels) as image:
        stored = raw_mode(image)  # Reading the EXIF data of a PNG decodes it.
        as_shown, as_kept = _sizes(image)
        # An image that is nearly square fits both ways: its exact size decides then.
        exact = annotated is not None and annotated in (as_shown, as_kept)
        upright = annotated is None or (as_shown == annotated if exact else fits(as_shown, annotated))
        if not upright and annotated is not None and not fits(as_kept, annotated):
            raise MisfitError(
                f"the file has {image.width}x{image.height} pixels, "
                f"{annotated[1]}x{annotated[0]} are annotated"
            )
        if enough is not None:
            # JPEG can be decoded at an eighth, a quarter or half of its size, which is much quicker.
            image.draft("RGB", (enough, enough))
        as_stored = image.getexif().get(ORIENTATION, 1)
        found = eight_bits(image, stored, lambda: _open(path, max_pixels))
        # Pillow turns a TIFF when it decodes it, and takes the tag away.
        left = image.getexif().get(ORIENTATION, 1)
        if upright:
            return _turn(found, left)
        return _turn(found, BACK.get(as_stored, 1)) if left != as_stored else found


def read_image_size(path: Path, max_pixels: int = MAX_PIXELS) -> Size | None:
    """Height and width of an image file, upright; None if it cannot be read. Pixels are not decoded."""
    try:
        return image_size(path, max_pixels)
    except ImageError:
        return None


def image_size(path: Path, max_pixels: int = MAX_PIXELS) -> Size:
    """Height and width of an image file as viewers show it. Pixels are not decoded.

    Raises:
        ImageError: if it is no image that can be read.
    """
    with _opened(path, max_pixels) as image:
        return _sizes(image)[0]


def fits(size: Size, annotated: Size) -> bool:
    """Whether sizes are of one picture: in the same proportions, but for the rounding of a resize."""
    off = abs(size[0] * annotated[1] - size[1] * annotated[0]) / (size[1] * annotated[0])
    return off <= max(0.02, 1.5 / min(*size, *annotated))


def too_large(size: Size, max_pixels: int) -> str:
    """Why an image of this size is not read, and how it is; "" if it is."""
    height, width = size
    if height * width <= max_pixels:
        return ""
    return (
        f"{width}x{height} are more than {max_pixels:,} pixels; {LIMIT_KEY}={height * width} reads the image "
        f"({LIMIT_OPTION} of other commands)"
    )


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """The image of a file, its pixels not decoded yet; errors of the block become ImageError."""
    with reading(ImageError), _open(path, max_pixels) as image:
        yield image


def _open(path: Path, max_pixels: int) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    _silence_pillow()
    if path.exists() and not path.is_file():  # A pipe would wait for a writer.
        raise ImageError("not a regular file")
    try:
        try:
            image: Image.Image = Image.open(path, formats=FORMATS)
        except Image.DecompressionBombError:
            image = _open_without_limit(path)
    except UnidentifiedImageError:
        raise ImageError(_unknown(path)) from None
    reason = too_large((image.height, image.width), max_pixels)
    if reason:
        image.close()
        raise ImageError(reason)
    if not image.width or not image.height:
        image.close()
        raise ImageError("it has no pixel")
    return image


def _silence_pillow() -> None:
    """Keeps Pillow's warnings from the terminal.

    They name no file, and tell of nothing that spoils the pixels, such as metadata cut off. One is about
    images of more pixels than Pillow's own limit; ours is another. `warnings.catch_warnings` is not for
    threads.
    """
    if _QUIET not in warnings.filters:  # It is asked for each image, so that the answer must be quick.
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)


def _open_without_limit(path: Path) -> Image.Image:
    """Opens without Pillow's own limit, which is a global; the lock keeps other threads of ours apart."""
    from PIL import Image

    with _HEADERS:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    turns = Image.Transpose
    method = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)


def _unknown(path: Path) -> str:
    if path.stat().st_size == 0:
        return "the file is empty"
    return f"no image of a kind that is read ({', '.join(FORMATS)})"


def _sizes(image: Image.Image) -> tuple[Size, Size]:
    """The size that viewers show, with the EXIF rotation applied, and the size as stored."""
    sides = (image.height, image.width)
    if image.getexif().get(ORIENTATION) not in SIDEWAYS:
        return sides, sides
    other = (image.width, image.height)
    # Pillow gives the size of a TIFF as viewers show it.
    return (sides, other) if image.format == "TIFF" else (other, sides)
