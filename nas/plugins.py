"""Tasks, spaces, controllers and executors of a user's own: by import path, or by a Python entry point.

A package offers them in its pyproject.toml:

    [project.entry-points."spinenas.tasks"]
    my-task = "my_package.my_module:MyTask"

and likewise "spinenas.spaces", "spinenas.controllers", "spinenas.executors".
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas import config_folder

PACKAGES = {"sklearn": "scikit-learn", "cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml"}
"""What to install where a module has another name than its package."""
OURS = ("controllers", "nas", "proxy_tasks", "search_space")
KINDS = ("task", "space", "controller", "executor")
_NOT_OWN = tuple(
    f"{folder}{os.sep}"
    for folder in (
        *(Path(__file__).parents[1] / package for package in OURS),
        *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
    )
)


class PluginError(ValueError):
    """What a path names cannot be used: says which file and what to change."""


class FaultError(RuntimeError):
    """A user's own controller or space has failed: says where and how."""


def installed(kind: str) -> dict[str, str]:
    """Import paths by name of what packages offer.

    Args:
        kind: one of `KINDS`.
    """
    return {entry.name: entry.value.replace(":", ".") for entry in entry_points(group=f"spinenas.{kind}s")}


def listed(kind: str) -> dict[str, str]:
    """What there is of a kind, by name: configurations of ours with what their first line says, and plug-ins.

    Args:
        kind: one of `KINDS`.
    """
    found: dict[str, str] = {}
    for path in sorted((config_folder() / kind).glob("*.yaml")):
        lines = path.read_text().splitlines()
        found[path.stem] = lines[0].lstrip("# ") if lines and lines[0].startswith("#") else ""
    return found | installed(kind)


def own_targets(overrides: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Takes what is said of a user's own plug-ins out of overrides.

    A plug-in takes its own arguments and none of those of the preset that it stands for.

    Args:
        overrides: such as ["task._target_=my_file.MyTask", "task.depth=3", "trials=8"].

    Returns:
        The overrides that are left, and for every kind with a plug-in what is said of it, below its name.
    """
    own: dict[str, list[str]] = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        kind = key.removesuffix("._target_")
        if kind not in KINDS:
            continue
        if key != kind:
            own.setdefault(kind, [])
        elif (path := installed(kind).get(value)) is not None:
            own[kind] = [f"_target_={path}"]
    left = []
    for override in overrides:
        key = override.partition("=")[0].lstrip("+")
        kind, _, rest = key.partition(".")
        if kind not in own:
            left.append(override)
        elif rest:
            own[kind].append(f"{rest}={override.partition('=')[2]}")
    return left, own


def find_target(path: str) -> Callable[..., Any]:
    """The class or function that an import path such as "my_file.MyTask" names.

    Raises:
        PluginError: if there is none.
    """
    module_name, _, name = path.rpartition(".")
    if "/" in path:
        better = path.removeprefix("./").removesuffix(".py").replace("/", ".")
        raise PluginError(f"{path!r}: write FILE.CLASS with dots for slashes, such as {better}")
    if ":" in path:
        raise PluginError(f"{path!r}: write a dot for the colon: {path.replace(':', '.')}")
    if not module_name or path.startswith("."):
        raise PluginError(f"{path!r} names no class; write FILE.CLASS, such as my_file.MyTask")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            outer = module_name.rpartition(".")[0]
            if outer and _is_module(outer):
                return _of(find_target(module_name), name, path)
            file = f"{missing.replace('.', '/')}.py"
            raise PluginError(
                f"{path}: there is no {file} in {Path.cwd()}, and no package {missing} is installed"
            ) from None
        package = missing.split(".")[0]
        raise PluginError(
            f"{_file(module_name)} needs the package {missing}: pip install {PACKAGES.get(package, package)}"
        ) from None
    except SyntaxError as error:
        raise PluginError(
            f"{error.filename or _file(module_name)}, line {error.lineno or 1}: {error.msg}"
        ) from None
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        here = str(Path.cwd())
        own = [f for f in frames if f.filename == _file(module_name) or f.filename.startswith(here)]
        frame = (own or frames)[-1]
        raise PluginError(
            f"{frame.filename}, line {frame.lineno}: {type(error).__name__} at import: {error}"
        ) from None
    return _of(module, name, path)


def own_file(path: str) -> Path | None:
    """The file of a user's own in which an import path's class stands; None for ours and for packages'."""
    module = path.rpartition(".")[0]
    if not module or not _is_module(module):
        return None
    file = _file(module)
    return Path(file) if is_own(file) else None


def is_own(file: str) -> bool:
    """Whether a file is of a user's own: there, and neither ours nor a library's."""
    return Path(file).is_file() and not file.startswith(_NOT_OWN)


def takes(path: str, argument: str) -> bool:
    """Whether what an import path names takes an argument of that name; False if it is not there."""
    try:
        parameters = inspect.signature(find_target(path)).parameters.values()
    except (PluginError, TypeError, ValueError):
        return False
    return any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters)


def _of(holder: Any, name: str, path: str) -> Callable[..., Any]:
    found = getattr(holder, name, None)
    if found is None:
        own = [n for n, v in vars(holder).items() if isinstance(v, type) and v.__module__ == holder.__name__]
        has = f"; it has {', '.join(own)}" if own else ""
        where = str(getattr(holder, "__file__", holder.__name__))
        hidden = Path.cwd() / f"{holder.__name__.partition('.')[0]}.py"
        if hidden.is_file() and where != str(hidden):
            has = f"; {hidden} needs another name, as a package has this one"
        raise PluginError(f"{where} has no {name}{has}")
    if not callable(found):
        raise PluginError(f"{path} is no class or function, but a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _is_module(name: str) -> bool:
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _file(module_name: str) -> str:
    try:
        spec = find_spec(module_name)
    except (ImportError, ValueError):
        return module_name
    return spec.origin if spec is not None and spec.origin else module_name
