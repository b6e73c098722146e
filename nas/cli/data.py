"""`nas data shapes|import|check|prepare`: generate, convert, check and decode data sets."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import Commands, add_max_pixels_argument
from nas.cli.data_reader import add_left_out_argument, add_reader_argument, named_reader
from nas.utils.terminal import counted, counter, say
from search_space.utils.strict_json import to_json

if TYPE_CHECKING:
    from proxy_tasks.data.dataset import Fault, Inspection
    from proxy_tasks.data.detection import DetectionData
    from proxy_tasks.data.image_folder import LabeledImages
    from proxy_tasks.data.reader import Reader
    from proxy_tasks.data.split_survey import SplitSurvey

FORMATS = "a folder in COCO, YOLO or Pascal VOC format, or of labeled images"

EXPORTS = (
    "a folder in the format of YOLO, Pascal VOC, CVAT, COCO, Label Studio or Roboflow, "
    "or one folder of images for each class"
)


def add_data_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    data = commands.add_parser(
        "data", help="generate, import, check or prepare data sets", description="Work with data sets."
    )
    data.set_defaults(run=None, parser=data)
    actions = data.add_subparsers(title="actions", metavar="ACTION")

    shapes = actions.add_parser("shapes", help="generate a detection set; needs no download")
    shapes.add_argument("root", metavar="DIR", help="folder to make")
    shapes.add_argument("--train", type=int, default=800, help="training images; default: 800")
    shapes.add_argument("--val", type=int, default=200, help="validation images; default: 200")
    shapes.add_argument("--size", type=int, default=128, help="side in pixels; default: 128")
    shapes.add_argument("--seed", type=int, default=0, help="the same seed gives the same set; default: 0")
    shapes.add_argument(
        "--labeled", action="store_true", help="one object in each image, one folder for each class"
    )
    shapes.set_defaults(run=_shapes)

    importing = actions.add_parser(
        "import", help="convert the output of a labeling tool into a data set with train and val"
    )
    importing.add_argument("root", metavar="DIR", help=EXPORTS)
    importing.add_argument(
        "--out", metavar="SET", required=True, help="the data set to make; it must not exist yet"
    )
    importing.add_argument(
        "--val",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of validation images where DIR has no split; default: 0.2",
    )
    add_left_out_argument(importing)
    importing.set_defaults(run=_import)

    check = actions.add_parser(
        "check",
        help="list all faults of a data set; status 1 if a training would leave something out",
    )
    check.add_argument("root", metavar="DIR", help=FORMATS)
    check.add_argument("--split", choices=("train", "val", "both"), default="both", help="default: both")
    check.add_argument("--masks", action="store_true", help="check the masks of the objects too")
    check.add_argument("--no-decode", action="store_true", help="do not decode the images, which is quicker")
    check.add_argument("--json", action="store_true", help="print a JSON object")
    add_left_out_argument(check)
    _add_validation_argument(check)
    add_reader_argument(check)
    check.set_defaults(run=_check)

    prepare = actions.add_parser("prepare", help="decode and resize once, for all workers of this machine")
    prepare.add_argument("root", metavar="DIR", help=FORMATS)
    prepare.add_argument(
        "--size",
        type=int,
        default=512,
        help="longer side in pixels, the task.train.image_size of your trainings (cpu: 128, paper: 512); "
        "default: 512",
    )
    prepare.add_argument(
        "--cache",
        metavar="DIR",
        required=True,
        help="folder of the results; the task.data.cache of your trainings",
    )
    add_left_out_argument(prepare)
    _add_validation_argument(prepare)
    add_reader_argument(prepare)
    prepare.set_defaults(run=_prepare)


def _add_validation_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--validation",
        choices=("auto", "val", "held-out"),
        default="auto",
        help="as task.data.validation of a training; default: auto",
    )
    add_max_pixels_argument(parser)


def _shapes(options: argparse.Namespace) -> int:
    from proxy_tasks.data.shapes import ShapesConfig, make_labeled_shapes, make_shapes

    config = ShapesConfig(train=options.train, val=options.val, size=options.size, seed=options.seed)
    make = make_labeled_shapes if options.labeled else make_shapes
    root = make(options.root, config, counter("images"))
    say(f"{root}: {config.train} training and {config.val} validation images of {config.size} px")
    return 0


def _import(options: argparse.Namespace) -> int:
    from proxy_tasks.data.import_set import import_set

    root, out = Path(options.root), Path(options.out)
    made = import_set(
        root, out, val=options.val, allow_left_out=options.allow_left_out, progress=counter("images")
    )
    _print_faults([_as_dict(fault) for fault in made.faults])
    if made.test:
        say(f"not imported: {counted(made.test, 'image')} of the test split")
    if made.divided:
        say(f"{root} has no split: about {options.val:g} of the images become val, chosen by their names")
    images = f"{made.images['train']} training and {made.images['val']} validation images"
    lost = f"; {counted(made.left_out, 'image')} left out" if made.left_out else ""
    names = ", ".join(made.classes[:10]) + (" and more" if len(made.classes) > 10 else "")
    objects = f"{counted(made.objects, 'object')} of {counted(len(made.classes), 'class', 'classes')}"
    say(f"{out}: {images}, {objects} ({names}), from {made.kind}{lost}")
    say(f"check it: nas data check {out}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from proxy_tasks.data.readers import category_remarks
    from proxy_tasks.data.records import decoding_faults

    reader = _find_reader(options)
    data = _data(options, reader)
    checked = _checked(options, reader, data)
    result: dict[str, Any] = {}
    refused, remarks = [*checked.refusals], checked.remarks
    for part, source in checked.parts:
        dataset = part.found.dataset
        lost = [] if options.no_decode else decoding_faults(dataset, data.max_pixels, counter("images"))
        names = {str(dataset.image_folder / name): name for name in dataset.file_names} if lost else {}
        reason = part.refuse_skipped([(names[fault.where], fault.what) for fault in lost])
        refused += [reason] if reason else []
        faults = [*part.found.faults, *lost, *category_remarks(dataset, source)]
        result[part.name] = _summary(part.found, faults, len(lost))
    if options.json:
        print(to_json({"format": reader.name, **result, "refused": refused, "remarks": remarks}))
    else:
        say(f"{options.root}: {reader.name}")
        for name, summary in result.items():
            _print_faults(summary["faults"])
            say(f"{name}: {_describe(summary)}")
        for remark in remarks:
            say(remark)
        for reason in refused:
            say(f"a training refuses this set: {reason}")
    skipped = any(_skips(fault) for summary in result.values() for fault in summary["faults"])
    return 1 if skipped or refused or remarks else 0


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """What a check looks at.

    Args:
        parts: the splits that are asked for, each with the name of what it is read from.
        refusals: why a training does not use them.
        remarks: what spoils a training that runs nevertheless.
    """

    parts: list[tuple[SplitSurvey, str]]
    refusals: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def _checked(options: argparse.Namespace, reader: Reader, data: DetectionData | LabeledImages) -> _Checked:
    """The splits that are asked for, as a training uses them.

    Raises:
        DataError: if one of them is not there, or the reader is wrong.
    """
    from proxy_tasks.data.dataset import DataError
    from proxy_tasks.data.reader import ReaderError

    try:
        survey = data.survey()
    except DataError as error:
        held_out = options.validation == "held-out"  # Of train: the split val says nothing of it.
        if options.split != "val" or held_out or isinstance(error, ReaderError):
            raise
        return _val_alone(options, reader, data)
    train, val = survey.split_surveys()
    parts = [] if options.split == "val" else [(train, survey.sources["train"].name)]
    if options.split != "train" and val is not None:
        parts.append((val, survey.sources["val"].name))
    if options.split == "both":
        return _Checked(parts=parts, refusals=survey.refusals, remarks=survey.remarks)
    if not parts:
        raise DataError(survey.refusals_of["val"][0])
    remarks = survey.remarks if options.split == "train" else ()
    return _Checked(parts=parts, refusals=survey.refusals_of[options.split], remarks=remarks)


def _val_alone(options: argparse.Namespace, reader: Reader, data: DetectionData | LabeledImages) -> _Checked:
    """The split val of a set without train, as `nas eval` uses it."""
    from proxy_tasks.data.limits import Limits
    from proxy_tasks.data.sides import read_side
    from proxy_tasks.data.split_survey import SplitSurvey

    root, limits = Path(options.root), Limits(data.max_pixels, data.allow_left_out)
    val = read_side(reader, root, "val", limits, options.masks)
    part = SplitSurvey(root=root, name="val", found=val.found, limits=limits)
    return _Checked(parts=[(part, val.source.name)], refusals=tuple(val.refuse(root, limits)))


def _data(options: argparse.Namespace, reader: Reader) -> DetectionData | LabeledImages:
    """The data of a training with these options.

    Raises:
        DataError: if an option is out of its range, or means nothing for labeled images.
    """
    from proxy_tasks.data.dataset import DataError
    from proxy_tasks.data.detection import DetectionData
    from proxy_tasks.data.image_folder import LabeledImages, LabeledReader

    limits: dict[str, Any] = {
        "cache": getattr(options, "cache", None),
        "max_pixels": options.max_pixels,
        "allow_left_out": getattr(options, "allow_left_out", 0.1),
    }
    masks = getattr(options, "masks", False)
    if isinstance(reader, LabeledReader):
        if masks:
            raise DataError(f"{options.root}: labeled images have no masks; leave out --masks")
        if options.validation == "held-out":
            raise DataError(
                f"{options.root}: a training on labeled images always uses their val; leave out --validation "
                f"held-out. nas data import {options.root} --out SET divides images without val"
            )
        return LabeledImages(options.root, **limits)
    return DetectionData(options.root, validation=options.validation, reader=reader, masks=masks, **limits)


def _find_reader(options: argparse.Namespace) -> Reader:
    """The reader that the user names, or the one that recognizes the root.

    Raises:
        DataError, PluginError: if there is none.
    """
    from proxy_tasks.data.readers import ALL_READERS, find_reader

    return named_reader(options.reader) or find_reader(options.root, ALL_READERS)


def _summary(found: Inspection, faults: list[Fault], undecodable: int) -> dict[str, Any]:
    dataset = found.dataset
    return {
        "images": len(dataset),
        "boxes": len(dataset.boxes),
        "crowd": int(dataset.crowd.sum()),
        "categories": len(dataset.category_ids),
        "left_out_images": found.left_out_images + undecodable,
        "left_out_objects": found.left_out_objects,
        "faults": [_as_dict(fault) for fault in faults],
    }


def _as_dict(fault: Fault) -> dict[str, str]:
    return {"where": fault.where, "what": fault.what, "skipped": fault.skipped}


def _print_faults(faults: list[dict[str, str]]) -> None:
    for fault in faults:
        skipped = f"; skipped: {fault['skipped']}" if _skips(fault) else ""
        say(f"{fault['where']}: {fault['what']}{skipped}")


def _skips(fault: dict[str, str]) -> bool:
    """Whether a training leaves something out for it; else it is a remark."""
    return fault["skipped"] != "nothing"


def _describe(summary: dict[str, Any]) -> str:
    skips = [_skips(fault) for fault in summary["faults"]]
    crowd = counted(summary["crowd"], "crowd region")
    parts = [
        counted(summary["images"], "image"),
        f"{counted(summary['boxes'], 'box', 'boxes')} ({crowd})",
        counted(summary["categories"], "category", "categories"),
        counted(sum(skips), "fault"),
    ]
    remarks = len(skips) - sum(skips)
    return ", ".join(parts + ([counted(remarks, "remark")] if remarks else []))


def _prepare(options: argparse.Namespace) -> int:
    from proxy_tasks.data.dataset import DataError
    from proxy_tasks.data.pixel_cache import open_caches

    if not 16 <= options.size <= 4096:
        raise DataError(f"--size must be in 16..4096 pixels, not {options.size}")
    data = _data(options, _find_reader(options))
    caches = open_caches(data.survey(), options.size, Path(options.cache), counter)
    for name, cache in zip(("training", "validation"), caches, strict=True):
        say(f"{name}: {len(cache)} images, {cache.pixels.nbytes / 2**20:.1f} MiB")
        for file, reason in cache.skipped:
            say(f"  left out {file}: {reason}")
    return 0
