"""What YOLO's data.yaml tells, or a file of class names in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxy_tasks.data.dataset import DataError, Split
from proxy_tasks.data.fields import as_whole
from proxy_tasks.data.files import is_file, read_lines, read_text
from search_space.utils.lookup import nearest
from search_space.utils.parsing import ParseError, parse_yaml, shown

CONFIG_NAMES = ("data.yaml", "data.yml", "dataset.yaml")

KEYS = ("path", "train", "val", "test", "nc", "names", "download")
"""The usual keys of such a file; none of them is a misspelling of another."""

NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "_darknet.labels", "train/_darknet.labels")


def config_file(root: Path) -> Path | None:
    """The file that names classes, train and val; None if there is none."""
    return next((root / name for name in CONFIG_NAMES if is_file(root / name)), None)


def find_names_file(root: Path) -> Path | None:
    """The file that names the classes where there is no data.yaml."""
    return next((root / name for name in NAME_FILES if is_file(root / name)), None)


def read_classes(root: Path) -> tuple[str, ...] | None:
    """The names of the classes, from data.yaml or a file of names; None if there is neither.

    Raises:
        DataError: if the file is wrong.
    """
    config = config_file(root)
    if config is not None:
        return class_names(read_config(config), config)
    names_file = find_names_file(root)
    return None if names_file is None else tuple(name for _, name in read_lines(names_file))


def read_config(path: Path) -> dict[str, Any]:
    """What such a file holds; names are as they are written.

    Raises:
        DataError: if it cannot be read, or has key points.
    """
    text = read_text(path)
    try:
        config, written = parse_yaml(text), parse_yaml(text, as_written=True)
    except ParseError as error:
        raise DataError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(config, dict):
        raise DataError(f"{path}: must be a mapping with names, train and val")
    if "kpt_shape" in config:
        raise DataError(
            f"{path}: labels with key points (kpt_shape) are not supported; only boxes and polygons"
        )
    if "names" in config:  # YAML takes the name `no` for false, and 010 for 8.
        config["names"] = written["names"]
    return config


def class_names(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    """The names of the classes, by number.

    Raises:
        DataError: if they are missing, no texts, or not numbered from 0.
    """
    if "names" not in config:
        raise DataError(f"{path}: names must list the classes, but {_missing('names', config)}")
    names = config["names"]
    if isinstance(names, dict):
        numbers = [as_whole(number) for number in names]
        if None in numbers or sorted(n for n in numbers if n is not None) != list(range(len(names))):
            raise DataError(f"{path}: names must be numbered from 0 without a gap, not {shown(list(names))}")
        by_number = dict(zip(numbers, names.values(), strict=True))
        names = [by_number[number] for number in range(len(names))]
    if not isinstance(names, list):
        raise DataError(f"{path}: names must list the classes, not {shown(names)}")
    if any(isinstance(name, (list, dict)) or name is None for name in names):
        raise DataError(f"{path}: names must list the classes, each a text, not {shown(names)}")
    return tuple(str(name) for name in names)


def _missing(key: str, config: dict[str, Any]) -> str:
    """Says that a key is missing, and which other key may be a misspelling of it."""
    others = [str(name) for name in config if name not in KEYS]
    meant = nearest(key, others)
    return "the key is missing" + (f"; is {meant} a misspelling of it?" if meant else "")


def find_sources(config: dict[str, Any], path: Path, split: Split) -> tuple[Path, ...]:
    """The folders and lists that data.yaml gives for a split, each looked for in the usual places.

    Raises:
        DataError: if the split is missing, or one of them is.
    """
    given = config.get(split)
    listed = given if isinstance(given, list) else [given]
    entries = [entry for entry in listed if isinstance(entry, str) and entry]
    if not entries or len(entries) < len(listed):
        wrong = f"not {shown(given)}" if split in config else f"but {_missing(split, config)}"
        raise DataError(f"{path}: {split} must be a folder, a .txt file, or a list of them, {wrong}")
    bases = [path.parent]
    if isinstance(config.get("path"), str):
        bases.insert(0, path.parent / config["path"])
    sources = []
    for entry in entries:
        # Roboflow writes "../train/images" for what lies beside data.yaml.
        plain = entry.replace("\\", "/")
        names = (entry, plain, plain.removeprefix("../"))
        candidates = [base / name for base in bases for name in names]
        found = next((place for place in candidates if place.is_dir() or is_file(place)), None)
        if found is None:
            raise DataError(
                f"{path}: {split} names {shown(entry)}, but there is no {shown(str(candidates[0]))}"
            )
        sources.append(found)
    return tuple(sources)
