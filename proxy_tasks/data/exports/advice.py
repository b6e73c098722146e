"""What a folder looks like that no reader recognizes, and what to do with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from proxy_tasks.data.exports.json_files import read_ends
from proxy_tasks.data.files import walk_files
from proxy_tasks.data.image_io import IMAGE_ENDINGS
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.yolo_config import CONFIG_NAMES
from proxy_tasks.data.yolo_labels import LABELS_NAMES

LOOK = 4000
"""Files after which a folder is not looked through further for a hint."""

OF_BOXES = re.compile(rb'"bbox"\s*:\s*\[|<annotation|"rectanglelabels"|"polygonlabels"')
"""What annotations of boxes hold, in COCO's JSON, Pascal VOC's and CVAT's XML, and Label Studio's JSON."""


def advise(root: Path, readers: Sequence[Reader]) -> str:
    """What a folder that no reader recognizes looks like, and what to do; "" if nothing is known of it."""
    below = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    for folder in (*below[:50], root.absolute().parent):
        found = next((reader.name for reader in readers if reader.recognizes(folder)), None)
        if found is not None:
            return f"But {folder} is a set in {found} format: give this folder. "
    names = list(islice(walk_files(root), LOOK))
    kind = _guess(root, names)
    if not kind and any(path.suffix.lower() == ".csv" for path in names):
        return "A format of your own, such as CSV, needs a reader: --reader FILE.CLASS (task.data.reader). "
    return f"It looks like {kind}: nas data import {root} --out SET makes a set of it. " if kind else ""


def seem_boxed(root: Path) -> bool:
    """Whether files of a folder look like annotations of boxes, as far as the first files tell."""
    names = list(islice(walk_files(root), LOOK))
    stems = {path.stem for path in names if path.suffix.lower() in IMAGE_ENDINGS}
    if any(path.suffix.lower() == ".txt" and path.stem in stems for path in names):
        return True
    return any(OF_BOXES.search(head) for head in _heads(names).values())


def _heads(names: Sequence[Path]) -> dict[Path, bytes]:
    """The ends of the first files that may be annotations."""
    return {
        path: read_ends(path) for path in [p for p in names if p.suffix.lower() in (".json", ".xml")][:20]
    }


def _guess(root: Path, names: Sequence[Path]) -> str:
    """What a folder looks like by its first files."""
    endings = {path.suffix.lower() for path in names}
    heads = _heads(names)
    if any(b'"annotations"' in head and b'"images"' in head for head in heads.values()):
        return "annotations in COCO's format without a split or in other places (as of Label Studio, CVAT)"
    if any(path.name == "result.json" or path.name.startswith("instances_") for path in heads):
        return "annotations in COCO's format without a split or in other places (as of Label Studio, CVAT)"
    if any(head.lstrip().startswith(b"[") and b'"data"' in head for head in heads.values()):
        return "Label Studio's JSON"
    if any(b"<annotations" in head for head in heads.values()):
        return "CVAT's XML"
    if any(b"<annotation" in head for head in heads.values()):
        return "Pascal VOC's XML without lists of a split (as of Label Studio, Roboflow)"
    if any(path.suffix.lower() == ".csv" for path in names):
        return ""
    listed = {path.name.lower() for path in names}
    if listed & {*LABELS_NAMES, *CONFIG_NAMES, "obj.data"}:
        return "YOLO labels without a split or in other places (as of Label Studio, CVAT)"
    pictures = [path for path in names if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    if pictures and ".txt" in endings:
        return "YOLO labels without names of classes (write classes.txt with one name a line)"
    if pictures and all(path.parent != root for path in pictures):
        return "folders of classes without a split"
    return ""
