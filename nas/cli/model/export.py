"""`nas export`: writes a model for other programs, or a spec for TensorFlow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.arguments import Commands
from nas.cli.model.image_size import check_image_size
from nas.cli.model_path import find_model
from nas.utils.terminal import announce_loading, complain, say

if TYPE_CHECKING:
    from proxy_tasks.converters.export import Format


def add_export_command(commands: Commands) -> None:
    """Adds `nas export`."""
    parser = commands.add_parser("export", help="write a model for other programs, or a spec for TensorFlow")
    parser.add_argument("model", metavar="MODEL", help="a model file; for tuples a spec")
    parser.add_argument("--to", required=True, metavar="FILE", help="file to write")
    parser.add_argument(
        "--format",
        choices=("onnx", "torch", "tuples"),
        help="default: from the file's ending, .onnx or .pt2; TensorFlow's code reads tuples",
    )
    parser.add_argument("--size", type=int, help="side of the input in pixels; default: the model's")
    parser.add_argument(
        "--raw", action="store_true", help="export the network's own outputs instead of detections"
    )
    parser.set_defaults(run=_export)


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
    check_image_size(size)
    print(f"exporting {source}, which may take a minute", file=sys.stderr, flush=True)
    try:
        export_model(net, size, path, form, not options.raw, model.categories)
    except ExportError as error:
        complain(str(error))
        return 1
    say(f"written: {path}, for images [N, 3, {size}, {size}]")
    return 0


def _refuse_same(path: Path, source: Path) -> None:
    """Refuses a file to write that is the one to read."""
    if path.exists() and source.exists() and path.samefile(source):
        raise ValueError(f"--to {path} is the file that is exported; give another name")


def _refuse_taken(path: Path) -> None:
    """Refuses to replace a file that no export has written, such as a journal."""
    if path.is_file() and path.suffix.lower() not in (".onnx", ".pt2", ".py", ".txt"):
        raise ValueError(f"--to {path} is a file already, and no export by its name; give another name")
