"""From a configuration to the objects that it names."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_origin

from nas.config.composition import compose
from nas.config.errors import ConfigError, config_errors
from nas.config.schema import (
    MISSING,
    PARTIAL,
    RESERVED,
    TARGET,
    Parameter,
    expand,
    join,
    read_signature,
    signature_of,
)
from nas.plugins.faults import one_line, pass_interrupt, source_location
from nas.plugins.import_path import find_target
from nas.plugins.kinds import lacks
from search_space.utils.parsing import printable

if TYPE_CHECKING:
    from controllers import AskTell
    from nas.executors import Executor
    from proxy_tasks.adapted_task import AdaptedTask
    from search_space import Space

Settings = TypeVar("Settings")
"""The dataclass of a command's root."""


def build(config: Any, key: str = "") -> Any:
    """The object that a configuration with a `_target_` stands for.

    Args:
        config: a node of a configuration, or a plain mapping.
        key: names the node in errors, such as "task".

    Raises:
        ConfigError: if a value is missing, a key or a class is unknown, or the class refuses a value; it
            names the key.
    """
    from omegaconf import OmegaConf

    with config_errors(f"{key}: "):
        tree = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    return _make(expand(tree, key), key)


def build_task(config: Any, key: str = "task") -> AdaptedTask:
    """Builds a task, with all that it is able to do.

    Raises:
        ConfigError: see `build`; and if what is built is no task.
    """
    from proxy_tasks.adapted_task import adapt, task_fault

    task = build(config, key)
    fault = task_fault(task)
    if fault:
        raise ConfigError(f"{key}: {_source(task)}{fault}")
    return adapt(task)


def build_controller(config: Any, space: Space, key: str = "controller") -> AskTell:
    """Builds a controller for a space.

    Raises:
        ConfigError: see `build`; and if what is built cannot ask and tell.
    """
    make, path = build(config, key), config.get(TARGET)
    if not callable(make):
        raise ConfigError(f"{key}: {path} is no class of a controller")
    controller: AskTell = _call(functools.partial(make, space), key, path, f"{path} is made from a space: ")
    _refuse(lacks("controller", controller), key, path)
    return controller


def build_scheduler(config: Any, space: Space, key: str = "scheduler") -> Any:
    """Builds a scheduler; one whose node says `_partial_` is made for the space.

    Raises:
        ConfigError: see `build`; and if what is built is no scheduler.
    """
    found, path = build(config, key), config.get(TARGET)
    if isinstance(found, functools.partial):
        make = functools.partial(found, space=space)
        found = _call(make, key, path, f"{path} is made from a space: ")
    _refuse(lacks("scheduler", found), key, path)
    return found


def build_space(config: Any, key: str = "space") -> Space:
    """Builds a space.

    Raises:
        ConfigError: see `build`; and if what is built is no space.
    """
    space: Space = build(config, key)
    _refuse(lacks("space", space), key, config.get(TARGET))
    return space


def build_executor(config: Any, key: str = "executor") -> Executor:
    """Builds an executor.

    Raises:
        ConfigError: see `build`; and if what is built is no executor.
    """
    executor: Executor = build(config, key)
    _refuse(lacks("executor", executor), key, config.get(TARGET))
    return executor


def build_prior(config: Any, key: str = "prior") -> Any:
    """Builds a prior. A function that needs one value, the list of specs, is the prior itself.

    Raises:
        ConfigError: see `build`; and if what is built cannot be called.
    """
    from omegaconf import OmegaConf

    tree: Any = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    open_ones = [name for name, value in tree.items() if value == MISSING]
    if len(open_ones) == 1 and inspect.isfunction(find_target(str(tree[TARGET]))):
        (specs,) = open_ones
        made = build({**{name: tree[name] for name in tree if name != specs}, PARTIAL: True}, key)
        return _PriorFunction(func=made.func, values=made.keywords, specs=specs, key=key)
    prior = build(config, key)
    if not callable(prior):
        raise ConfigError(f"{key}: {type(prior).__name__} cannot be called with a list of specs")
    return prior


@dataclass(frozen=True, kw_only=True)
class _PriorFunction:
    """A function that needs one value, the list of specs.

    Args:
        func: the function.
        values: its other arguments.
        specs: name of the one that takes the specs.
        key: of the prior's node.
    """

    func: Callable[..., Any]
    values: Mapping[str, Any]
    specs: str
    key: str

    def __call__(self, specs: Sequence[Any]) -> Any:
        """Gives what the function tells of specs.

        Raises:
            ConfigError: if that is another function: this one makes priors, and lacks a value.
        """
        parameter = inspect.signature(self.func).parameters[self.specs]
        if parameter.kind is parameter.POSITIONAL_ONLY:
            told = self.func(specs, **self.values)
        else:
            told = self.func(**self.values, **{self.specs: specs})
        if callable(told):
            raise ConfigError(f"{self.key}.{self.specs}: needs a value; give {self.key}.{self.specs}=...")
        return told


