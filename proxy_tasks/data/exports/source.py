"""What was read of a folder: sources, each with the splits of its images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from proxy_tasks.data.dataset import Fault
from proxy_tasks.data.exports.splits import Part, split_of
from proxy_tasks.data.records import Records


@dataclass(frozen=True)
class Source:
    """What one file, or one folder, says.

    Args:
        records: with file names that start from the root.
        split: of its images; None where their own names tell it.
        splits: of single images, by file name; they come first.
    """

    records: Records
    split: Part | None = None
    splits: dict[str, Part | None] = field(default_factory=dict)

    def split_of(self, name: str) -> Part | None:
        """The split of an image."""
        if name in self.splits:
            return self.splits[name]
        return self.split or split_of(str(PurePosixPath(name).parent))


@dataclass(frozen=True)
class Export:
    """What a folder holds.

    Args:
        kind: in words, such as "YOLO labels".
        sources: what was read.
        labeled: whether every image has one label, and no boxes.
        faults: of files that belong to no source.
    """

    kind: str
    sources: list[Source]
    labeled: bool = False
    faults: list[Fault] = field(default_factory=list)
