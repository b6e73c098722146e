"""Which JSON files of a folder are annotations, and of which tool."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_tasks.data.coco import is_coco
from proxy_tasks.data.dataset import Fault
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.fields import has_lists
from search_space.utils.json_text import parse_json
from search_space.utils.regular_file import open_regular, read_regular

ANNOTATIONS = re.compile(rb'"(images|annotations|categories|bbox|result|image)"\s*:|^\s*\[?\s*\{\s*"id"')
"""What annotations hold, even where their end is lost."""


@dataclass(frozen=True, kw_only=True)
class JsonFiles:
    """The JSON files of a folder.

    Args:
        coco, labels, tasks: COCO's annotations, those of its form with labels alone, and Label Studio's.
        damaged: those that cannot be read, and may be annotations.
    """

    coco: tuple[Path, ...]
    labels: tuple[Path, ...]
    tasks: tuple[Path, ...]
    damaged: tuple[Fault, ...]


def sort_json(contents: Contents) -> JsonFiles:
    """Says what each JSON file is; each is parsed once, and not kept, as annotations may be large."""
    coco, labels, tasks, damaged = [], [], [], []
    for path in contents.others[".json"]:
        try:
            data = parse_json(read_regular(path))
        except (OSError, ValueError) as error:
            # Others are such as a list of lines, or settings with comments.
            if ANNOTATIONS.search(read_ends(path)):
                why = getattr(error, "strerror", None) or error
                damaged.append(Fault(contents.relative(path), str(why), "its images"))
            continue
        if _has_labels_alone(data):
            labels.append(path)
        elif is_coco(data):
            coco.append(path)
        elif _is_tasks(data):
            tasks.append(path)
    return JsonFiles(coco=tuple(coco), labels=tuple(labels), tasks=tuple(tasks), damaged=tuple(damaged))


def _has_labels_alone(data: Any) -> bool:
    """Whether JSON gives images categories, and no box or outline, in COCO's form."""
    if not has_lists(data, "images", "annotations"):
        return False
    entries = [entry for entry in data["annotations"] if isinstance(entry, dict)]
    placed = any(entry.get("bbox") or entry.get("segmentation") for entry in entries)
    return not placed and any("category_id" in entry for entry in entries)


def _is_tasks(data: Any) -> bool:
    """Whether a document is what Label Studio writes."""
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(task, dict) for task in data)
        and any(isinstance(task.get("data"), dict) and "annotations" in task for task in data)
    )


def read_ends(path: Path) -> bytes:
    """Gives the first and the last 64 KiB of a file; nothing of one that cannot be read."""
    try:
        with open_regular(path) as file:
            start = file.read(1 << 16)
            file.seek(max(0, path.stat().st_size - (1 << 16)))
            return start + file.read(1 << 16)
    except OSError:
        return b""
