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


class ReaderError(DataError):
    """A reader gives something else than it should; the message names its class and the method."""


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
        dataset = inspect_with(self, root, split, masks).dataset
        if len(dataset) == 0:
            where = files_of(self, root, split)[0]
            raise DataError(f"{where}: no usable image; nas data check {root} names the faults")
        return dataset


def inspect_with(reader: Reader, root: Path, split: Split, masks: bool = False) -> Inspection:
    """What a reader finds in a split; see `Reader.inspect`.

    Raises:
        DataError: see there.
        ReaderError: if the reader, which may be a user's own, gives anything else.
    """
    found: object = reader.inspect(root, split, masks)
    if not isinstance(found, Inspection):
        raise ReaderError(f"{type(reader).__name__}.inspect must give an Inspection, not {_kind(found)}")
    if not isinstance(found.dataset, DetectionDataset):
        given = _kind(found.dataset)
        raise ReaderError(
            f"{type(reader).__name__}.inspect must give an Inspection of a dataset, not of {given}"
        )
    return found


def files_of(reader: Reader, root: Path, split: Split) -> Sequence[Path]:
    """What a split is read from; see `Reader.files`.

    Raises:
        DataError: see there.
        ReaderError: if the reader, which may be a user's own, gives anything else.
    """
    found: object = reader.files(root, split)
    if not isinstance(found, (list, tuple)):
        raise ReaderError(f"{type(reader).__name__}.files must give a list of paths, not {_kind(found)}")
    other = next((path for path in found if not isinstance(path, Path)), None)
    if other is not None or not found:
        given = _kind(other) if found else "an empty list"
        raise ReaderError(f"{type(reader).__name__}.files must give a list of pathlib.Path, not {given}")
    return found


def _kind(value: object) -> str:
    """What a value is, for a message."""
    return "None; is a return missing?" if value is None else f"a {type(value).__name__}"
