"""From the name of a configuration and overrides to the whole configuration, and back from a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import config_folder
from nas.config.errors import ConfigError, reason
from nas.config.overrides import Changes, put_plugin, put_value, sort_overrides
from nas.config.schema import LAYOUT, expand

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose(name: str, overrides: Sequence[str] = (), folder: Path | None = None) -> DictConfig:
    """The whole configuration of a name such as "search" or "task/cpu", with all defaults filled in.

    Values that follow others, such as "${seed}", still do.

    Args:
        name: of a file below the configuration folder, without ".yaml".
        overrides: words such as "task.train.steps=10", "task=cpu", "task.head=fcos" or, for a class of the
            user's own, "task._target_=my_file.MyTask".
        folder: further configurations of the user's own, which are looked for first.

    Raises:
        ConfigError: if a name or a key is unknown, or an override cannot be read.
    """
    from omegaconf import OmegaConf

    if folder is None:
        _check_name(name)
    changes = sort_overrides(overrides, folder)
    with _errors_in_one_line():
        tree: Any = OmegaConf.to_container(_compose_groups(name, changes.groups, folder))
    parts = name.split("/")[:-1]  # A group's file composed by itself is below the group's name.
    return _finish(tree, changes, ".".join(parts))


def merge_overrides(config: Any, overrides: Sequence[str]) -> DictConfig:
    """A configuration of a run folder with changes, completed again.

    Raises:
        ConfigError: if a key is not there, or a change cannot be read or chooses another preset.
    """
    from omegaconf import OmegaConf

    changes = sort_overrides(overrides)
    if changes.groups:
        raise ConfigError(f"{changes.groups[0]}: a preset cannot be chosen anew; change single keys")
    tree: Any = OmegaConf.to_container(config)
    return _finish(tree, changes, "")


def read_config(path: Path, keys: Sequence[str] = ()) -> DictConfig:
    """The configuration that a run folder keeps.

    Args:
        path: of the file.
        keys: that it must have.

    Raises:
        ConfigError: if it is not there, cannot be read, lacks a key, or is of an older layout.
    """
    from omegaconf import DictConfig, OmegaConf

    try:
        with _errors_in_one_line():
            found = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {reason(error)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
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


def _finish(tree: dict[str, Any], changes: Changes, part: str) -> DictConfig:
    """Applies what Hydra has not, and completes the tree before and after; gives the part of that key."""
    from omegaconf import OmegaConf

    for key, path in changes.plugins:
        put_plugin(tree, key, path)
    tree = expand(tree)
    for change in changes.values:
        put_value(tree, change)
    config = OmegaConf.create(expand(tree))
    with _errors_in_one_line():
        OmegaConf.to_container(config, resolve=True)
    OmegaConf.set_struct(config, True)
    found: DictConfig = OmegaConf.select(config, part) if part else config
    return found


def _compose_groups(name: str, groups: Sequence[str], folder: Path | None) -> Any:
    """What Hydra makes of the files; a group that the files do not name is appended."""
    from hydra import compose as hydra_compose
    from hydra.errors import ConfigCompositionException

    search = [] if folder is None else [f"hydra.searchpath=[file://{config_folder().resolve()}]"]
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


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Turns errors of Hydra, OmegaConf and YAML into a `ConfigError` of one line."""
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(reason(error)) from None


def _check_name(name: str) -> None:
    """Refuses a name without a file, and gives the names of those that are beside it."""
    from search_space.utils.lookup import lookup

    file = config_folder() / f"{name}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.yaml"))
        what = file.parent.name if "/" in name else "configuration"
        lookup(file.stem, dict.fromkeys(known), what, ConfigError)
