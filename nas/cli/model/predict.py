"""`nas predict`: finds objects in images."""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import Commands, add_max_pixels_argument
from nas.cli.model_path import find_model
from nas.utils.terminal import announce_loading, complain, say
from search_space.utils.json_text import parse_json
from search_space.utils.regular_file import read_regular
from search_space.utils.strict_json import to_json

if TYPE_CHECKING:
    from proxy_tasks.evaluation.inference import Objects


def add_predict_command(commands: Commands) -> None:
    """Adds `nas predict`."""
    parser = commands.add_parser("predict", help="find objects in images; writes drawings and JSON")
    parser.add_argument("model", metavar="MODEL", help="a model file (.safetensors), or a training's folder")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files, or folders of them")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--score", type=float, default=0.3, help="leave out objects with a lower score; default: 0.3"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto; default: auto")
    add_max_pixels_argument(parser)
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    source = find_model(options.model)
    if not 0 <= options.score <= 1:
        raise ValueError(f"--score must be in 0..1, not {options.score}")
    missing = [image for image in options.images if not Path(image).exists()]
    if missing:
        raise ValueError(f"{missing[0]}: no such image or folder")
    announce_loading(sys.stderr)
    from nas.utils.files import replace_file
    from proxy_tasks.distributed import select_device
    from proxy_tasks.evaluation.inference import draw, predict
    from proxy_tasks.models.model_file import load_model

    device = select_device(options.device)
    model, net, _ = load_model(source, device)
    out = Path(options.out)
    paths = _image_files([Path(image) for image in options.images], out)
    names = _names(paths)
    inputs = {path.resolve() for path in paths}
    for name in names.values():
        picture, data = out / f"{name}.png", out / f"{name}.json"
        if picture.resolve() in inputs:
            raise ValueError(f"{picture} is one of the images; give another --out")
        if data.exists() and not _is_ours(data):
            raise ValueError(f"{data} exists and was not written by this command; give another --out")
        if picture.exists() and not data.exists():  # The data are written first.
            raise ValueError(f"{picture} exists and was not written by this command; give another --out")
    bad = 0
    for path, objects in predict(model, net, paths, options.score, device, options.max_pixels):
        if isinstance(objects, str):
            complain(f"{path}: this image cannot be read: {objects}")
            bad += 1
            continue
        out.mkdir(parents=True, exist_ok=True)  # Not before there is something to keep.
        replace_file(out / f"{names[path]}.json", to_json(_as_data(path, objects), indent=1) + "\n")
        draw(path, objects, out / f"{names[path]}.png", options.max_pixels)
        say(f"{path}: {_count(objects, options.score)}: {out / names[path]}.png and .json")
    return 1 if bad else 0


def _image_files(paths: list[Path], out: Path) -> list[Path]:
    """The files, and the images of the folders among them, without earlier results.

    Raises:
        ValueError: if a folder holds no image.
    """
    from proxy_tasks.data.files import list_pictures
    from proxy_tasks.data.image_io import IMAGE_ENDINGS

    results, files = out.resolve(), []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        there = list_pictures(path)
        found = [image for image in there.images if not image.resolve().is_relative_to(results)]
        if not found:
            why = "; ".join(fault.what for fault in there.faults)
            known = why or f"the name of an image ends in {', '.join(IMAGE_ENDINGS)}"
            raise ValueError(f"{path}: the folder holds no image; {known}")
        for fault in there.faults:
            complain(f"{fault.where}: {fault.what}")
        files += found
    return files


def _count(objects: Objects, score: float) -> str:
    """How many objects were found; where there are none, what would show some."""
    count = len(objects.scores)
    if count:
        return f"{count} object{'s' if count > 1 else ''}"
    if objects.highest is None:
        return "0 objects; the network has scored no object"
    lower = math.floor(objects.highest * 100) / 100
    return (
        f"0 objects with a score of {score:g} or more; the highest score is {objects.highest:.4f}, "
        f"so give --score {lower:g} to see it"
    )


def _names(paths: list[Path]) -> dict[Path, str]:
    """A name for every image's results; images of one name in several folders get numbers."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    numbers: dict[str, Iterator[int]] = defaultdict(lambda: count(1))  # Each goes on where it was.
    for path in dict.fromkeys(paths):
        tries = (f"{path.stem}-{i}" if i > 1 else path.stem for i in numbers[path.stem])
        name = next(name for name in tries if name not in taken)
        taken.add(name)
        names[path] = name
    return names


def _is_ours(path: Path) -> bool:
    """Whether a file is what `_as_data` makes."""

    try:
        data = parse_json(read_regular(path))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and {"image", "detections"} <= data.keys()


def _as_data(path: Path, objects: Objects) -> dict[str, Any]:
    rows = zip(
        objects.boxes.tolist(), objects.scores.tolist(), objects.categories, _masks(objects), strict=True
    )
    return {
        "image": str(path),
        "width": objects.width,
        "height": objects.height,
        "detections": [
            {
                "category_id": number,
                "category": name,
                "score": round(score, 5),
                "bbox": [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)],
                **mask,
            }
            for (x0, y0, x1, y1), score, (number, name), mask in rows
        ],
    }


def _masks(objects: Objects) -> list[dict[str, Any]]:
    """The entry of each object's mask; empty where there are no masks."""
    if not objects.masks:
        return [{}] * len(objects.scores)
    return [
        {"segmentation": {"size": mask["size"], "counts": mask["counts"].decode()}} for mask in objects.masks
    ]
