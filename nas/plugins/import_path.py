"""The class or function that an import path of a configuration names."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas.plugins.advice import advise
from nas.plugins.faults import one_line
from nas.plugins.own_code import is_module, is_own, module_file

PACKAGES = {"sklearn": "scikit-learn", "cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml"}
"""What to install where a module has another name than its package."""


KEEP_FROM_IMPORT = 'what ends the program belongs below: if __name__ == "__main__":'
"""Advice for a file that ends the program when it is imported, as a parser of arguments does."""


class PluginError(ValueError):
    """What a path names cannot be used: says which file and what to change."""


def find_target(path: str) -> Callable[..., Any]:
    """The class or function that an import path such as "my_file.MyTask" names.

    Raises:
        PluginError: if there is none.
    """
    advice = advise(path)
    if advice:
        raise PluginError(f"{path!r} {advice}")
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            outer = module_name.rpartition(".")[0]
            if outer and is_module(outer):
                return _of(find_target(module_name), name, path)
            file = f"{missing.replace('.', '/')}.py"
            raise PluginError(
                f"{path}: there is no {file} in {Path.cwd()}, and no package {missing} is installed"
            ) from None
        package = missing.split(".")[0]
        command = f"pip install {PACKAGES.get(package, package)}"
        raise PluginError(f"{module_file(module_name)} needs the package {missing}: {command}") from None
    except SyntaxError as error:
        raise PluginError(
            f"{error.filename or module_file(module_name)}, line {error.lineno or 1}: {error.msg}"
        ) from None
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if f.filename == module_file(module_name) or is_own(f.filename)]
        frame = (own or frames)[-1]
        advice = f"; {KEEP_FROM_IMPORT}" if isinstance(error, SystemExit) else ""
        raise PluginError(
            f"{frame.filename}, line {frame.lineno}: {type(error).__name__} at import: "
            f"{one_line(error)}{advice}"
        ) from None
    return _of(module, name, path)


def takes(path: str, argument: str) -> bool:
    """Whether what an import path names takes an argument of that name; False if it is not there."""
    import inspect

    try:
        parameters = inspect.signature(find_target(path)).parameters.values()
    except (PluginError, TypeError, ValueError):
        return False
    return any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters)


def _of(holder: Any, name: str, path: str) -> Callable[..., Any]:
    if not name:
        raise PluginError(f"{path!r} names no class; write FILE.CLASS")
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
