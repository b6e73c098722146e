"""The formats that are known, and which of them a folder holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proxy_tasks.data.coco import CocoReader
from proxy_tasks.data.dataset import DataError, DetectionDataset, Fault, Inspection, Split, unused_categories
from proxy_tasks.data.exports.advice import advise, seem_boxed
from proxy_tasks.data.files import is_file
from proxy_tasks.data.image_folder import LabeledReader
from proxy_tasks.data.image_io import MAX_PIXELS
from proxy_tasks.data.limits import limit_pixels
from proxy_tasks.data.pascal_voc import PascalVocReader
from proxy_tasks.data.reader import Reader, files_of, inspect_with
from proxy_tasks.data.records import decoding_faults
from proxy_tasks.data.yolo import YoloReader
from search_space.utils.parsing import shown

__all__ = ["ALL_READERS", "READERS", "Reader", "find_reader", "inspect_split", "read_split"]

READERS: tuple[Reader, ...] = (CocoReader(), YoloReader(), PascalVocReader())
"""The formats with boxes."""


LABELED = LabeledReader()

ALL_READERS: tuple[Reader, ...] = (*READERS, LABELED)
"""All formats, labeled images included."""


def find_reader(root: str | Path, readers: Sequence[Reader] = READERS) -> Reader:
    """The one reader that recognizes a folder.

    Raises:
        DataError: if the folder is missing, or if no reader or several recognize it.
    """
    root = Path(root)
    if is_file(root):
        raise DataError(f"{root}: a file; give the folder of a data set (unpack an archive first)")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    found = [reader for reader in readers if reader.recognizes(root)]
    if not found and LABELED not in readers and LABELED.recognizes(root) and not seem_boxed(root):
        raise DataError(
            f"{root}: labeled images, which have no boxes; use task=classification to train a classifier"
        )
    if not found:
        wanted = "; ".join(f"{reader.name}: {reader.layout}" for reader in readers)
        advice = advise(root, readers)
        raise DataError(f"{root}: holds no data set that is read directly. {advice}Looked for {wanted}")
    if len(found) > 1:
        names = " and ".join(reader.name for reader in found)
        first = f"proxy_tasks.{type(found[0]).__name__}"
        raise DataError(
            f"{root}: looks like {names}; choose: task.data.reader._target_={first} or --reader {first}"
        )
    return found[0]


def read_split(root: str | Path, split: Split, masks: bool = False) -> DetectionDataset:
    """The usable part of a split, in whatever format it is; see `Reader.read`."""
    return find_reader(root).read(Path(root), split, masks)


def inspect_split(
    root: str | Path, split: Split, decode: bool = True, masks: bool = False, reader: Reader | None = None
) -> Inspection:
    """The usable part of a split, which may be empty, and everything that is wrong with the rest.

    Args:
        root: the data set.
        split: which part of it.
        decode: whether every image is decoded, which finds truncated files.
        masks: whether the objects' pixels are read too.
        reader: of the format; by default the one that recognizes the root.

    Raises:
        DataError: if no reader recognizes the root, or files are missing or are not of the format.
    """
    root = Path(root)
    reader = reader if reader is not None else find_reader(root)
    found = limit_pixels(inspect_with(reader, root, split, masks), MAX_PIXELS)
    decoded = decoding_faults(found.dataset) if decode else []
    source = files_of(reader, root, split)[0].name
    faults = [*found.faults, *decoded, *category_remarks(found.dataset, source)]
    return Inspection(found.dataset, faults, found.named_images, found.named_objects)


def category_remarks(dataset: DetectionDataset, source: str) -> list[Fault]:
    """The categories without an object.

    Args:
        dataset: of a split.
        source: what names them, for the message.
    """
    return [
        Fault(f"{source} category {number}", f"{shown(name)} has no box", "nothing")
        for number, name in unused_categories(dataset)
    ]
