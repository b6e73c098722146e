"""What to write instead of words that are no import path, such as "./mine.py:Mine"."""

from __future__ import annotations

import os
import re
from pathlib import Path


def advise(path: str) -> str:
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
