"""Makes a set of a folder that a labeling tool has written: COCO's layout, or folders of classes.

A split that the folder names is kept; images of `test` are not taken. Where there is no split, every image
with a hash below a share is a validation image. The hash is that of the image's name in the new set, so an
image stays where it is when others are added.
"""

from __future__ import annotations

import errno
import math
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from proxy_tasks.data.dataset import SPLITS, DataError, Fault, Split
from proxy_tasks.data.exports.export import read_export
from proxy_tasks.data.exports.source import Export
from proxy_tasks.data.exports.splits import SPLIT_WORDS, Part
from proxy_tasks.data.files import USUAL_FOLDERS, name_key
from proxy_tasks.data.geometry import OUTSIDE, VANISHES, clip_box, why_lost
from proxy_tasks.data.limits import LEFT_OUT
from proxy_tasks.data.progress import OnProgress
from proxy_tasks.data.records import ImageRecord, ObjectRecord
from search_space.utils.atomic_file import atomic_folder
from search_space.utils.parsing import shown
from search_space.utils.strict_json import to_json

VAL_SHARE = 0.2
"""Share of the images that become validation images where a folder has no split."""

LONGEST_NAME = 255
"""Bytes that the name of a folder may have."""

TWICE = "is annotated a second time, and only the first annotation is taken"

LOST = tuple(f"the box {reason}" for reason in (OUTSIDE, VANISHES))
"""What is said of boxes that leave nothing on their image."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What was made.

    Args:
        kind: what the folder held, in words.
        images: the number of each split.
        objects: that were taken, one for each image of labeled ones.
        classes: names, by label.
        divided: whether the images were divided by the rule.
        test: how many images of test were not taken.
        faults: of what was left out.
        left_out: how many images that is.
    """

    kind: str
    images: dict[Split, int]
    objects: int
    classes: tuple[str, ...]
    divided: bool
    test: int
    faults: tuple[Fault, ...]
    left_out: int


@dataclass(frozen=True, kw_only=True)
class _Image:
    """An image to copy, with its objects."""

    source: Path
    name: str
    split: Part | None
    record: ImageRecord
    objects: tuple[ObjectRecord, ...]


def import_set(
    root: Path,
    out: Path,
    *,
    val: float = VAL_SHARE,
    allow_left_out: float = LEFT_OUT,
    progress: OnProgress | None = None,
) -> Imported:
    """Makes a set of a folder. The folder is left as it is; images are copied.

    Args:
        root: the folder.
        out: the set to make; it must not be there.
        val: share of validation images where the folder has no split.
        allow_left_out: share of the images, or of the objects, that may be unusable; a single one may always
            be.
        progress: called with (done, all) while images are copied.

    Raises:
        DataError: if the folder holds nothing that is known, too little of it is usable, or `out` is there.
        OSError: if it cannot be written; nothing is left of it then.
    """
    if not 0 < val < 1:
        raise DataError(f"the share of validation images must be above 0 and below 1, not {val:g}")
    if not 0 <= allow_left_out <= 1:
        raise DataError(f"the share that may be left out must be in 0..1, not {allow_left_out:g}")
    if out.exists() or out.is_symlink():
        raise DataError(f"{out}: already exists; choose another folder")
    if out.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"{out} would lie inside {root}, which the import does not change; choose another folder"
        )
    export = read_export(root)
    images, classes, faults, again = _gather(export, root)
    taken = [image for image in images if image.split != "test"]
    lost = _lost_images(export)
    reason = _refuse(export, len(images), faults, allow_left_out, again)
    if not reason and not taken:
        reason = f"no image of {export.kind} belongs to train or val"
    if reason:
        raise DataError(f"{root}: {reason}; correct them, or give a larger --allow-left-out")
    if export.labeled:
        _refuse_folder_names(root, classes)
    placed, divided = _divide(root, taken, val)
    with atomic_folder(out) as making:
        write = _write_labeled if export.labeled else _write_coco
        write(making, placed, classes, progress)
    return Imported(
        kind=export.kind,
        images={split: len(placed[split]) for split in SPLITS},
        objects=sum(len(image.objects) for found in placed.values() for image in found),
        classes=classes,
        divided=divided,
        test=len(images) - len(taken),
        faults=tuple(faults),
        left_out=lost,
    )