def load_task(name: str, *overrides: str) -> Any:
    """A task of the group `task`, such as load_task("cpu", "data.root=DIR", "train.steps=100").

    Raises:
        ConfigError: if the name or a key is unknown, or a value is missing.
    """
    return build_task(compose(f"task/{name}", [f"task.{override}" for override in overrides])).task


def build_root(config: Any, kind: type[Settings]) -> Settings:
    """The settings of a command, such as `nas.SearchSettings`; spaces, tasks and the like are left as nodes.

    Args:
        config: the whole configuration.
        kind: the dataclass of its root.

    Raises:
        ConfigError: if a value is wrong; it names the key.
    """
    from omegaconf import OmegaConf

    with config_errors():
        values: Any = OmegaConf.to_container(config, resolve=True)
    found: dict[str, Any] = {}
    target: Any = kind  # A class is hashable, which a cache wants to be told.
    for name, parameter in read_signature(target).parameters.items():
        if name not in values:
            continue
        if parameter.is_open:
            _check_node(values[name], name, parameter)
            found[name] = values[name]
        else:
            found[name] = _make(expand(values[name], name), name)
            if parameter.is_path and isinstance(found[name], str):
                found[name] = Path(found[name])
    return _build_settings(kind, found)


def check_root(root: Mapping[str, Any], kind: type) -> None:
    """Checks the settings of a command before the nodes are there that may be of any class.

    Args:
        root: the settings, completed; values that follow the nodes' are left for later.
        kind: the dataclass of the root.

    Raises:
        ConfigError: if a value is wrong; it names the key.
    """
    from omegaconf import OmegaConf

    parameters = read_signature(kind).parameters
    try:
        values: Any = OmegaConf.to_container(OmegaConf.create(dict(root)), resolve=True)
    except Exception:  # What follows other keys is read, and refused, with the whole configuration.
        return
    found = {name: _make(value, name) for name, value in values.items() if name in parameters}
    for name, parameter in parameters.items():
        if parameter.is_path and isinstance(found.get(name), str):
            found[name] = Path(found[name])
        if parameter.is_open and parameter.default == MISSING:
            found[name] = None
    _build_settings(kind, found)


def _build_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    try:
        return kind(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(one_line(error)) from None


def _check_node(node: Any, key: str, parameter: Parameter) -> None:
    """Refuses what names no class where one is needed.

    Raises:
        ConfigError: with the way to choose one.
    """
    if node is None or node == MISSING or (isinstance(node, dict) and (TARGET in node or not node)):
        return
    if get_origin(parameter.annotation) is not None and isinstance(node, dict):
        return  # Several nodes by name.
    if isinstance(node, dict):
        raise ConfigError(f"{key}: has settings but names no class; choose one first: {key}=NAME")
    raise ConfigError(f"{key} must name a preset or hold settings, not {printable(repr(node))}")


def _make(node: Any, key: str) -> Any:
    if node == MISSING:
        raise ConfigError(f"{key}: needs a value; give {key}=...")
    if isinstance(node, list):
        return [_make(item, f"{key}.{i}") for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    values = {name: _make(value, join(key, name)) for name, value in node.items() if name not in RESERVED}
    if TARGET not in node:
        return values
    path = str(node[TARGET])
    parameters = signature_of(path, key).parameters
    for name, value in values.items():
        if isinstance(value, str) and name in parameters and parameters[name].is_path:
            values[name] = Path(value)
    target = find_target(path)
    make = functools.partial(target, **values)
    return make if node.get(PARTIAL) else _call(make, key, path)


def _call(make: Callable[[], Any], key: str, path: str, misuse: str = "") -> Any:
    """Makes an object; whatever its class raises becomes an error that names the key, and the user's line.

    Args:
        make: calls the class.
        key: of the node.
        path: import path of the class.
        misuse: begins the message where the class does not take what it is given.

    Raises:
        ConfigError: if the class raises anything.
    """
    try:
        return make()
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(_with_key(error, key, path)) from None
    except TypeError as error:
        where = source_location(error)
        raise ConfigError(f"{key or path}: {where or misuse}{one_line(error)}") from None
    except (Exception, SystemExit) as error:
        pass_interrupt(error)
        where = f"{source_location(error)}{type(error).__name__}"
        raise ConfigError(f"{key or path}: {where}: {one_line(error)}") from None


def _with_key(error: ValueError, key: str, path: str) -> str:
    """A message with the full key: a class names only its own parameter."""
    message = one_line(error)
    first = re.match(r"\w+", message)
    if key and first is not None and first[0] in signature_of(path, key).parameters:
        return f"{key}.{message}"
    if key and message.startswith(f"{key.rpartition('.')[2]}."):
        return f"{key}{message[message.index('.') :]}"
    return f"{key}: {message}" if key else message


def _refuse(fault: str | None, key: str, path: str) -> None:
    if fault is not None:
        raise ConfigError(f"{key}: {path} {fault}")


def _source(task: Any) -> str:
    """The file of a plug-in and a colon."""
    file = getattr(sys.modules.get(type(task).__module__), "__file__", None)
    return f"{file}: " if file else ""
