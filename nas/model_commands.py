"""`nas eval`, `nas predict`, `nas export`, `nas card`: what one does with a model file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.spec_commands import Commands

if TYPE_CHECKING:
    from proxy_tasks.exporting import Format
    from proxy_tasks.predicting import Prediction


def add_model_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    evaluate = commands.add_parser("eval", help="measure a trained model on a data set")
    evaluate.add_argument("model", metavar="MODEL", help="a model file (.safetensors)")
    evaluate.add_argument("--root", required=True, metavar="DIR", help="a COCO root")
    evaluate.add_argument("--split", choices=("train", "val"), default="val", help="default: val")
    evaluate.add_argument("--batch", type=int, default=8, help="images at a time; default: 8")
    evaluate.add_argument("--device", default="auto", help="cpu, cuda or auto; default: auto")
    evaluate.add_argument("--cache", metavar="DIR", help="folder for packs; default: the user's cache")
    evaluate.add_argument("--json", action="store_true", help="print a JSON object")
    evaluate.set_defaults(run=_eval)

    predict = commands.add_parser("predict", help="find objects in images; writes drawings and JSON")
    predict.add_argument("model", metavar="MODEL", help="a model file (.safetensors)")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    predict.add_argument("--out", required=True, metavar="DIR", help="folder for what is found")
    predict.add_argument("--score", type=float, default=0.3, help="least score; default: 0.3")
    predict.add_argument("--device", default="auto", help="cpu, cuda or auto; default: auto")
    predict.set_defaults(run=_predict)

    export = commands.add_parser("export", help="write a model for other programs, or a spec for TensorFlow")
    export.add_argument("model", metavar="MODEL", help="a model file; for tuples a spec")
    export.add_argument("--to", required=True, metavar="FILE", help="file to write")
    export.add_argument(
        "--format",
        choices=("onnx", "torch", "tuples"),
        help="default: by the file's ending, .onnx or .pt2; tuples are what TensorFlow's code takes",
    )
    export.add_argument("--size", type=int, help="side of the input in pixels; default: the model's")
    export.add_argument("--raw", action="store_true", help="the network's own outputs, no detections")
    export.set_defaults(run=_export)

    weights = commands.add_parser(
        "import-weights", help="turn a TensorFlow checkpoint (Model Garden, TPU repository) into a model file"
    )
    weights.add_argument("checkpoint", metavar="CHECKPOINT", help="its prefix, without .index")
    weights.add_argument("--to", required=True, metavar="FILE", help="model file to write (.safetensors)")
    weights.add_argument(
        "--head", choices=("retinanet", "classifier", "backbone"), required=True, help="what it is"
    )
    weights.add_argument("--spec", default="spinenet-49", help="default: spinenet-49")
    weights.add_argument(
        "--scale", default="49,activation=swish", help="default: 49,activation=swish, as the released ones"
    )
    weights.add_argument("--size", type=int, help="side of the input; default: 640, or 224 for a classifier")
    weights.add_argument("--classes", type=int, help="outputs; default: 91, or 1001 for a classifier")
    weights.add_argument("--anchor-size", type=float, default=3.0, help="default: 3")
    weights.add_argument(
        "--norm-eps", type=float, help="added to variances; default: as the released ones of that origin"
    )
    weights.add_argument("--categories", metavar="JSON", help="COCO annotations that name the outputs")
    weights.set_defaults(run=_import)

    card = commands.add_parser("card", help="print what a trained model is and how it came to be")
    card.add_argument("model", metavar="MODEL", help="a model file (.safetensors)")
    card.set_defaults(run=_card)


def _eval(options: argparse.Namespace) -> int:
    from proxy_tasks.data import cache_folder
    from proxy_tasks.fitting import chosen_device
    from proxy_tasks.models import load_model
    from proxy_tasks.predicting import evaluate_model

    if options.batch < 1:
        raise ValueError(f"--batch must be at least 1, not {options.batch}")
    device = chosen_device(options.device)
    model, net, _ = load_model(options.model, device)
    cache = Path(options.cache) if options.cache else cache_folder()
    found = evaluate_model(model, net, Path(options.root), options.split, cache, options.batch, device)
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<8} {value:.4f}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from nas.files import replace_file
    from proxy_tasks.fitting import chosen_device
    from proxy_tasks.models import load_model
    from proxy_tasks.predicting import draw, predict

    if not 0 <= options.score <= 1:
        raise ValueError(f"--score must be in 0..1, not {options.score}")
    device = chosen_device(options.device)
    model, net, _ = load_model(options.model, device)
    paths = [Path(image) for image in options.images]
    names = _names(paths)
    out = Path(options.out)
    inputs = {path.resolve() for path in paths}
    for name in names.values():
        picture, data = out / f"{name}.png", out / f"{name}.json"
        if picture.resolve() in inputs:
            raise ValueError(f"{picture} is one of the images; give another --out")
        if data.exists() and not _is_ours(data):
            raise ValueError(f"{data} is there and no result of this command; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    bad = 0
    for path, found in predict(model, net, paths, options.score, device):
        if isinstance(found, str):
            print(f"nas: {path}: no image that can be read: {found}", file=sys.stderr)
            bad += 1
            continue
        replace_file(out / f"{names[path]}.json", json.dumps(_as_data(path, found), indent=1) + "\n")
        draw(path, found, out / f"{names[path]}.png")
        print(f"{path}: {len(found.scores)} found: {out / names[path]}.png and .json")
    return 1 if bad else 0


def _names(paths: list[Path]) -> dict[Path, str]:
    """A name for every image's results; images of one name in several folders get numbers."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        if path in names:
            continue
        name = next(
            n for i in range(len(paths) + 1) if (n := path.stem + (f"-{i + 1}" if i else "")) not in taken
        )
        taken.add(name)
        names[path] = name
    return names


