"""`nas eval`, `nas predict`, `nas export`, `nas card`: what one does with a model file."""

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
from nas.cli.data_reader import add_left_out_argument, add_reader_argument, named_reader
from nas.cli.model_path import find_model
from nas.utils.terminal import announce_loading, complain, say
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import reading, shown
from search_space.utils.regular_file import read_regular
from search_space.utils.strict_json import to_json

NO_VALUE = "\u2013"
"""Is printed where there is no number."""

if TYPE_CHECKING:
    from proxy_tasks.converters.export import Format
    from proxy_tasks.evaluation.inference import Objects


def add_model_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    evaluate = commands.add_parser("eval", help="measure a trained model on a data set")
    evaluate.add_argument(
        "model", metavar="MODEL", help="a model file (.safetensors), or a training's folder"
    )
    evaluate.add_argument("--root", required=True, metavar="DIR", help="folder of a data set")
    evaluate.add_argument("--split", choices=("train", "val"), default="val", help="default: val")
    evaluate.add_argument("--batch", type=int, default=8, help="images at a time; default: 8")
    evaluate.add_argument("--device", default="auto", help="cpu, cuda or auto; default: auto")
    evaluate.add_argument(
        "--cache", metavar="DIR", help="folder for prepared images; default: the user's cache"
    )
    evaluate.add_argument("--json", action="store_true", help="print a JSON object")
    add_left_out_argument(evaluate)
    add_reader_argument(evaluate)
    add_max_pixels_argument(evaluate)
    evaluate.set_defaults(run=_eval)

    predict = commands.add_parser("predict", help="find objects in images; writes drawings and JSON")
    predict.add_argument("model", metavar="MODEL", help="a model file (.safetensors), or a training's folder")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="image files, or folders of them")
    predict.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    predict.add_argument(
        "--score", type=float, default=0.3, help="leave out objects with a lower score; default: 0.3"
    )
    predict.add_argument("--device", default="auto", help="cpu, cuda or auto; default: auto")
    add_max_pixels_argument(predict)
    predict.set_defaults(run=_predict)

    export = commands.add_parser("export", help="write a model for other programs, or a spec for TensorFlow")
    export.add_argument("model", metavar="MODEL", help="a model file; for tuples a spec")
    export.add_argument("--to", required=True, metavar="FILE", help="file to write")
    export.add_argument(
        "--format",
        choices=("onnx", "torch", "tuples"),
        help="default: from the file's ending, .onnx or .pt2; TensorFlow's code reads tuples",
    )
    export.add_argument("--size", type=int, help="side of the input in pixels; default: the model's")
    export.add_argument(
        "--raw", action="store_true", help="export the network's own outputs instead of detections"
    )
    export.set_defaults(run=_export)

    weights = commands.add_parser(
        "import-weights", help="turn a TensorFlow checkpoint (Model Garden, TPU repository) into a model file"
    )
    weights.add_argument("checkpoint", metavar="CHECKPOINT", help="prefix of its files, without .index")
    weights.add_argument("--to", required=True, metavar="FILE", help="model file to write (.safetensors)")
    weights.add_argument(
        "--head",
        choices=("retinanet", "classifier", "none"),
        required=True,
        help="head on the backbone",
    )
    weights.add_argument("--spec", default="spinenet-49", help="default: spinenet-49")
    weights.add_argument(
        "--scale",
        default="49,activation=swish",
        help="default: 49,activation=swish, that of the released checkpoints",
    )
    weights.add_argument("--size", type=int, help="side of the input; default: 640, or 224 for a classifier")
    weights.add_argument("--classes", type=int, help="outputs; default: 91, or 1001 for a classifier")
    weights.add_argument(
        "--anchor-base", type=float, default=3.0, help="side of the smallest anchor in strides; default: 3"
    )
    weights.add_argument(
        "--norm-eps", type=float, help="number added to variances; default: that of the released checkpoints"
    )
    weights.add_argument("--categories", metavar="JSON", help="COCO annotations that name the outputs")
    weights.set_defaults(run=_import)

    card = commands.add_parser("card", help="print what a trained model is and how it was trained")
    card.add_argument("model", metavar="MODEL", help="a model file (.safetensors), or a training's folder")
    card.set_defaults(run=_card)


def _eval(options: argparse.Namespace) -> int:
    path, root = find_model(options.model), Path(options.root)
    if not root.is_dir():
        raise ValueError(f"--root {root}: no such folder")
    announce_loading(sys.stderr)
    from nas.utils.logging import print_notices
    from proxy_tasks.data.limits import Limits
    from proxy_tasks.distributed import select_device
    from proxy_tasks.evaluation.inference import evaluate_model
    from proxy_tasks.models.model_file import load_model
    from search_space.utils.user_folders import user_cache_folder

    if options.batch < 1:
        raise ValueError(f"--batch must be at least 1, not {options.batch}")
    if not 0 <= options.allow_left_out <= 1:
        raise ValueError(f"--allow-left-out must be in 0..1, not {options.allow_left_out:g}")
    device, reader = select_device(options.device), named_reader(options.reader)
    model, net, _ = load_model(path, device)
    cache = Path(options.cache) if options.cache else user_cache_folder()
    limits = Limits(options.max_pixels, options.allow_left_out)
    with print_notices(sys.stderr):
        metrics = evaluate_model(
            model, net, root, options.split, cache, options.batch, device, limits, reader
        )
    if options.json:
        print(to_json(metrics))
    else:
        for name, value in metrics.items():
            # COCO's code would say -1 where the data has no object of that kind.
            print(f"{name:<8} {NO_VALUE if value is None else f'{value:.4f}'}")
    return 0


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


