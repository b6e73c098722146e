"""`nas eval`: measures a trained model on a data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nas.cli.arguments import Commands, add_max_pixels_argument
from nas.cli.data_reader import add_left_out_argument, add_reader_argument, named_reader
from nas.cli.model_path import find_model
from nas.utils.terminal import announce_loading
from search_space.utils.strict_json import to_json

NO_VALUE = "\u2013"
"""Is printed where there is no number."""


def add_eval_command(commands: Commands) -> None:
    """Adds `nas eval`."""
    parser = commands.add_parser("eval", help="measure a trained model on a data set")
    parser.add_argument("model", metavar="MODEL", help="a model file (.safetensors), or a training's folder")
    parser.add_argument("--root", required=True, metavar="DIR", help="folder of a data set")
    parser.add_argument("--split", choices=("train", "val"), default="val", help="default: val")
    parser.add_argument("--batch", type=int, default=8, help="images at a time; default: 8")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto; default: auto")
    parser.add_argument(
        "--cache", metavar="DIR", help="folder for prepared images; default: the user's cache"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_left_out_argument(parser)
    add_reader_argument(parser)
    add_max_pixels_argument(parser)
    parser.set_defaults(run=_eval)


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