def _is_ours(path: Path) -> bool:
    """Whether a file is what `_as_data` makes."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"image", "detections"} <= found.keys()


def _as_data(path: Path, found: Prediction) -> dict[str, Any]:
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.categories, _masks(found), strict=True)
    return {
        "image": str(path),
        "width": found.width,
        "height": found.height,
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


def _masks(found: Prediction) -> list[dict[str, Any]]:
    """What the data tells of each mask; nothing where there are none."""
    if not found.masks:
        return [{}] * len(found.scores)
    return [
        {"segmentation": {"size": mask["size"], "counts": mask["counts"].decode()}} for mask in found.masks
    ]


def _export(options: argparse.Namespace) -> int:
    path = Path(options.to)
    if options.format == "tuples":
        from nas.files import replace_file
        from search_space import load_spec
        from search_space.tuples import as_tuples

        replace_file(path, as_tuples(load_spec(options.model)))
        print(f"written: {path}")
        return 0
    forms: dict[str, Format] = {"onnx": "onnx", "torch": "torch", ".onnx": "onnx", ".pt2": "torch"}
    form = forms.get(options.format or path.suffix)
    if form is None:
        raise ValueError(
            f"--format is needed, as {path.suffix or 'no'} ending tells none: onnx, torch or tuples"
        )
    from proxy_tasks.exporting import ExportError, export_model
    from proxy_tasks.models import load_model

    model, net, _ = load_model(options.model)
    size = model.canvas if options.size is None else options.size
    if not 32 <= size <= 4096:
        raise ValueError(f"--size must be in 32..4096 pixels, not {size}")
    try:
        export_model(net, size, path, form, not options.raw, model.categories)
    except ExportError as error:
        print(f"nas: {error}", file=sys.stderr)
        return 1
    print(f"written: {path}, for images [N, 3, {size}, {size}]")
    return 0


def _import(options: argparse.Namespace) -> int:
    from proxy_tasks.models import named, numbered, save_model
    from proxy_tasks.origins import origin_of
    from proxy_tasks.tensorflow_weights import read_checkpoint
    from search_space import load_spec, parse_scale

    spec, scale = load_spec(options.spec), parse_scale(options.scale)
    classes = options.classes or {"classifier": 1001, "retinanet": 91}.get(options.head, 1)
    categories = numbered(classes)
    if options.categories:
        categories = named(categories, Path(options.categories))
    variables = read_checkpoint(options.checkpoint)
    origin = origin_of(variables)
    model = origin.model(
        options.head,
        spec,
        scale,
        categories,
        options.size or (224 if options.head == "classifier" else 640),
        options.anchor_size,
        options.norm_eps,
    )
    net = origin.load(variables, model)
    save_model(
        Path(options.to), model, net, {"origin": f"{options.checkpoint}, a checkpoint of the {origin.name}"}
    )
    told = f"{model.name}, all {len(variables)} variables taken"
    print(f"written: {options.to}: {told}, as the {origin.name} has them")
    return 0


def _card(options: argparse.Namespace) -> int:
    from nas.model_card import card
    from proxy_tasks.models import read_model

    model, training = read_model(options.model)
    print(card(model, training), end="")
    return 0
