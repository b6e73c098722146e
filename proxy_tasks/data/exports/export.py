"""What labeling tools write, read wherever its files lie: the sources of `nas data import`.

A folder is looked through once. What its annotations are in is told by the files themselves, not by their
places: COCO's JSON, Label Studio's JSON, CVAT's XML, Pascal VOC's XML, YOLO's label files, or folders that
are classes. The split of an image is told by the names of folders and files, such as `valid/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from proxy_tasks.data.dataset import DataError, Fault
from proxy_tasks.data.exports.class_folders import read_class_folders
from proxy_tasks.data.exports.coco import read_coco_export, read_labels_export
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.cvat import read_cvat
from proxy_tasks.data.exports.json_files import sort_json
from proxy_tasks.data.exports.label_studio import read_label_studio
from proxy_tasks.data.exports.pascal_voc import read_voc_export
from proxy_tasks.data.exports.source import Export
from proxy_tasks.data.exports.yolo import read_yolo_export
from proxy_tasks.data.files import is_file

Reader = Callable[[Contents], Export | None]
Readers = tuple[Reader, ...]


def read_export(root: Path) -> Export:
    """Reads a folder that a labeling tool has written.

    Raises:
        DataError: if it holds nothing that is known; the message says what it looks like.
    """
    if not root.is_dir():
        what = "a file; unpack an archive first" if is_file(root) else "no such folder"
        raise DataError(f"{root}: {what}")
    contents = Contents.of(root)
    json = sort_json(contents)
    in_json: Readers = (
        partial(read_coco_export, paths=json.coco),
        partial(read_label_studio, paths=json.tasks),
        partial(read_labels_export, paths=json.labels),
    )
    others: Readers = (read_cvat, read_voc_export, read_yolo_export)
    unread = json.damaged
    # With annotations that are damaged, a folder of pictures is not the name of their class.
    readers = (*in_json, *others, *([] if unread else [read_class_folders]))
    for place, read in enumerate(readers):
        export = read(contents)
        if export is not None:
            lost = [fault for fault in contents.faults if fault.skipped == "its images"]
            lost += unread if read in in_json else []
            lost += _of_other_kinds(contents, export, readers[place + 1 : len(in_json) + len(others)])
            return Export(export.kind, export.sources, export.labeled, [*lost, *export.faults])
    damaged = "".join(f"; {fault.where} cannot be read: {fault.what}" for fault in unread[:1])
    if contents.pictures:
        count = len(contents.pictures)
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        raise DataError(f"{root}: {pictures}, but no annotations of a known kind{damaged}")
    raise DataError(f"{root}: no pictures and no annotations of a known kind{damaged}")


def _of_other_kinds(contents: Contents, export: Export, readers: Sequence[Reader]) -> list[Fault]:
    """Faults of images that only annotations of another kind have."""
    known = _images_of(export)
    faults = []
    for read in readers:
        with suppress(DataError):
            found = read(contents)
            more = set() if found is None else _images_of(found) - known
            if found is not None and more:
                what = f"{len(more)} more images are annotated as {found.kind}; import that part by itself"
                faults.append(Fault(str(contents.root), what, "its images"))
    return faults


def _images_of(export: Export) -> set[str]:
    return {image.file_name for source in export.sources for image in source.records.images}
