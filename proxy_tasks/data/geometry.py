"""Outlines and run lengths of objects: every one is checked here before pycocotools' C code sees it.

That code trusts what it is given: a corner far away takes all memory or crashes, a negative size writes where
it must not, and runs that end before the image does leave its last pixels as they were in memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from proxy_tasks.data.dataset import RunLengths
from proxy_tasks.data.fields import as_number, as_whole
from search_space.utils.parsing import shown

FAR = 1.0
"""How far a corner may lie outside the image, in sides of the image; what lies outside is cut off."""

LONGEST_OUTLINE = 2_000_000
"""Length of an object's outlines in pixels; pycocotools takes about 100 bytes for each. The edge of a very
ragged object that fills an image of 5,000 px is a tenth as long."""

OUTSIDE, VANISHES = "lies outside the image", "is empty, as its sides are too short for 32-bit numbers"
"""Why nothing of a box is on an image."""

LARGEST_IMAGE = 2**32
"""Pixels; run lengths are kept in 32 bits."""

CODE_START, CODE_END = 48, 112
"""The characters of compressed run lengths, from the first to one after the last."""

LONGEST_CODE = 7
"""Characters of one number; each has five bits."""


class GeometryError(ValueError):
    """An outline or run lengths cannot be those of an object of this image; the message says why."""


def run_lengths(segmentation: object, height: int, width: int) -> RunLengths:
    """COCO's polygons or run lengths as compressed run lengths.

    Args:
        segmentation: as the annotation has it, of any type.
        height, width: of the image.

    Raises:
        GeometryError: if it is neither polygons nor run lengths of such an image, or holds no pixel.
    """
    from pycocotools import mask as coco_mask

    if height * width >= LARGEST_IMAGE:
        raise GeometryError(f"an image of {width}x{height} is too large for run lengths")
    if segmentation is None or segmentation == []:
        raise GeometryError("has no segmentation")
    if isinstance(segmentation, list):
        polygons = check_polygons(segmentation, height, width)
        codes = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))["counts"]
    elif isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        _check_size(segmentation.get("size"), height, width)
        if isinstance(counts, (str, bytes)):
            codes = counts.encode("utf-8", "replace") if isinstance(counts, str) else counts
            check_runs(decompress(codes), height, width)
        else:
            whole = check_runs(counts, height, width)
            codes = coco_mask.frPyObjects({"size": [height, width], "counts": whole}, height, width)["counts"]
    else:
        raise GeometryError(f"segmentation must be polygons or run lengths, not {shown(segmentation)}")
    found: RunLengths = {"size": [height, width], "counts": codes}
    if int(coco_mask.area(found)) == 0:
        raise GeometryError("segmentation holds no pixel")
    return found


def check_polygons(polygons: list[Any], height: int, width: int) -> list[list[float]]:
    """The polygons with three corners or more, as numbers.

    Raises:
        GeometryError: if one is no list of pairs of finite numbers, or lies far outside the image, or all
            together are longer than any outline.
    """
    checked: list[list[float]] = []
    length = 0.0
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) % 2:
            raise GeometryError(f"a polygon must be a list x, y, x, y, ..., not {shown(polygon)}")
        numbers = [as_number(value) for value in polygon]
        corners = [number for number in numbers if number is not None]
        if len(corners) < len(numbers):
            raise GeometryError(f"a polygon must be finite numbers, not {shown(polygon)}")
        if len(corners) < 6:
            continue
        xs, ys = corners[::2], corners[1::2]
        for x, y in zip(xs, ys, strict=True):
            if not (-FAR * width <= x <= (1 + FAR) * width and -FAR * height <= y <= (1 + FAR) * height):
                raise GeometryError(f"polygon reaches to {x:g}, {y:g}, far outside the image")
        steps = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
        length += sum(max(abs(x1 - x0), abs(y1 - y0)) for x0, y0, x1, y1 in steps)
        checked.append(corners)
    if length > LONGEST_OUTLINE:
        raise GeometryError(
            f"polygons are {length:.0f} px long; no outline is longer than {LONGEST_OUTLINE:,} px"
        )
    if not checked:
        raise GeometryError("segmentation has no polygon of three corners or more")
    return checked


def check_runs(counts: object, height: int, width: int) -> list[int]:
    """Run lengths as whole numbers.

    Raises:
        GeometryError: if they are none, or do not fill the image.
    """
    if not isinstance(counts, list):
        raise GeometryError(f"counts must be a list or a text, not {shown(counts)}")
    runs = [as_whole(count) for count in counts]
    whole = [run for run in runs if run is not None and run >= 0]
    if len(whole) < len(runs):
        raise GeometryError("counts must be whole numbers from 0")
    if sum(whole) != height * width:
        raise GeometryError(f"counts are {sum(whole)} pixels, but the image has {height * width}")
    return whole


def decompress(code: bytes) -> list[int]:
    """The run lengths of COCO's compressed text.

    Raises:
        GeometryError: if it is no such text.
    """
    runs: list[int] = []
    value = length = 0
    for character in code:
        bits = character - CODE_START
        if not 0 <= bits < CODE_END - CODE_START or length >= LONGEST_CODE:
            raise GeometryError("counts are no compressed run lengths")
        value |= (bits & 31) << 5 * length
        length += 1
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << 5 * length
        # From the third on, a number is the difference to the one before the last.
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = length = 0
    if length:
        raise GeometryError("counts end in the middle of a number")
    return runs


def clip_box(
    bbox: tuple[float, float, float, float], height: int, width: int
) -> tuple[float, float, float, float] | None:
    """The corners x0, y0, x1, y1 of a box x, y, width, height, as far as it is on the image.

    They are rounded to 32 bits, as datasets have them. None if nothing of the box is left; see `why_lost`.
    """
    x, y, w, h = bbox
    if not all(map(math.isfinite, bbox)):
        return None
    x0, y0 = max(x, 0.0), max(y, 0.0)
    x1, y1 = min(x + w, float(width)), min(y + h, float(height))
    if x1 <= x0 or y1 <= y0:  # Before the rounding, which a number far outside would overflow.
        return None
    x0, y0, x1, y1 = (float(np.float32(value)) for value in (x0, y0, x1, y1))
    return None if x1 <= x0 or y1 <= y0 else (x0, y0, x1, y1)


def why_lost(bbox: tuple[float, float, float, float], height: int, width: int) -> str:
    """Why nothing of a box is on an image, as the end of a sentence: it lies outside, or its sides vanish."""
    x, y, w, h = bbox
    inside = all(map(math.isfinite, bbox)) and x < width and y < height and x + w > 0 and y + h > 0
    return VANISHES if inside else OUTSIDE


def _check_size(size: object, height: int, width: int) -> None:
    sides = [as_whole(side) for side in size] if isinstance(size, list) else []
    if sides != [height, width]:
        raise GeometryError(
            f"run lengths are of size {shown(size)}, but the image's height and width are "
            f"{height} and {width}"
        )
