"""What a data format is to the rest of the program: a reader.

A format of your own is a subclass of `Reader` with a name and the method `inspect`. It is a frozen dataclass:
what it has read is kept in memory as long as the reader's settings and the files stay the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from proxy_tasks.data.dataset import DataError, DetectionDataset, Inspection, Split


class Reader(ABC):
    """Reads the data sets of one format.

    Args:
        name: the format's name, such as "COCO".
        layout: what a root of the format holds, for the message about a root that no reader recognizes.
    """

    name: ClassVar[str]
    layout: ClassVar[str] = ""

    def recognizes(self, root: Path) -> bool:
        """Whether a folder looks like a set of this format. It takes a few look-ups and reads no file.

        A reader that a configuration names is used without asking.
        """
        return False

    @abstractmethod
    def inspect(self, root: Path, split: Split, masks: bool = False) -> Inspection:
        """The usable part of a split, which may be empty, and everything that is wrong with the rest.

        Images are not decoded.

        Args:
            root: the data set.
            split: which part of it.
            masks: whether the objects' pixels are read too; objects without pixels are then left out.

        Raises:
            DataError: if the split is missing, or is not of this format at all.
        """

    def files(self, root: Path, split: Split) -> Sequence[Path]:
        """What a split is read from, at least one path. Messages about the split name the first.

        The split is read again when one of them changes.

        Raises:
            DataError: if the split is missing.
        """
        return [root]

    def read(self, root: Path, split: Split, masks: bool = False) -> DetectionDataset:
        """The usable part of a split.

        Raises:
            DataError: if nothing is usable; see also `inspect`.
        """
        dataset = self.inspect(root, split, masks).dataset
        if len(dataset) == 0:
            where = self.files(root, split)[0]
            raise DataError(f"{where}: no usable image; nas data check {root} names the faults")
        return dataset
