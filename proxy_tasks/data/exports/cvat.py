"""CVAT's XML for images."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.objects import Drawing, add_drawing, add_image, with_extent
from proxy_tasks.data.exports.source import Export, Source
from proxy_tasks.data.exports.splits import split_of
from proxy_tasks.data.exports.xml_files import xml_roots
from proxy_tasks.data.fields import parse_number
from proxy_tasks.data.records import Records
from search_space.utils.parsing import shown


def read_cvat(contents: Contents) -> Export | None:
    """Reads CVAT's XML; None without one."""
    documents, damaged = xml_roots(contents, "annotations")
    roots = [(path, root) for path, root in documents if root.find("image") is not None]
    if not roots:
        return None
    sources = []
    for path, root in roots:
        records, splits = Records(image_folder=contents.root), {}
        labels: dict[str, int] = {}
        for element in root.iterfind(".//labels/label/name"):
            labels.setdefault((element.text or "").strip(), len(labels))
        for number, element in enumerate(root.iterfind("image"), start=1):
            where = f"{path.name} image {number}"
            name = element.get("name")
            picture = contents.picture(name, path)
            image = add_image(records, contents, picture, where, number, name)
            if image is None:
                continue
            splits[image.file_name] = split_of(element.get("subset") or "") or split_of(
                str(PurePosixPath(image.file_name).parent)
            )
            for i, shape in enumerate((s for s in element if s.get("label") is not None), start=1):
                if shape.tag == "tag":
                    continue
                add_drawing(records, labels, _cvat_object(shape), f"{where} shape {i}", number)
        records.categories = [(i + 1, name) for name, i in labels.items()]
        sources.append(Source(records, splits=splits))
    return Export("CVAT's XML", sources, faults=[replace(fault, skipped="its images") for fault in damaged])


def _cvat_object(shape: Any) -> Drawing | str:
    """An object as it is drawn, or what is wrong with it."""
    label = shape.get("label").strip()
    if shape.tag == "box":
        numbers = [parse_number(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")]
        x0, y0, x1, y1 = (number if number is not None else 0.0 for number in numbers)
        if None in numbers or x1 <= x0 or y1 <= y0:
            return "xtl, ytl, xbr and ybr must be the corners of a box"
        if parse_number(shape.get("rotation") or "0") != 0:
            return "a turned box is not read"
        return Drawing(name=label, bbox=(x0, y0, x1 - x0, y1 - y0))
    if shape.tag == "polygon":
        texts = re.split(r"[,;]", shape.get("points") or "")
        values = [parse_number(text) for text in texts]
        polygon = [value for value in values if value is not None]
        if len(polygon) < len(values) or len(polygon) < 6 or len(polygon) % 2:
            return "points must be three pairs of numbers or more"
        return with_extent(label, polygon)
    return f"only boxes and polygons are read, not {shown(shape.tag)}"
