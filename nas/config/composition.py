"""From the name of a configuration and overrides to the whole configuration, and back from a run folder."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import config_folder
from nas.config.errors import ConfigError, UnknownKeyError, config_errors
from nas.config.overrides import Changes, sort_overrides
from nas.config.paths import check_paths
from nas.config.presets import list_presets
from nas.config.schema import LAYOUT, MISSING, TARGET, expand, signature_of
from nas.config.tree import leaves, put_plugin, put_value
from nas.config.yaml_file import read_tree
from search_space.utils.parsing import printable

if TYPE_CHECKING:
    from omegaconf import DictConfig


Before = Callable[[dict[str, Any]], None]
"""Gets the settings of a command's root before any class that they name is imported, which takes seconds."""


def compose(
    name: str, overrides: Sequence[str] = (), folder: Path | None = None, before: Before | None = None
) -> DictConfig:
    """The whole configuration of a name such as "search" or "task/cpu", with all defaults filled in.

    Values that follow others, such as "${seed}", still do.

    Args:
        name: of a file below the configuration folder, without ".yaml".
        overrides: words such as "task.train.steps=10", "task=cpu", "task.head=fcos" or, for a class of the
            user's own, "task._target_=my_file.MyTask"; and files of settings such as "my.yaml".
        folder: further configurations of the user's own, which are looked for first.
        before: see `Before`.

    Raises:
        ConfigError: if a name or a key is unknown, or an override cannot be read.
    """
    from omegaconf import OmegaConf

    if folder is None:
        _check_name(name)
    changes = sort_overrides(overrides, folder)
    with config_errors():
        tree: Any = OmegaConf.to_container(_compose_files(name, changes.groups, folder))
    parts = name.split("/")[:-1]  # A group's file composed by itself is below the group's name.
    return _finish(tree, changes, ".".join(parts), before)


def merge_overrides(config: Any, overrides: Sequence[str], before: Before | None = None) -> DictConfig:
    """A configuration of a run folder with changes, completed again.

    Of presets only an executor can be chosen anew, as it changes nothing of what a trial is.

    Raises:
        ConfigError: if a key is not there, or a change cannot be read or chooses another preset.
    """
    from omegaconf import OmegaConf

    changes = sort_overrides(overrides)
    tree: Any = OmegaConf.to_container(config)
    for group in changes.groups:
        key, _, name = group.partition("=")
        if key != "executor":
            raise ConfigError(f"{group}: a preset cannot be chosen anew; change single keys")
        with config_errors():
            files: Any = OmegaConf.to_container(_compose_files(f"{key}/{name}", (), None))
            tree[key] = files[key]
    return _finish(tree, changes, "", before)


def read_config(path: Path, keys: Sequence[str] = ()) -> DictConfig:
    """The configuration that a run folder keeps.

    Args:
        path: of the file.
        keys: that it must have.

    Raises:
        ConfigError: if it is not there, cannot be read, lacks a key, or is of an older layout.
    """
    from omegaconf import DictConfig, OmegaConf

    with config_errors(f"{path}: "):
        found = OmegaConf.create(read_tree(path) or {})
    missing = [key for key in keys if not isinstance(found, DictConfig) or key not in found]
    if missing or not isinstance(found, DictConfig):
        raise ConfigError(f"{path} is damaged: it has no {missing[0] if missing else 'keys'!r}")
    layout = found.get("layout", 1)
    if layout != LAYOUT:
        raise ConfigError(
            f"{path.parent} was written by another version of nas: its layout is {layout}, and this version "
            f"reads layout {LAYOUT}; begin anew in another folder"
        )
    return found


