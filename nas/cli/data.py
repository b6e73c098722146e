"""`nas data shapes|import|check|prepare`: generate, convert, check and decode data sets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import Commands, add_max_pixels_argument
from nas.plugins.import_path import find_target
from nas.utils.terminal import counted, counter, say
from search_space.utils.strict_json import to_json

if TYPE_CHECKING:
    from proxy_tasks.data.dataset import Fault, Inspection, Split
    from proxy_tasks.data.detection import DetectionData
    from proxy_tasks.data.image_folder import LabeledImages
    from proxy_tasks.data.reader import Reader
    from proxy_tasks.data.survey import Survey

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
    _add_left_out_argument(importing)
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
    _add_left_out_argument(check)
    _add_validation_argument(check)
    _add_reader_argument(check)
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
    _add_left_out_argument(prepare)
    _add_validation_argument(prepare)
    _add_reader_argument(prepare)
    prepare.set_defaults(run=_prepare)


def _add_reader_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reader", metavar="FILE.CLASS", help="a reader of your own; default: the one that recognizes DIR"
    )


def _add_validation_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--validation",
        choices=("auto", "val", "held-out"),
        default="auto",
        help="as task.data.validation of a training; default: auto",
    )
    add_max_pixels_argument(parser)


def _add_left_out_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-left-out",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the images, and of the objects, that may be unusable; default: 0.1",
    )


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
    result: dict[str, Any] = {}
    parts, survey = _inspected(options, reader)
    refused, remarks = ([], []) if survey is None else ([*survey.refusals], [*survey.remarks])
    undecodable: dict[str, list[tuple[str, str]]] = {"train": [], "val": []}
    for split, found, source in parts:
        lost = [] if options.no_decode else decoding_faults(found.dataset, _data(options, reader).max_pixels)
        undecodable[split] = [(fault.where, fault.what) for fault in lost]
        faults = [*found.faults, *lost, *category_remarks(found.dataset, source)]
        result[split] = _summary(found, faults, len(lost))
    if survey is not None and (reason := survey.refuse_skipped(undecodable["train"], undecodable["val"])):
        refused.append(reason)
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


def _inspected(
    options: argparse.Namespace, reader: Reader
) -> tuple[list[tuple[Split, Inspection, str]], Survey | None]:
    """Each split with the name of what it is read from, and the survey if both are looked at."""
    from proxy_tasks.data.survey import limit_pixels

    root = Path(options.root)
    data = _data(options, reader)
    if options.split != "both":
        found = limit_pixels(reader.inspect(root, options.split, options.masks), data.max_pixels)
        return [(options.split, found, reader.files(root, options.split)[0].name)], None
    survey = data.survey()
    source = reader.files(root, "train")[0].name
    parts: list[tuple[Split, Inspection, str]] = [("train", survey.training, source)]
    if survey.validation is not None:
        of_val = source if survey.held_out else reader.files(root, "val")[0].name
        parts.append(("val", survey.validation, of_val))
    return parts, survey


def _data(options: argparse.Namespace, reader: Reader) -> DetectionData | LabeledImages:
    """The data of a training with these options."""
    from proxy_tasks.data.detection import DetectionData
    from proxy_tasks.data.image_folder import LabeledImages, LabeledReader

    limits: dict[str, Any] = {
        "cache": getattr(options, "cache", None),
        "max_pixels": options.max_pixels,
        "allow_left_out": getattr(options, "allow_left_out", 0.1),
    }
    if isinstance(reader, LabeledReader):
        return LabeledImages(options.root, **limits)
    masks = getattr(options, "masks", False)
    return DetectionData(options.root, validation=options.validation, reader=reader, masks=masks, **limits)


def _find_reader(options: argparse.Namespace) -> Reader:
    """The reader that the user names, or the one that recognizes the root.

    Raises:
        DataError, PluginError: if there is none.
    """
    from proxy_tasks.data.readers import ALL_READERS, find_reader

    if options.reader is None:
        return find_reader(options.root, ALL_READERS)
    reader: Reader = find_target(options.reader)()
    return reader


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
