"""The keys of a configuration at any depth, with the values that they may have; quick after the first time.

Filling in the defaults imports what the configuration names, which takes seconds if torch is among it.
Therefore the keys are kept in the user's cache folder, and are used as long as no file of ours has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from nas import config_folder
from nas.config.presets import is_group
from nas.config.schema import TARGET, Parameter, join, signature_of
from nas.config.words import is_settings_file
from search_space.utils.strict_json import to_json
from search_space.utils.user_folders import user_cache_folder


def list_keys(name: str, overrides: Sequence[str] = ()) -> dict[str, list[str]]:
    """All keys of a configuration, each with its values as far as they are few; those of nodes end in a dot.

    Args:
        name: of the configuration, such as "search".
        overrides: the words that are written already; presets and classes that they name decide the keys.

    Raises:
        ConfigError: if the configuration cannot be composed.
    """
    chosen = [word for word in overrides if _decides(word)]
    path: Path | None = None
    with contextlib.suppress(OSError, ValueError):
        path = _cache_file(name, chosen)
        found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
        return found
    from omegaconf import OmegaConf

    from nas.config.composition import compose
    from nas.utils.files import replace_file

    tree = OmegaConf.to_container(compose(name, chosen))
    keys = dict(_walk(tree, ""))
    if path is not None:
        with contextlib.suppress(OSError):  # A cache is not needed.
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, to_json(keys))
    return keys


def _decides(word: str) -> bool:
    """Whether a word decides which keys there are."""
    if is_settings_file(word):
        return Path(word).is_file()
    key, equals, value = word.lstrip("+").partition("=")
    return bool(equals and value) and (is_group(key) or key.endswith(f".{TARGET}"))


def _walk(tree: Any, key: str) -> Iterator[tuple[str, list[str]]]:
    if not isinstance(tree, dict):
        return
    parameters: Mapping[str, Parameter] = {}
    if TARGET in tree:
        parameters = signature_of(tree[TARGET], key).parameters
    for name, value in tree.items():
        if name.startswith("_") or (name == "layout" and not key):
            continue
        inner = join(key, name)
        if isinstance(value, dict) and value:
            yield f"{inner}.", []
            yield from _walk(value, inner)
            if not is_group(inner):
                continue
        yield inner, _choices(parameters[name].annotation) if name in parameters else []


def _choices(annotation: Any) -> list[str]:
    """What an annotation allows, if these are a few names."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _cache_file(name: str, words: Sequence[str]) -> Path:
    """Where the keys are kept: the name changes with the words, the working folder and our files."""
    root = Path(__file__).parents[2]
    folders = [
        config_folder(),
        *(root / part for part in ("nas", "proxy_tasks", "controllers", "search_space")),
    ]
    newest = max(path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.[py][ya]*"))
    files = [Path(word).stat().st_mtime_ns for word in words if is_settings_file(word)]
    text = to_json([name, list(words), files, str(Path.cwd()), str(root), newest])
    digest = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    return user_cache_folder() / "completion" / f"{digest}.json"