def _refuse_same(path: Path, source: Path) -> None:
    """Refuses a file to write that is the one to read."""
    if path.exists() and source.exists() and path.samefile(source):
        raise ValueError(f"--to {path} is the file that is exported; give another name")


def _refuse_taken(path: Path) -> None:
    """Refuses to replace a file that no export has written, such as a journal."""
    if path.is_file() and path.suffix.lower() not in (".onnx", ".pt2", ".py", ".txt"):
        raise ValueError(f"--to {path} is a file already, and no export by its name; give another name")


def _export(options: argparse.Namespace) -> int:
    path = Path(options.to)
    _refuse_same(path, Path(options.model))
    _refuse_taken(path)
    if options.format == "tuples":
        from nas.utils.files import replace_file
        from search_space import load_spinenet_spec
        from search_space.spinenet.tf_block_specs import write_tuples

        replace_file(path, write_tuples(load_spinenet_spec(options.model)))
        say(f"written: {path}")
        return 0
    forms: dict[str, Format] = {"onnx": "onnx", "torch": "torch", ".onnx": "onnx", ".pt2": "torch"}
    form = forms.get(options.format or path.suffix.lower())
    if form is None:
        raise ValueError(
            f"{path}: a name that ends in .onnx or .pt2 is needed, or --format with onnx, torch or tuples"
        )
    source = find_model(options.model)
    _refuse_same(path, source)
    announce_loading(sys.stderr)
    from proxy_tasks.converters.export import ExportError, export_model
    from proxy_tasks.models.model_file import load_model

    model, net, _ = load_model(source)
    size = model.image_size if options.size is None else options.size
    _check_size(size)
    print(f"exporting {source}, which may take a minute", file=sys.stderr, flush=True)
    try:
        export_model(net, size, path, form, not options.raw, model.categories)
    except ExportError as error:
        complain(str(error))
        return 1
    say(f"written: {path}, for images [N, 3, {size}, {size}]")
    return 0


def _import(options: argparse.Namespace) -> int:
    from search_space import load_spinenet_spec, parse_scale

    _check_import(options)
    spec, scale = load_spinenet_spec(options.spec), parse_scale(options.scale)
    announce_loading(sys.stderr)
    from proxy_tasks.converters.origins import find_origin
    from proxy_tasks.converters.tf_checkpoint import read_checkpoint
    from proxy_tasks.models.model import ModelError, name_categories, numbered_categories
    from proxy_tasks.models.model_file import FEW_CATEGORIES, save_model

    if options.classes is not None and not 1 <= options.classes <= FEW_CATEGORIES:
        raise ValueError(f"--classes must be in 1..{FEW_CATEGORIES}, not {options.classes}")
    variables = read_checkpoint(options.checkpoint)
    origin = find_origin(variables)
    classes = origin.head(options.head).classes if options.classes is None else options.classes
    categories = numbered_categories(classes)
    if options.categories is not None:
        categories = name_categories(categories, Path(options.categories))
    model = origin.model(
        options.head,
        spec=spec,
        scale=scale,
        categories=categories,
        image_size=options.size,
        anchor_base=options.anchor_base,
        norm_eps=options.norm_eps,
    )
    try:
        with reading(ModelError):
            net = origin.load(variables, model)
    except ModelError as error:
        raise ModelError(f"{options.checkpoint}: {error}") from None
    training = {"origin": f"{options.checkpoint}, a checkpoint of the {origin.name}"}
    save_model(Path(options.to), model, net, training)
    say(f"written: {options.to}: {model.name}, with all {len(variables)} variables of the {origin.name}")
    return 0


def _check_import(options: argparse.Namespace) -> None:
    """Raises ValueError for options that are wrong whatever the checkpoint holds."""
    target = Path(options.to)
    if target.suffix.lower() != ".safetensors" or target.is_dir():
        raise ValueError(f"--to: the name of a model file ends in .safetensors, not {shown(options.to)}")
    _check_size(options.size)
    if not 0 < options.anchor_base <= 1000:
        raise ValueError(f"--anchor-base must be above 0 and at most 1000 strides, not {options.anchor_base}")
    if options.norm_eps is not None and not 0 < options.norm_eps <= 1:
        raise ValueError(f"--norm-eps must be above 0 and at most 1, not {options.norm_eps}")


def _check_size(size: int | None) -> None:
    """Raises ValueError for a side of images that no network takes; None is the network's own."""
    if size is not None and not 32 <= size <= 4096:
        raise ValueError(f"--size must be in 32..4096 pixels, not {size}")


def _card(options: argparse.Namespace) -> int:
    path = find_model(options.model)
    from nas.training.model_card import card
    from proxy_tasks.models.model_file import read_model

    model, training = read_model(path)
    print(card(model, training), end="")
    return 0
