"""Images and drawn shapes as records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from proxy_tasks.data.dataset import Fault
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.image_io import MOST_PIXELS, ImageError, image_size
from proxy_tasks.data.records import ImageRecord, ObjectRecord, Records
from search_space.utils.parsing import shown

Box = tuple[float, float, float, float]


def add_image(
    records: Records, contents: Contents, picture: Path | None, where: str, number: int, given: object
) -> ImageRecord | None:
    """Adds the record of an image whose size its file tells, or a fault."""
    records.named_images += 1
    if picture is None:
        records.faults.append(Fault(where, f"no image {shown(given)}", "the image"))
        return None
    try:
        height, width = image_size(picture, MOST_PIXELS)
    except ImageError as error:
        records.faults.append(Fault(where, f"cannot be read as an image: {error}", "the image"))
        return None
    image = ImageRecord(id=number, file_name=contents.relative(picture), height=height, width=width)
    records.images.append(image)
    return image


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A shape that somebody has drawn around an object.

    Args:
        name: of the object's class.
        bbox: x, y, width and height of the box, in pixels.
        polygon: x and y of each corner, in pixels; None if the shape is a box.
    """

    name: str
    bbox: Box
    polygon: list[float] | None = None


def add_drawing(
    records: Records, labels: dict[str, int], drawing: Drawing | str, where: str, image_id: int
) -> None:
    """Adds the record of an object, or a fault.

    Args:
        records: of the file; they count the object in either case.
        labels: index of each class by its name; a new one gets the next index.
        drawing: the object's shape, or what is wrong with it.
        where: its place in the file, for messages.
        image_id: of its image.
    """
    records.named_objects += 1
    if isinstance(drawing, str):
        records.faults.append(Fault(where, drawing, "the box"))
        return
    record = ObjectRecord(
        where=where,
        image_id=image_id,
        label=labels.setdefault(drawing.name, len(labels)),
        bbox=drawing.bbox,
        segmentation=None if drawing.polygon is None else [drawing.polygon],
    )
    records.objects.append(record)


def with_extent(name: str, polygon: list[float]) -> Drawing | str:
    """Gives a polygon with the box around it, or what is wrong with it."""
    x0, y0, x1, y1 = min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])
    if x1 <= x0 or y1 <= y0:
        return "the polygon is empty"
    return Drawing(name=name, bbox=(x0, y0, x1 - x0, y1 - y0), polygon=polygon)


def sort_categories(records: Records) -> Records:
    """Numbers the categories of records anew, in the order of their names, and returns the records."""
    order = sorted(range(len(records.categories)), key=lambda i: records.categories[i][1])
    places = {old: new for new, old in enumerate(order)}
    records.objects = [replace(record, label=places[record.label]) for record in records.objects]
    records.categories = [(i + 1, records.categories[old][1]) for i, old in enumerate(order)]
    return records