def config_text(config: Any) -> str:
    """The configuration as YAML; values that follow others still do."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(config)


def _finish(tree: dict[str, Any], changes: Changes, part: str, before: Before | None) -> DictConfig:
    """Applies what Hydra has not, and completes the tree before and after; gives the part of that key."""
    from omegaconf import OmegaConf

    changes = _check_root(tree, changes)
    if before is not None:
        check_paths(tree, changes)
        root = _root_settings(tree, changes)
        if root is not None:
            before(root)
    for key, path in changes.plugins:
        put_plugin(tree, key, path)
    tree = expand(tree)
    known = list(leaves(tree))
    try:
        for change in changes.values:
            put_value(tree, change)
        with config_errors():
            config = OmegaConf.create(expand(tree))
            OmegaConf.to_container(config, resolve=True)
    except UnknownKeyError as error:
        raise _with_suggestion(error, changes, known) from None
    OmegaConf.set_struct(config, True)
    found: DictConfig = OmegaConf.select(config, part) if part else config
    return found


def _check_root(tree: dict[str, Any], changes: Changes) -> Changes:
    """Refuses another class of the root, and null for what a command cannot do without."""
    kept = []
    for change in changes.values:
        if change.key == TARGET:
            if change.value != tree.get(TARGET):
                raise ConfigError(
                    f"{TARGET}: these settings are {tree.get(TARGET)}, not {printable(change.text)}"
                )
            continue
        kept.append(change)
        needed = TARGET in tree and change.value is None and not change.fault and "." not in change.key
        parameter = signature_of(tree[TARGET], "").parameters.get(change.key) if needed else None
        if parameter is not None and parameter.default == MISSING and not change.removed:
            names = ", ".join(list_presets(change.key))
            raise ConfigError(f"{change.key}: needs a value; known are {names}")
    return Changes(groups=changes.groups, plugins=changes.plugins, values=tuple(kept))


def _root_settings(tree: dict[str, Any], changes: Changes) -> dict[str, Any] | None:
    """The settings of the root, completed, without the nodes that may be of any class.

    None if a key is unknown and resembles none of them: what was meant may be in one of those nodes.

    Raises:
        ConfigError: as `compose`.
    """
    if TARGET not in tree:
        return None
    parameters = signature_of(tree[TARGET], "").parameters
    rest = {name for name, parameter in parameters.items() if parameter.is_open}
    small = expand({name: copy.deepcopy(value) for name, value in tree.items() if name not in rest})
    known = [*leaves(small), *rest]
    try:
        for change in changes.values:
            if change.key.partition(".")[0] not in rest:
                put_value(small, change)
        small = expand(small)
    except UnknownKeyError as error:
        better = _with_suggestion(error, changes, known)
        if better.is_sure or "." in error.key:
            raise better from None
        return None
    return {name: value for name, value in small.items() if name not in rest}


def _with_suggestion(error: UnknownKeyError, changes: Changes, known: Sequence[str]) -> UnknownKeyError:
    """The error with keys of the whole configuration that may have been meant."""
    typed = next((c.key for c in changes.values if f"{c.key}.".startswith(f"{error.key}.")), error.key)
    return UnknownKeyError(error.key, error.known, known, typed)


def _compose_files(name: str, groups: tuple[str, ...], folder: Path | None) -> Any:
    """What the files say; those that come with the program do not change while it runs."""
    return _compose_shipped(name, groups) if folder is None else _compose_groups(name, groups, folder)


@lru_cache(maxsize=64)
def _compose_shipped(name: str, groups: tuple[str, ...]) -> Any:
    return _compose_groups(name, groups, None)


def _compose_groups(name: str, groups: Sequence[str], folder: Path | None) -> Any:
    """What Hydra makes of the files; a group that the files do not name is appended."""
    from hydra import compose as hydra_compose
    from hydra.errors import ConfigCompositionException

    search = (
        [] if folder is None else [f"hydra.searchpath=[{_quoted(f'file://{config_folder().resolve()}')}]"]
    )
    with _hydra_folder(folder or config_folder()):
        for _ in range(len(groups) + 1):
            try:
                return hydra_compose(name, [*search, *groups])
            except ConfigCompositionException as error:
                key = str(error).partition("Could not override '")[2].partition("'")[0]
                if not key or "No match in the defaults list" not in str(error):
                    raise
                groups = [f"+{group}" if group.startswith(f"{key}=") else group for group in groups]
        raise ConfigError(f"{groups[0]}: Hydra cannot choose this preset")


def _quoted(text: str) -> str:
    """A text as Hydra's grammar takes it, whatever characters it has."""
    # A backslash means something before a quote alone.
    inner = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text)
    return "'" + inner.replace("${", "\\${") + "'"


@contextmanager
def _hydra_folder(folder: Path) -> Iterator[None]:
    """Points Hydra at a folder, and leaves its global state as it was."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = before


def _check_name(name: str) -> None:
    """Refuses a name without a file, and gives the names of those that are beside it."""
    from search_space.utils.lookup import lookup

    file = config_folder() / f"{name}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.yaml"))
        what = file.parent.name if "/" in name else "configuration"
        lookup(file.stem, dict.fromkeys(known), what, ConfigError)
