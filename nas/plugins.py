"""Classes of a user's own: by import path, or by a Python entry point; and the errors that they make.

A package offers them in its pyproject.toml:

    [project.entry-points."spinenas.tasks"]
    my-task = "my_package.my_module:MyTask"

and likewise for every other kind, see `KINDS`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas import config_folder


def source_location(error: BaseException) -> str:
    """Where an error came about in code that is neither ours nor a library's, such as "my.py, line 3: "."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_own(frame.filename)]
    if not own:
        return ""
    path = Path(own[-1].filename)
    with contextlib.suppress(OSError, ValueError):
        path = path.relative_to(Path.cwd())
    return f"{path}, line {own[-1].lineno}: "


@contextlib.contextmanager
def reraise_as(what: str, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns errors of a block, but for those of our own kinds, into ones that name the call and the line.

    Args:
        what: the call, such as "Mine.setup".
        but: further kinds that pass, as the call may raise them to say what is wrong.

    Raises:
        FaultError: in the place of whatever else the block raises.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, but) or type(error).__module__.partition(".")[0] in OURS:
            raise
        raise FaultError(
            f"{source_location(error)}{type(error).__name__} in {what}: {one_line(error)}"
        ) from error


def text_of(error: object) -> str:
    """Gives what prints; also of an object of a user's own class whose `__str__` fails."""
    try:
        return str(error)
    except Exception:
        return f"a {type(error).__name__} whose __str__ fails"


def one_line(error: object) -> str:
    """The first lines of an error's message, or of what prints so, as one, shortened."""
    text = " ".join(text_of(error).split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 300 else text[:297] + "..."


PACKAGES = {"sklearn": "scikit-learn", "cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml"}
"""What to install where a module has another name than its package."""


OURS = ("controllers", "nas", "proxy_tasks", "search_space")


KINDS = {
    "task": "tasks",
    "space": "spaces",
    "controller": "controllers",
    "executor": "executors",
    "head": "heads",
    "reader": "readers",
    "family": "families",
    "scheduler": "schedulers",
    "prior": "priors",
    "observer": "observers",
}
"""What a user can write, each with the ending of its group of entry points, such as "spinenas.tasks"."""


GROUPS = {"head": "task/head"}
"""Folders of presets that are not called like their kind."""


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
    """Code of the user's own has failed, such as a task, a space or a controller: says where and how."""


def installed(kind: str) -> dict[str, str]:
    """Import paths by name of what packages offer.

    Args:
        kind: one of `KINDS`.
    """
    from importlib.metadata import entry_points  # It takes as long as all else that `nas --help` imports.

    group = f"spinenas.{KINDS[kind]}"
    return {entry.name: entry.value.replace(":", ".") for entry in entry_points(group=group)}


def list_plugins(kind: str) -> dict[str, str]:
    """Everything of a kind by name: our presets with the first line of their files, and plug-ins.

    Args:
        kind: one of `KINDS`.
    """
    found: dict[str, str] = {}
    for path in sorted((config_folder() / GROUPS.get(kind, kind)).glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found[path.stem] = lines[0].lstrip("# ") if lines and lines[0].startswith("#") else ""
    return found | installed(kind)


def kind_of_key(key: str) -> str | None:
    """The kind of the node at a key of a configuration, such as "head" for "task.head", if it has one."""
    last = key.rpartition(".")[2]
    return last if last in KINDS else None


def find_target(path: str) -> Callable[..., Any]:
    """The class or function that an import path such as "my_file.MyTask" names.

    Raises:
        PluginError: if there is none.
    """
    advice = _advise(path)
    if advice:
        raise PluginError(f"{path!r} {advice}")
    module_name, _, name = path.rpartition(".")
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


def _advise(path: str) -> str:
    """Says what to write instead of a path that is no import path; "" if it may be one."""
    file, name = _split_file(path)
    if file is None and "." in path and not path.startswith("."):
        return ""
    if file is None:
        word = path.strip(".") if path.strip(".").isidentifier() else "MyTask"
        inside = _classes_in(Path(f"{word}.py"))
        best = f"{word}.{inside[0]}" if inside else f"{_guess_file(word)}.{word}"
        return f"names no class; write FILE.CLASS, such as {best}"
    place = Path(os.path.expanduser(file))  # noqa: PTH111 - it raises nothing where there is no home.
    if not place.name:
        return "names no class; write FILE.CLASS, such as my_file.MyTask"
    classes = _classes_in(place.with_name(f"{place.name}.py"))
    name = name or (classes[0] if classes else "MyTask")
    whole = Path(os.path.abspath(place))  # noqa: PTH100 - a link is no place of its own.
    if whole.is_relative_to(Path.cwd()):
        return f"is no FILE.CLASS; write {'.'.join((*whole.relative_to(Path.cwd()).parts, name))}"
    return f"is no FILE.CLASS; write {whole.name}.{name}, and run the command in the folder {whole.parent}"


def _split_file(path: str) -> tuple[str | None, str]:
    """The file without its ending, and the class, of a path such as "./mine.py:Mine"; None if it is none."""
    slashes = path.replace("\\", "/")
    file, colon, name = slashes.rpartition(":")
    if colon:
        return file.rstrip(":").removesuffix(".py"), name.strip(".")
    found = re.fullmatch(r"(.+)\.py(?:\.(\w+))?", slashes)
    if found and ("/" in slashes or Path(f"{found[1]}.py").is_file()):
        return found[1], found[2] or ""
    if "/" not in slashes:
        return None, ""
    folder, _, last = slashes.rpartition("/")
    file, _, name = last.partition(".")
    return f"{folder}/{file}", name


def _classes_in(file: Path) -> list[str]:
    """Names of the classes that a file defines; none if it cannot be read."""
    try:
        return re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return []


def _guess_file(name: str) -> str:
    """The file here that defines a class; a made-up name if there is none."""
    return next((file.stem for file in sorted(Path().glob("*.py")) if name in _classes_in(file)), "my_file")


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


def file_of(kind: type) -> str:
    """The user's own file in which a class stands, with a colon, such as "mine.py: "; "" for others."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return f"{Path(file).name}: " if file is not None and is_own(file) else ""


def takes(path: str, argument: str) -> bool:
    """Whether what an import path names takes an argument of that name; False if it is not there."""
    import inspect

    try:
        parameters = inspect.signature(find_target(path)).parameters.values()
    except (PluginError, TypeError, ValueError):
        return False
    return any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters)


def look_where_it_began(folder: str | None) -> None:
    """Looks for modules in a folder too: a search may be resumed or read from elsewhere.

    Args:
        folder: in which the search was begun, if it is known.
    """
    if folder is not None and folder not in sys.path:
        sys.path.append(folder)


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
