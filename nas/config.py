"""Hydra configurations: composed from the shipped folder and turned into objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas import config_folder
from nas.plugins import PluginError, find_target, own_targets, takes

OPEN = ("cost_limits.", "objective.limits.", "space.choices.", "controller.options.")
"""Mappings of the configuration that take any names."""


class ConfigError(ValueError):
    """A configuration that cannot be composed or built: says which key and what would be right."""


def compose(name: str, overrides: Sequence[str] = ()) -> Any:
    """The resolved configuration of a name such as "search" or "task/cpu", with Hydra overrides.

    Args:
        name: file below the configuration folder, without ".yaml".
        overrides: such as "task.plan.steps=10".

    Raises:
        ConfigError: if a name or a key is unknown, or an override cannot be read.
    """
    _check_name(name)
    import yaml
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    left, own = own_targets([opened(override) for override in overrides])
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            config = hydra_compose(name, left)
        put_own(config, own)
        # A group's file composed by itself lies below the group's name.
        for part in name.split("/")[:-1]:
            config = config[part]
        # Interpolations stay, so that a later change of `trials` reaches all that hangs on it.
        OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(_told(error)) from None
    return config


def put_own(config: Any, own: Mapping[str, Sequence[str]]) -> None:
    """Puts a user's own plug-ins into a configuration, in the place of what stood there.

    Args:
        config: is changed.
        own: as `nas.plugins.own_targets` finds it.
    """
    from omegaconf import OmegaConf

    for kind, said in own.items():
        node = OmegaConf.from_dotlist(list(said))
        if kind == "controller":
            node["_partial_"] = True  # The space comes later.
            if "seed" not in node and takes(str(node["_target_"]), "seed"):
                node["seed"] = "${seed}"
        OmegaConf.update(config, kind, node, merge=False, force_add=True)


def opened(override: str) -> str:
    """The override as Hydra wants it where a mapping takes names that it does not hold yet."""
    key = override.partition("=")[0]
    return f"++{override}" if f"{key}.".startswith(OPEN) else override


def build(config: Any, what: str = "the configuration") -> Any:
    """The object that a configuration with a `_target_` stands for.

    Raises:
        ConfigError: if a value is missing, the class cannot be found, or it refuses the values.
    """
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf.errors import OmegaConfBaseException

    target = config.get("_target_") if hasattr(config, "get") else None
    try:
        if target is not None:
            find_target(str(target))  # Says more of what is wrong than Hydra does.
        return instantiate(config)
    except PluginError as error:
        raise ConfigError(f"{what}: {error}") from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{what}: {_told(error)}") from None


def load_task(name: str, *overrides: str) -> Any:
    """A task of the group `task`, such as load_task("cpu", "data.root=DIR", "plan.steps=100").

    Raises:
        ConfigError: if the name or a key is unknown, or a value is missing.
    """
    return build_task(compose(f"task/{name}", [f"task.{override}" for override in overrides]), f"task {name}")


def read_config(path: Path, keys: Sequence[str] = ()) -> Any:
    """The configuration that a run folder keeps.

    Args:
        path: of the file.
        keys: that it must have.

    Raises:
        ConfigError: if it is not there, cannot be read, or lacks a key.
    """
    import yaml
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        found = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path}: {_told(error)}") from None
    missing = [key for key in keys if not isinstance(found, DictConfig) or key not in found]
    if missing:
        raise ConfigError(f"{path} is damaged: it has no {missing[0]!r}")
    return found


def merged(config: Any, overrides: Sequence[str]) -> Any:
    """The configuration with KEY=VALUE changes, resolved.

    Raises:
        ConfigError: if a key is not there or a change cannot be read.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    wrong = next((change for change in overrides if "=" not in change), None)
    if wrong is not None:
        raise ConfigError(f"{wrong!r} is no KEY=VALUE")
    OmegaConf.set_struct(config, True)
    try:
        result = OmegaConf.merge(config, OmegaConf.from_dotlist(list(overrides)))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(_told(error)) from None
    return result


def config_text(config: Any) -> str:
    """The configuration as YAML; what hangs on a value by interpolation still does."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(config)


def _check_name(name: str) -> None:
    """A file of ours, or the names of those that stand beside it."""
    from search_space.names import look_up

    file = config_folder() / f"{name}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.yaml"))
        what = file.parent.name if "/" in name else "configuration"
        look_up(file.stem, dict.fromkeys(known), what, ConfigError)


def _told(error: BaseException) -> str:
    """The innermost reason in one line: outer ones repeat where the file was read."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    theirs = (HydraException, OmegaConfBaseException)
    while isinstance(error, theirs) and error.__cause__ is not None:
        error = error.__cause__
    key = getattr(error, "full_key", None)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, theirs):
        lines = [line for line in lines if "=" not in line.split(" ")[0] and not line.startswith("full_key:")]
    told = "; ".join(lines) or type(error).__name__
    if isinstance(error, KeyError):
        told = f"KeyError: {told}"
    if key and "is not in struct" in told:
        return f"{key}: no such key"
    if key and told.startswith("Missing mandatory value"):
        return f"{key}: needs a value; give {key}=..."
    return told.split("; Config search path")[0]


def build_task(config: Any, what: str = "task") -> Any:
    """`build` for a task: also says why what was built is none.

    Raises:
        ConfigError: as `build`, or if it cannot evaluate.
    """
    from proxy_tasks.task import task_fault

    task = build(config, what)
    fault = task_fault(task)
    if fault:
        raise ConfigError(f"{what}: {_source(task)}{fault}")
    return task


def build_controller(config: Any, space: Any, what: str = "controller") -> Any:
    """A controller from its configuration and the space that it searches.

    Raises:
        ConfigError: as `build`, or if what is built cannot ask and tell.
    """
    made = build(config, what)
    if not callable(made):
        raise ConfigError(f"{what}: {config.get('_target_')} is no class of a controller")
    try:
        controller = made(space)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None
    except TypeError as error:
        raise ConfigError(f"{what}: {config._target_} is made from a space: {error}") from None
    for method in ("ask", "tell"):
        if not callable(getattr(controller, method, None)):
            raise ConfigError(f"{what}: {config._target_} has no method {method}")
    return controller


def check_whole(config: Any, **least: int) -> None:
    """Holds keys against the least whole number that each may be.

    Raises:
        ConfigError: if one is less, or no whole number.
    """
    for key, value in least.items():
        if type(config[key]) is not int or config[key] < value:
            raise ConfigError(f"{key} must be a whole number of at least {value}, not {config[key]!r}")


def build_space(config: Any) -> Any:
    """`build` for a space.

    Raises:
        ConfigError: as `build`, or if what is built is none.
    """
    members = ("decisions", "decode", "encode", "key", "sample", "check", "mutate", "neighbours")
    return _with(build(config, "space"), "space", members, config, "; inherit search_space.Space")


def build_executor(config: Any) -> Any:
    """`build` for an executor.

    Raises:
        ConfigError: as `build`, or if what is built is none.
    """
    members = ("workers", "open", "submit", "wait", "now", "close")
    return _with(build(config, "executor"), "executor", members, config)


def _with(built: Any, what: str, members: Sequence[str], config: Any, advice: str = "") -> Any:
    missing = [member for member in members if not hasattr(built, member)]
    if missing:
        raise ConfigError(f"{what}: {config.get('_target_')} has no {missing[0]}{advice}")
    return built


def _source(task: Any) -> str:
    """The file of a plug-in and a colon."""
    import sys

    file = getattr(sys.modules.get(type(task).__module__), "__file__", None)
    return f"{file}: " if file else ""
