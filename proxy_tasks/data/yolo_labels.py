"""The lines of YOLO's label files.

A line is either `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 ...`, the corners of a polygon; all numbers but
the class are parts of the image's width and height.

The numbers are rounded decimals, so a pixel coordinate is taken to be the shortest decimal that they can
stand for: with six decimals and images of up to 6,000 px, boxes at hundredths of pixels come back exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proxy_tasks.data.dataset import DataError, Fault
from proxy_tasks.data.fields import parse_number, parse_whole, shortest_decimal
from proxy_tasks.data.files import read_lines
from proxy_tasks.data.image_io import Size
from proxy_tasks.data.records import ImageRecord, ObjectRecord, collect_objects
from search_space.utils.parsing import shown

LABELS_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
"""Files of class names, one a line."""

OUTSIDE = 0.01
"""How far a number may lie outside 0..1. The box is then clipped; more is another unit, not a rounding."""

DECIMALS = 6
"""Decimals that numbers are taken to be rounded to, unless the line has more."""


def holds_labels(path: Path) -> bool:
    """Whether a text has numbers as labels have, unlike notes and names of classes that lie among them.

    An empty one has none: it says that its image shows no object.
    """
    if path.name in LABELS_NAMES:
        return False
    try:
        lines = [line.split() for _, line in read_lines(path)]
    except DataError:
        return False
    numbers = (len(words) >= 5 and None not in map(parse_number, words) for words in lines)
    return bool(lines) and all(numbers)


def parse_lines(
    lines: Sequence[tuple[int, str]], file: str, image: ImageRecord, classes: int
) -> tuple[list[ObjectRecord], list[Fault]]:
    """The objects of a label file.

    Args:
        lines: of the file, with their numbers.
        file: the file, for messages.
        image: that the objects are in.
        classes: how many classes are named.
    """
    named = ((f"{file} line {number}", line) for number, line in lines)
    return collect_objects((where, _parse_line(line, where, image, classes)) for where, line in named)


def _parse_line(line: str, where: str, image: ImageRecord, classes: int) -> ObjectRecord | str:
    """The object of a line, or what is wrong with it."""
    label_text, *texts = line.split()
    if len(texts) != 4 and (len(texts) < 6 or len(texts) % 2):
        confidence = "; is the last one a confidence?" if len(texts) == 5 else ""
        return (
            f"must be a class and 4 numbers cx cy w h, or a class and the x and y of 3 corners or more, "
            f"not {len(texts) + 1} values{confidence}"
        )
    label = parse_whole(label_text)
    if label is None or label < 0:
        return f"class must be a whole number from 0, not {shown(label_text)}"
    if label >= classes:
        return f"unknown class {label}; {classes} classes are named, from 0 to {classes - 1}"
    values: list[float] = []
    for text in texts:
        value = parse_number(text)
        if value is None or not -OUTSIDE <= value <= 1 + OUTSIDE:
            return f"coordinates must be parts of the image in 0..1, not {text[:60]}"
        values.append(value)
    decimals = max(DECIMALS, *map(_decimals, texts))
    size = (image.height, image.width)
    if len(values) == 4:
        bbox, polygon = _pixel_box(values, size, decimals), None
    else:
        polygon = _pixel_polygon(values, size, decimals)
        bbox = _extent(polygon)
    if bbox[2] <= 0 or bbox[3] <= 0:
        return f"box {shown(line)} is empty"
    segmentation = [polygon] if polygon is not None else None
    return ObjectRecord(where=where, image_id=image.id, label=label, bbox=bbox, segmentation=segmentation)


def _decimals(text: str) -> int:
    """Decimals that a number is written with; many if it has an exponent."""
    return 17 if "e" in text.lower() else len(text.partition(".")[2])


def _pixel_box(values: Sequence[float], size: Size, decimals: int) -> tuple[float, float, float, float]:
    """x, y, width and height in pixels of a center, width and height in parts of the image."""
    cx, cy, w, h = values
    height, width = size
    return (
        _snap((cx - w / 2) * width, 1.5 * width, decimals),
        _snap((cy - h / 2) * height, 1.5 * height, decimals),
        _snap(w * width, width, decimals),
        _snap(h * height, height, decimals),
    )


def _pixel_polygon(values: Sequence[float], size: Size, decimals: int) -> list[float]:
    """x, y, x, y, ... in pixels."""
    height, width = size
    sides = [width, height] * (len(values) // 2)
    return [_snap(value * side, side, decimals) for value, side in zip(values, sides, strict=True)]


def _snap(pixels: float, side: float, decimals: int) -> float:
    """A pixel coordinate without the error of numbers that were rounded to some decimals."""
    return shortest_decimal(pixels, side * (0.5 * 10.0**-decimals + 1e-12))


def _extent(polygon: Sequence[float]) -> tuple[float, float, float, float]:
    x0, y0 = min(polygon[::2]), min(polygon[1::2])
    return x0, y0, max(polygon[::2]) - x0, max(polygon[1::2]) - y0