def _refuse_folder_names(root: Path, classes: Iterable[str]) -> None:
    """Refuses names of classes that cannot be those of folders.

    Raises:
        DataError: if there is one. A file could lead out of the set, or nobody could write or read it.
    """
    for name in classes:
        if not name or name.startswith(".") or "/" in name or "\0" in name or _bytes_of(name) > LONGEST_NAME:
            raise DataError(f"{root}: the class {shown(name)} cannot be the name of a folder; rename it")
        if name == "images":
            raise DataError(
                f"{root}: the class 'images' has the name of a folder of other formats, so the new set would "
                "not be recognized; rename it"
            )


def _bytes_of(name: str) -> float:
    """The length of a file's name in bytes; infinite if it cannot be written."""
    try:
        return len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return math.inf


def validation_hash(name: str) -> float:
    """A number in 0..1 that a file's name alone decides."""
    text = unicodedata.normalize("NFC", name)
    digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _lost_images(export: Export) -> int:
    """How many images the sources name and do not give."""
    return sum(source.records.named_images - len(source.records.images) for source in export.sources)


def _refuse(export: Export, images: int, faults: Sequence[Fault], share: float, again: int) -> str:
    """Why so much that cannot be used is too much; "" if it is not. A single image or object never is.

    Args:
        export: what was read.
        images: how many can be used.
        faults: all of them; one is the example.
        share: of the images, and of the objects, that may be left out.
        again: objects of images that were annotated before.
    """
    lost = _lost_images(export)
    objects = sum(source.records.named_objects for source in export.sources)
    nowhere = sum(fault.what in LOST for fault in faults)
    lost_objects = objects - sum(len(source.records.objects) for source in export.sources) + nowhere + again
    for left, total, what in ((lost, images + lost, "image"), (lost_objects, objects, "object")):
        if left > max(1, share * total):
            found = [fault for fault in faults if ("image" in fault.skipped) == (what == "image")]
            example = f", such as {found[0].where}: {found[0].what}" if found else ""
            return f"{left} of {total} {what}s of {export.kind} cannot be used{example}"
    return ""


def _gather(export: Export, root: Path) -> tuple[list[_Image], tuple[str, ...], list[Fault], int]:
    """The images of all sources with their objects, the classes of all, every fault, and how many objects
    are left out as their image is annotated twice."""
    classes: dict[str, int] = {}
    for source in export.sources:
        for _, name in source.records.categories:
            classes.setdefault(name, len(classes))
    faults = [*export.faults, *(fault for source in export.sources for fault in source.records.faults)]
    found: list[_Image] = []
    owners: set[str] = set()
    again = 0
    for source in export.sources:
        records = source.records
        labels = [classes[name] for _, name in records.categories]
        by_image: dict[int, list[ObjectRecord]] = {}
        sizes = {image.id: image for image in records.images}
        for record in records.objects:
            image = sizes.get(record.image_id)
            if image is None:
                continue
            if clip_box(record.bbox, image.height, image.width) is None:
                reason = why_lost(record.bbox, image.height, image.width)
                faults.append(Fault(record.where, f"the box {reason}", "the box"))
                continue
            by_image.setdefault(image.id, []).append(replace(record, label=labels[record.label]))
        for image in records.images:
            if image.file_name in owners:
                lost = len(by_image.get(image.id, ()))
                faults.append(Fault(image.file_name, TWICE, "its boxes" if lost else "nothing"))
                again += lost
                continue
            owners.add(image.file_name)
            found.append(
                _Image(
                    source=root / image.file_name,
                    name=_short_name(image.file_name),
                    split=source.split_of(image.file_name),
                    record=image,
                    objects=tuple(by_image.get(image.id, ())),
                )
            )
    return _with_unique_names(found), tuple(classes), faults, again


