"""Pascal VOC's XML, a file for each image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from proxy_tasks.data.dataset import Fault
from proxy_tasks.data.exports.contents import Contents
from proxy_tasks.data.exports.objects import sort_categories
from proxy_tasks.data.exports.source import Export, Source
from proxy_tasks.data.exports.splits import SPLIT_WORDS, Part, split_of
from proxy_tasks.data.exports.xml_files import xml_roots
from proxy_tasks.data.files import name_key, read_lines
from proxy_tasks.data.image_io import MOST_PIXELS, read_image_size
from proxy_tasks.data.pascal_voc import read_image_record, read_object_records
from proxy_tasks.data.records import ImageRecord, Records
from proxy_tasks.data.yolo_labels import LABELS_NAMES
from search_space.utils.parsing import shown


def read_voc_export(contents: Contents) -> Export | None:
    """Reads Pascal VOC's XML; None without one."""
    roots, faults = xml_roots(contents, "annotation")
    if not roots:
        return None
    names = {(e.findtext("name") or "").strip() for _, root in roots for e in root.iter("object")} - {""}
    ordered = _listed_names(contents, names)
    labels = {name: i for i, name in enumerate(ordered or sorted(names))}
    listed = _image_sets(contents)
    records = Records(image_folder=contents.root, faults=faults, named_images=len(faults))
    splits: dict[str, Part | None] = {}
    for number, (path, root) in enumerate(roots, start=1):
        where, given = contents.relative(path), root.findtext("filename")
        picture = contents.picture(given, path)
        if picture is None or name_key(picture.stem) != name_key(path.stem):
            same = contents.by_stem.get(name_key(path.stem), [])
            picture = contents.nearest(same, [path.stem], path) or picture
        records.named_images += 1
        if picture is None:
            records.faults.append(Fault(where, f"no image {shown(given)}", "the image"))
            continue
        image = read_image_record(root, where, contents.relative(picture), number)
        if isinstance(image, Fault):
            size = read_image_size(picture, MOST_PIXELS)
            if size is None:
                records.faults.append(image)
                continue
            name = contents.relative(picture)
            image = ImageRecord(id=number, file_name=name, height=size[0], width=size[1])
        records.images.append(image)
        splits[image.file_name] = listed.get(name_key(path.stem)) or split_of(
            str(PurePosixPath(where).parent)
        )
        found, wrong = read_object_records(root, where, number, labels)
        records.objects += found
        records.faults += wrong
        records.named_objects += len(found) + len(wrong)
    records.categories = [(i + 1, name) for name, i in labels.items()]
    records = sort_categories(records) if ordered is None else records
    return Export("Pascal VOC's XML", [Source(records, splits=splits)])


def _image_sets(contents: Contents) -> dict[str, Part | None]:
    """The split of each image by its name without ending, from ImageSets/Main/train.txt and the like."""
    found: dict[str, Part | None] = {}
    for path in contents.others[".txt"]:
        split = SPLIT_WORDS.get(path.stem.lower())
        if split is None or path.parent.name not in ("Main", "ImageSets"):
            continue
        for _, line in read_lines(path):
            found[name_key(PurePosixPath(line.replace("\\", "/")).stem)] = split
    return found


def _listed_names(contents: Contents, names: Iterable[str]) -> list[str] | None:
    """The classes in the order of a file that names all of them."""
    for path in (*contents.others[".txt"], *contents.others[".names"]):
        if path.name in LABELS_NAMES:
            listed = [line for _, line in read_lines(path)]
            if set(names) <= set(listed) and len(set(listed)) == len(listed):
                return listed
    return None
