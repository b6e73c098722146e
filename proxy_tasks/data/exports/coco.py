"""COCO's annotations, of boxes or of labels alone, wherever their images lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from proxy_tasks.data.coco import read_coco
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.source import Export, Source
from proxy_tasks.data.exports.splits import split_of
from proxy_tasks.data.image_folder import read_labels
from search_space.utils.parsing import shown


@dataclass
class _Finder:
    """Finds the images of a COCO file anywhere below the root."""

    contents: Contents
    near: Path

    @property
    def folder(self) -> Path:
        return self.contents.root

    def find(self, name: object) -> str | None:
        path = self.contents.picture(name, self.near)
        return None if path is None else self.contents.relative(path)

    def explain(self, name: object) -> str:
        return f"no file {shown(name)} below {self.folder}, or several"


def read_coco_export(contents: Contents, paths: Iterable[Path]) -> Export | None:
    """Reads COCO's annotations; None if no file has objects."""
    sources = [
        Source(read_coco(path, _Finder(contents, path)), split_of(contents.relative(path))) for path in paths
    ]
    boxed = any(source.records.named_objects for source in sources)
    return Export("COCO annotations", sources) if boxed else None


def read_labels_export(contents: Contents, paths: Iterable[Path]) -> Export | None:
    """Reads annotations that give each image a label and no box, as iNaturalist's; None without one."""
    sources = [
        Source(read_labels(path, _Finder(contents, path)), split_of(contents.relative(path)))
        for path in paths
    ]
    return Export("labels in JSON", sources, labeled=True) if sources else None
