"""Which images are COCO's, whatever format their annotations have; their folders or lists tell it."""

from __future__ import annotations

import re
from pathlib import Path

from proxy_tasks.data.dataset import DetectionDataset

OF_COCO = re.compile(r"(instances_)?(train|val)20(14|17)", re.IGNORECASE)
"""Names of the folders and of the lists of COCO's images. val2017 is a part of val2014."""


def is_of_coco(dataset: DetectionDataset, source: Path, root: Path) -> bool:
    """Whether images are COCO's, as the names of their folders or of the list that names them tell.

    Args:
        dataset: of a split.
        source: the first file or folder that the split is read from.
        root: the data set. Of a folder elsewhere, the last two names count.
    """
    folder = dataset.image_folder
    folders = {part for name in dataset.file_names for part in name.split("/")[:-1]}
    for path in (folder, folder.resolve()):
        inside = path.is_relative_to(root)
        folders |= {path.name, *(path.relative_to(root).parts if inside else path.parts[-2:])}
    return any(OF_COCO.fullmatch(name) for name in {*folders, source.stem})
