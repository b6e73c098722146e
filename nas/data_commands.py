"""`nas data shapes|check|prepare`: make, look over and pack COCO-format data."""

from __future__ import annotations

import argparse
import json
from typing import Any

from nas.progress import counter
from nas.spec_commands import Commands


def add_data_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    data = commands.add_parser(
        "data", help="make, check or pack detection data", description="Work with COCO-format data."
    )
    data.set_defaults(run=None, parser=data)
    actions = data.add_subparsers(title="actions", metavar="ACTION")

    shapes = actions.add_parser("shapes", help="generate a detection set; needs no download")
    shapes.add_argument("root", metavar="DIR", help="folder to make")
    shapes.add_argument("--train", type=int, default=800, help="training images; default: 800")
    shapes.add_argument("--val", type=int, default=200, help="validation images; default: 200")
    shapes.add_argument("--size", type=int, default=128, help="side in pixels; default: 128")
    shapes.add_argument("--seed", type=int, default=0, help="the same seed gives the same set; default: 0")
    shapes.add_argument("--labelled", action="store_true", help="one object an image, in a folder by class")
    shapes.set_defaults(run=_shapes)

    check = actions.add_parser(
        "check", help="name everything that is wrong with a set; status 1 if anything must be skipped"
    )
    check.add_argument("root", metavar="DIR", help="a COCO root")
    check.add_argument("--split", choices=("train", "val", "both"), default="both", help="default: both")
    check.add_argument("--masks", action="store_true", help="look over the objects' pixels too")
    check.add_argument("--no-decode", action="store_true", help="do not decode the images, which is quicker")
    check.add_argument("--json", action="store_true", help="print a JSON object")
    check.set_defaults(run=_check)

    prepare = actions.add_parser("prepare", help="decode and resize once, for all workers of this machine")
    prepare.add_argument("root", metavar="DIR", help="a COCO root")
    prepare.add_argument("--size", type=int, default=512, help="longer side in pixels; default: 512")
    prepare.add_argument("--cache", metavar="DIR", required=True, help="as task.data.cache of a training")
    prepare.add_argument(
        "--validation",
        choices=("auto", "val", "held-out"),
        default="auto",
        help="as task.data.validation of a training; default: auto",
    )
    prepare.set_defaults(run=_prepare)


def _shapes(options: argparse.Namespace) -> int:
    from proxy_tasks.shapes import ShapesSpec, make_labelled_shapes, make_shapes

    spec = ShapesSpec(options.train, options.val, options.size, options.seed)
    make = make_labelled_shapes if options.labelled else make_shapes
    root = make(options.root, spec, counter("images"))
    print(f"{root}: {spec.train} training and {spec.val} validation images of {spec.size} px")
    return 0


def _check(options: argparse.Namespace) -> int:
    from proxy_tasks.coco import category_difference, inspect_split

    categories: dict[str, tuple[tuple[int, str], ...]] = {}
    splits = ("train", "val") if options.split == "both" else (options.split,)
    result: dict[str, Any] = {}
    for split in splits:
        usable, faults = inspect_split(options.root, split, decode=not options.no_decode, masks=options.masks)
        categories[split] = usable.categories
        result[split] = {
            "images": len(usable),
            "boxes": len(usable.boxes),
            "crowd": int(usable.crowd.sum()),
            "categories": len(usable.category_ids),
            "faults": [{"where": f.where, "what": f.what, "skipped": f.skipped} for f in faults],
        }
    if len(splits) == 2 and (other := category_difference(categories["train"], categories["val"])):
        what = f"train and val have other categories: {other}"
        result["val"]["faults"].append({"where": options.root, "what": what, "skipped": "all"})
    if options.json:
        print(json.dumps(result))
    else:
        for split, found in result.items():
            for fault in found["faults"]:
                print(f"{fault['where']}: {fault['what']}; skipped: {fault['skipped']}")
            counts = f"{found['images']} images, {found['boxes']} boxes ({found['crowd']} crowd regions)"
            print(f"{split}: {counts}, {found['categories']} categories, {len(found['faults'])} faults")
    skipped = [
        fault for found in result.values() for fault in found["faults"] if fault["skipped"] != "nothing"
    ]
    return 1 if skipped else 0


def _prepare(options: argparse.Namespace) -> int:
    from proxy_tasks.coco import DataError
    from proxy_tasks.data import DetectionData
    from proxy_tasks.pack import open_pack

    if not 16 <= options.size <= 4096:
        raise DataError(f"--size must be in 16..4096 pixels, not {options.size}")
    data = DetectionData(options.root, options.cache, options.validation)
    for name, split in zip(("training", "validation"), data.splits(), strict=True):
        pack = open_pack(split, options.size, data.pack_folder, counter(name))
        print(f"{name}: {len(pack)} images, {pack.pixels.nbytes / 2**20:.1f} MiB")
        for file, reason in pack.skipped:
            print(f"  left out {file}: {reason}")
    return 0