def _short_name(name: str) -> str:
    """A name without the folders that say nothing of the image, such as train/images/."""
    parts = PurePosixPath(unicodedata.normalize("NFC", name)).parts
    kept = [
        part for part in parts[:-1] if part.lower() not in USUAL_FOLDERS and part.lower() not in SPLIT_WORDS
    ]
    return "/".join([*kept, parts[-1]])


def _with_unique_names(images: list[_Image]) -> list[_Image]:
    counts = Counter(name_key(image.name) for image in images)
    return [
        image if counts[name_key(image.name)] == 1 else replace(image, name=image.record.file_name)
        for image in images
    ]


def _divide(root: Path, images: Iterable[_Image], share: float) -> tuple[dict[Split, list[_Image]], bool]:
    """The images of each split, by name; and whether the rule divided them."""
    ordered = sorted(images, key=lambda image: image.name)
    train = [image for image in ordered if image.split != "val"]
    val = [image for image in ordered if image.split == "val"]
    if train and val:
        return {"train": train, "val": val}, False
    if len(ordered) < 2:
        raise DataError(f"{root}: one image cannot be divided into train and val")
    by_hash = sorted(ordered, key=lambda image: validation_hash(image.name))
    count = sum(validation_hash(image.name) < share for image in by_hash)
    count = min(max(count, 1), len(by_hash) - 1)
    chosen = {image.name for image in by_hash[:count]}
    return {
        "train": [image for image in ordered if image.name not in chosen],
        "val": [image for image in ordered if image.name in chosen],
    }, True


def _write_coco(
    folder: Path, placed: dict[Split, list[_Image]], classes: tuple[str, ...], progress: OnProgress | None
) -> None:
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    total, done = sum(map(len, placed.values())), 0
    (folder / "annotations").mkdir(parents=True)
    for split, images in placed.items():
        data: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": categories}
        for number, image in enumerate(images, start=1):
            record = image.record
            data["images"].append(
                {"id": number, "file_name": image.name, "height": record.height, "width": record.width}
            )
            for found in image.objects:
                data["annotations"].append(_annotation(found, len(data["annotations"]) + 1, number))
            _copy(image.source, folder / "images" / split / image.name)
            done += 1
            if progress is not None:
                progress(done, total)
        text = to_json(data)
        (folder / "annotations" / f"instances_{split}.json").write_text(text, encoding="utf-8")


def _annotation(record: ObjectRecord, number: int, image: int) -> dict[str, Any]:
    x, y, w, h = record.bbox
    return {
        "id": number,
        "image_id": image,
        "category_id": record.label + 1,
        "bbox": [x, y, w, h],
        "area": record.area if record.area is not None else w * h,
        "iscrowd": int(record.crowd),
        **({} if record.segmentation is None else {"segmentation": record.segmentation}),
    }


def _write_labeled(
    folder: Path, placed: dict[Split, list[_Image]], classes: tuple[str, ...], progress: OnProgress | None
) -> None:
    total, done = sum(map(len, placed.values())), 0
    for split, images in placed.items():
        for name in classes:
            (folder / split / name).mkdir(parents=True)
        members: dict[str, list[_Image]] = {}
        for image in images:
            members.setdefault(classes[image.objects[0].label], []).append(image)
        for name, found in members.items():
            for image, inner in zip(found, _names_in_class(found, name), strict=True):
                _copy(image.source, folder / split / name / inner)
                done += 1
                if progress is not None:
                    progress(done, total)


def _names_in_class(images: Sequence[_Image], name: str) -> list[str]:
    """The names of a class's images, without its own folder unless two of them would then be the same."""
    short = [image.name.removeprefix(f"{name}/") for image in images]
    unique = len(set(map(name_key, short))) == len(short)
    return short if unique else [image.name for image in images]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():  # Where upper and lower case are the same, say.
        raise FileExistsError(errno.EEXIST, "two images have this name", str(target))
    shutil.copyfile(source, target)
