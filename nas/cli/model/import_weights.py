"""`nas import-weights`: turns a checkpoint of TensorFlow into a model file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nas.cli.arguments import Commands
from nas.cli.model.image_size import check_image_size
from nas.utils.terminal import announce_loading, say
from search_space.utils.parsing import reading, shown


def add_import_weights_command(commands: Commands) -> None:
    """Adds `nas import-weights`."""
    parser = commands.add_parser(
        "import-weights", help="turn a TensorFlow checkpoint (Model Garden, TPU repository) into a model file"
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="prefix of its files, without .index")
    parser.add_argument("--to", required=True, metavar="FILE", help="model file to write (.safetensors)")
    parser.add_argument(
        "--head",
        choices=("retinanet", "classifier", "none"),
        required=True,
        help="head on the backbone",
    )
    parser.add_argument("--spec", default="spinenet-49", help="default: spinenet-49")
    parser.add_argument(
        "--scale",
        default="49,activation=swish",
        help="default: 49,activation=swish, that of the released checkpoints",
    )
    parser.add_argument("--size", type=int, help="side of the input; default: 640, or 224 for a classifier")
    parser.add_argument("--classes", type=int, help="outputs; default: 91, or 1001 for a classifier")
    parser.add_argument(
        "--anchor-base", type=float, default=3.0, help="side of the smallest anchor in strides; default: 3"
    )
    parser.add_argument(
        "--norm-eps", type=float, help="number added to variances; default: that of the released checkpoints"
    )
    parser.add_argument("--categories", metavar="JSON", help="COCO annotations that name the outputs")
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    from search_space import load_spinenet_spec, parse_scale

    _check(options)
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


def _check(options: argparse.Namespace) -> None:
    """Raises ValueError for options that are wrong whatever the checkpoint holds."""
    target = Path(options.to)
    if target.suffix.lower() != ".safetensors" or target.is_dir():
        raise ValueError(f"--to: the name of a model file ends in .safetensors, not {shown(options.to)}")
    check_image_size(options.size)
    if not 0 < options.anchor_base <= 1000:
        raise ValueError(f"--anchor-base must be above 0 and at most 1000 strides, not {options.anchor_base}")
    if options.norm_eps is not None and not 0 < options.norm_eps <= 1:
        raise ValueError(f"--norm-eps must be above 0 and at most 1, not {options.norm_eps}")
