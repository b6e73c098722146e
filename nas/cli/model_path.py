"""The model file that a user means, and what else it may be."""

from __future__ import annotations

import shlex
from pathlib import Path

from nas.utils.run_files import best_model, winner_file
from search_space.utils.regular_file import open_regular

EXPORTED = (".onnx", ".pt2")


class ModelPathError(ValueError):
    """A path names no model file: says what it is and what to do."""


def find_model(text: str) -> Path:
    """The model file of a path, or the best one of a training's folder.

    Raises:
        ModelPathError: if it is something else, as far as that can be told without reading it whole.
    """
    path = Path(text)
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        from search_space.published import PUBLISHED_SPECS

        if text in PUBLISHED_SPECS:
            raise ModelPathError(f"{text} is a spec, not a model; train it first: {_training(path)}")
        raise ModelPathError(f"{path}: no such file")
    if path.suffix.lower() in EXPORTED:
        raise ModelPathError(f"{path} is an exported model; give the .safetensors file that it was made from")
    if not path.is_file():
        raise ModelPathError(f"{path} is not a regular file")
    with open_regular(path) as file:
        begins = file.read(512)
    if begins.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        if b"-spec" in begins:
            raise ModelPathError(f"{path} is a spec, not a model; train it first: {_training(path)}")
        raise ModelPathError(
            f"{path} is a JSON file, not a model; the name of a model file ends in .safetensors"
        )
    if begins.startswith((b"PK\x03\x04", b"\x80\x02")):
        raise ModelPathError(f"{path} was written by torch.save; nas train writes models as .safetensors")
    return path


def _in_folder(folder: Path) -> Path:
    model, winner = best_model(folder), winner_file(folder)
    if model.is_file():
        return model
    if winner.is_file():
        raise ModelPathError(
            f"{folder} is a search; its winner is a spec, not a model; train it first: {_training(winner)}"
        )
    raise ModelPathError(f"{folder} is a folder that holds no {model.name}")


def _training(spec: Path) -> str:
    return f"nas train {shlex.quote(f'spec={spec}')}"
