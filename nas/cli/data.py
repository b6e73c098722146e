"""`nas data shapes|check|prepare`: generate, check and decode data sets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import Commands
from nas.plugins import find_target
from nas.utils.terminal import counter

if TYPE_CHECKING:
    from proxy_tasks.data.dataset import DetectionDataset, Fault
    from proxy_tasks.data.reader import Reader

FORMATS = "a folder in COCO, YOLO or Pascal VOC format, or of labeled images"


def add_data_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    data = commands.add_parser(
        "data", help="generate, check or prepare data sets", description="Work with data sets."
    )
    data.set_defaults(run=None, parser=data)
    actions = data.add_subparsers(title="actions", metavar="ACTION")

    shapes = actions.add_parser("shapes", help="generate a detection set; needs no download")
    shapes.add_argument("root", metavar="DIR", help="folder to make")
    shapes.add_argument("--train", type=int, default=800, help="training images; default: 800")
    shapes.add_argument("--val", type=int, default=200, help="validation images; default: 200")
    shapes.add_argument("--size", type=int, default=128, help="side in pixels; default: 128")
    shapes.add_argument("--seed", type=int, default=0, help="the same seed gives the same set; default: 0")
    shapes.add_argument("--labeled", action="store_true", help="one object an image, in a folder by class")
    shapes.set_defaults(run=_shapes)

    check = actions.add_parser(
        "check", help="name everything that is wrong with a set; status 1 if anything must be skipped"
    )
    check.add_argument("root", metavar="DIR", help=FORMATS)
    check.add_argument("--split", choices=("train", "val", "both"), default="both", help="default: both")
    check.add_argument("--masks", action="store_true", help="look over the objects' pixels too")
    check.add_argument("--no-decode", action="store_true", help="do not decode the images, which is quicker")
    check.add_argument("--json", action="store_true", help="print a JSON object")
    _add_reader_argument(check)
    check.set_defaults(run=_check)

    prepare = actions.add_parser("prepare", help="decode and resize once, for all workers of this machine")
    prepare.add_argument("root", metavar="DIR", help=FORMATS)
    prepare.add_argument("--size", type=int, default=512, help="longer side in pixels; default: 512")
    prepare.add_argument("--cache", metavar="DIR", required=True, help="as task.data.cache of a training")
    prepare.add_argument(
        "--validation",
        choices=("auto", "val", "held-out"),
        default="auto",
        help="as task.data.validation of a training; default: auto",
    )
    _add_reader_argument(prepare)
    prepare.set_defaults(run=_prepare)


def _add_reader_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reader", metavar="FILE.CLASS", help="a format of your own; default: the one that recognizes DIR"
    )


def _shapes(options: argparse.Namespace) -> int:
    from proxy_tasks.data.shapes import ShapesConfig, make_labeled_shapes, make_shapes

    config = ShapesConfig(train=options.train, val=options.val, size=options.size, seed=options.seed)
    make = make_labeled_shapes if options.labeled else make_shapes
    root = make(options.root, config, counter("images"))
    print(f"{root}: {config.train} training and {config.val} validation images of {config.size} px")
    return 0


def _check(options: argparse.Namespace) -> int:
    from proxy_tasks.data.dataset import SPLITS, Split, category_difference
    from proxy_tasks.data.readers import inspect_split

    reader = _find_reader(options)
    splits: tuple[Split, ...] = SPLITS if options.split == "both" else (options.split,)
    result: dict[str, Any] = {}
    datasets = []
    for split in splits:
        dataset, faults = inspect_split(
            options.root, split, decode=not options.no_decode, masks=options.masks, reader=reader
        )
        result[split] = _summary(dataset, faults)
        datasets.append(dataset)
    other = category_difference(datasets[0].categories, datasets[-1].categories)
    if other:
        what = f"train and val have other categories: {other}"
        result["val"]["faults"].append({"where": options.root, "what": what, "skipped": "all"})
    if options.json:
        print(json.dumps({"format": reader.name, **result}))
    else:
        print(f"{options.root}: {reader.name}")
        _print_check(result)
    skipped = [
        fault for found in result.values() for fault in found["faults"] if fault["skipped"] != "nothing"
    ]
    return 1 if skipped else 0


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


def _summary(dataset: DetectionDataset, faults: list[Fault]) -> dict[str, Any]:
    return {
        "images": len(dataset),
        "boxes": len(dataset.boxes),
        "crowd": int(dataset.crowd.sum()),
        "categories": len(dataset.category_ids),
        "faults": [{"where": f.where, "what": f.what, "skipped": f.skipped} for f in faults],
    }


def _print_check(result: dict[str, Any]) -> None:
    for split, found in result.items():
        for fault in found["faults"]:
            print(f"{fault['where']}: {fault['what']}; skipped: {fault['skipped']}")
        counts = f"{found['images']} images, {found['boxes']} boxes ({found['crowd']} crowd regions)"
        print(f"{split}: {counts}, {found['categories']} categories, {len(found['faults'])} faults")


def _prepare(options: argparse.Namespace) -> int:
    from proxy_tasks.data.dataset import DataError
    from proxy_tasks.data.detection import DetectionData
    from proxy_tasks.data.image_folder import LabeledImages, LabeledReader
    from proxy_tasks.data.pixel_cache import open_cache, pixel_folder

    if not 16 <= options.size <= 4096:
        raise DataError(f"--size must be in 16..4096 pixels, not {options.size}")
    reader = _find_reader(options)
    if isinstance(reader, LabeledReader):
        splits = LabeledImages(options.root, options.cache).splits()
    else:
        splits = DetectionData(options.root, validation=options.validation, reader=reader).splits()
    for name, split in zip(("training", "validation"), splits, strict=True):
        cache = open_cache(split, options.size, pixel_folder(Path(options.cache)), counter(name))
        print(f"{name}: {len(cache)} images, {cache.pixels.nbytes / 2**20:.1f} MiB")
        for file, reason in cache.skipped:
            print(f"  left out {file}: {reason}")
    return 0
