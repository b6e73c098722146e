"""Label Studio's JSON: tasks with the results of their annotations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.objects import Drawing, add_drawing, add_image, sort_categories, with_extent
from proxy_tasks.data.exports.source import Export, Source
from proxy_tasks.data.fields import as_number
from proxy_tasks.data.records import ImageRecord, Records
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import shown
from search_space.utils.regular_file import read_regular

OF_IMAGES = ("choices", "textarea", "number", "rating", "datetime", "taxonomy", "relation")
"""Results that are no regions."""


def read_label_studio(contents: Contents, paths: Iterable[Path]) -> Export | None:
    """Reads files of tasks; None without one."""
    sources = [Source(_label_studio(contents, path, parse_json(read_regular(path)))) for path in paths]
    return Export("Label Studio's JSON", sources) if sources else None


def _label_studio(contents: Contents, path: Path, tasks: list[dict[str, Any]]) -> Records:
    records = Records(image_folder=contents.root)
    labels: dict[str, int] = {}
    for number, task in enumerate(tasks, start=1):
        where = f"{path.name} task {number}"
        values = task.get("data")
        names = (
            [value for value in values.values() if isinstance(value, str)] if isinstance(values, dict) else []
        )
        picture = next((found for name in names if (found := contents.picture(name, path))), None)
        image = add_image(records, contents, picture, where, number, names[0] if names else None)
        if image is None or picture is None:
            continue
        listed = task.get("annotations")
        annotations = (
            [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        )
        kept = [entry for entry in annotations if not entry.get("was_cancelled")]
        results = kept[-1].get("result") if kept else []
        for i, result in enumerate(results if isinstance(results, list) else [], start=1):
            if isinstance(result, dict) and result.get("type") in OF_IMAGES:
                continue
            drawing = _label_studio_object(result, image)
            add_drawing(records, labels, drawing, f"{where} result {i}", number)
    records.categories = [(i + 1, name) for name, i in labels.items()]
    return sort_categories(records)


def _label_studio_object(result: object, image: ImageRecord) -> Drawing | str:
    """An object as it is drawn, or what is wrong with it. Its numbers are hundredths of the image."""
    value = result.get("value") if isinstance(result, dict) else None
    kind = result.get("type") if isinstance(result, dict) else None
    if not isinstance(value, dict) or kind not in ("rectanglelabels", "polygonlabels"):
        return f"only rectangles and polygons are read, not {shown(kind)}"
    names = value.get(str(kind))
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        return "has no label"
    sides = (image.width / 100, image.height / 100)
    if kind == "rectanglelabels":
        numbers = [as_number(value.get(key)) for key in ("x", "y", "width", "height")]
        x, y, w, h = (number if number is not None else -1.0 for number in numbers)
        if None in numbers or w <= 0 or h <= 0:
            return "x, y, width and height must be numbers, and the sides above 0"
        if as_number(value.get("rotation") or 0) != 0:
            return "a turned rectangle is not read"
        bbox = x * sides[0], y * sides[1], w * sides[0], h * sides[1]
        return Drawing(name=names[0], bbox=bbox)
    points: Any = value.get("points")
    flat = [as_number(number) for point in points for number in point] if _are_points(points) else []
    polygon = [number * sides[i % 2] for i, number in enumerate(flat) if number is not None]
    if len(polygon) < len(flat) or len(polygon) < 6:
        return "points must be three pairs of numbers or more"
    return with_extent(names[0], polygon)


def _are_points(points: object) -> bool:
    return isinstance(points, list) and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in points)
