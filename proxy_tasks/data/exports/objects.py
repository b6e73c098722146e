"""Images and drawn shapes as records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from proxy_tasks.data.dataset import Fault
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.fields import shorten
from proxy_tasks.data.image_io import MOST_PIXELS, ImageError, image_size
from proxy_tasks.data.records import ImageRecord, Records

Box = tuple[float, float, float, float]


def add_image(
    records: Records, contents: Contents, picture: Path | None, where: str, number: int, given: object
) -> ImageRecord | None:
    """Adds the record of an image whose size its file tells, or a fault."""
    records.named_images += 1
    if picture is None:
        records.faults.append(Fault(where, f"no image {shorten(given)}", "the image"))
        return None
    try:
        height, width = image_size(picture, MOST_PIXELS)
    except ImageError as error:
        records.faults.append(Fault(where, f"cannot be read as an image: {error}", "the image"))
        return None
    image = ImageRecord(id=number, file_name=contents.relative(picture), height=height, width=width)
    records.images.append(image)
    return image


def with_extent(name: str, polygon: list[float]) -> tuple[str, list[float], Box] | str:
    """Gives a class, a polygon and the box around it, or what is wrong with it."""
    x0, y0, x1, y1 = min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])
    if x1 <= x0 or y1 <= y0:
        return "the polygon is empty"
    return name, polygon, (x0, y0, x1 - x0, y1 - y0)


def sort_categories(records: Records) -> Records:
    """Numbers the categories of records anew, in the order of their names, and returns the records."""
    order = sorted(range(len(records.categories)), key=lambda i: records.categories[i][1])
    places = {old: new for new, old in enumerate(order)}
    records.objects = [replace(record, label=places[record.label]) for record in records.objects]
    records.categories = [(i + 1, records.categories[old][1]) for i, old in enumerate(order)]
    return records
