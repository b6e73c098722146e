"""Files that readers look for: pictures in folders, texts, names as annotations write them, and stamps."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from proxy_tasks.data.dataset import DataError, Fault
from proxy_tasks.data.image_io import IMAGE_ENDINGS
from search_space.utils.parsing import shown
from search_space.utils.regular_file import read_regular

OTHER_ENDINGS = (
    *(".txt", ".xml", ".json", ".csv", ".yaml", ".yml", ".md", ".html", ".ini", ".db", ".cache", ".npy"),
    *(".names", ".labels", ".data", ".log", ".zip", ".gz", ".pt", ".py"),
)
"""Endings of files that lie beside pictures and are none."""

USUAL_FOLDERS = frozenset(
    {
        *("images", "image", "imgs", "img", "jpegimages", "data", "default"),
        *("train", "training", "val", "valid", "validation", "test", "obj_train_data", "obj_valid_data"),
    }
)
"""Folders that exports write before a file's name and that need not be there."""

Stamp = tuple[str, int, int]
"""Path, time of change in nanoseconds, size in bytes."""


@dataclass(frozen=True)
class Pictures:
    """What lies in a folder and in those below it.

    Args:
        images: the files that have the ending of a picture, by name.
        faults: folders that cannot be read, and files of other endings that may be pictures.
        unread: how many such files there are.
    """

    images: list[Path]
    faults: list[Fault]
    unread: int


def list_pictures(folder: Path) -> Pictures:
    """The image files of a folder and of those below it; hidden ones do not count. Links are followed."""
    images: list[Path] = []
    others: dict[str, list[Path]] = {}
    faults: list[Fault] = []

    def unreadable(error: OSError) -> None:
        where = str(error.filename or folder)
        faults.append(Fault(where, f"the folder cannot be read: {error.strerror}", "its images"))

    for path in walk_files(folder, unreadable):
        ending = path.suffix.lower()
        if path.name.startswith("~"):
            continue
        if ending in IMAGE_ENDINGS:
            images.append(path)
        elif ending not in OTHER_ENDINGS and path.name.lower() not in ("thumbs", "readme", "license"):
            others.setdefault(ending, []).append(path)
    for ending, paths in sorted(others.items()):
        kind = f"{ending} files are" if ending else "files without an ending are"
        count, first = len(paths), min(paths).relative_to(folder).as_posix()
        what = f"{count} {kind} not read, such as {shown(first)}; pictures are {', '.join(IMAGE_ENDINGS)}"
        faults.append(Fault(str(folder), what, "the files"))
    return Pictures(sorted(images), faults, sum(map(len, others.values())))


def is_file(path: Path) -> bool:
    """Whether there is such a file; False also for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


class Finder(Protocol):
    """Finds the files that annotations name."""

    @property
    def folder(self) -> Path:
        """Where the files lie."""

    def find(self, name: object) -> str | None:
        """The path below the folder of the file that is meant; None if there is none."""

    def explain(self, name: object) -> str:
        """Why there is no such file."""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder. A link that leads nowhere is none: whoever opens it says what is wrong."""
    try:
        return entry.is_dir()
    except OSError:  # It leads in a circle.
        return False


@dataclass(frozen=True)
class FileFinder:
    """Finds the files that annotations name, however they write the names.

    A name is taken as it is if there is such a file. Else backslashes count as slashes; folders that exports
    write before the name, such as "images/", need not be there; upper and lower case, and the two ways in
    which Unicode writes an umlaut, are the same where only one file can be meant. A name never leads out of
    the folder.

    Args:
        folder: where the files lie, in folders below too.
    """

    folder: Path

    @cached_property
    def _names(self) -> set[str]:
        """Files in the folder itself; one look at it is quicker than one for each file."""
        with os.scandir(self.folder) as entries:
            return {entry.name for entry in entries if not _is_folder(entry)}

    def find(self, name: object) -> str | None:
        """The path below the folder, with slashes, of the file that is meant; None if there is none."""
        if not isinstance(name, str) or not name or "\0" in name:
            return None
        if self._is_there(name):
            return PurePosixPath(name).as_posix()
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or "://" in name or parts[0].startswith("/") or ":" in parts[0]:
            return None
        while parts:
            path = "/".join(parts)
            for candidate in (path, *self._prefixed(parts)):
                if self._is_there(candidate):
                    return candidate
                found = self._by_key.get(name_key(candidate))
                if found:
                    return found
            if len(parts) < 2 or not self._may_drop(parts[0]):
                return None
            parts = parts[1:]
        return None

    def explain(self, name: object) -> str:
        """Why there is no such file."""
        text = f"no file {shown(name)} in {self.folder}"
        if isinstance(name, str) and "://" in name:
            return f"{text}: it is an address; download the images and name their files"
        return text

    def _is_there(self, name: str) -> bool:
        if "/" not in name:
            return name in self._names
        path = PurePosixPath(name)
        return not path.is_absolute() and ".." not in path.parts and is_file(self.folder / path)

    def _prefixed(self, parts: Sequence[str]) -> list[str]:
        """COCO 2014 puts the folder's name before the number: COCO_train2014_000000000009.jpg."""
        return ["/".join([*parts[:-1], f"COCO_{self.folder.name}_{parts[-1]}"])]

    def _may_drop(self, part: str) -> bool:
        known = {self.folder.name.lower(), self.folder.parent.name.lower()}
        return part.lower() in USUAL_FOLDERS or part.lower() in known or part in (".", "")

    @cached_property
    def _by_key(self) -> dict[str, str]:
        """The files below the folder by what all ways to write a name share, if one file has it."""
        names = [path.relative_to(self.folder).as_posix() for path in walk_files(self.folder)]
        counts = Counter(map(name_key, names))
        return {name_key(name): name for name in names if counts[name_key(name)] == 1}


def name_key(name: str) -> str:
    """What is the same for all ways to write a file's name."""
    return unicodedata.normalize("NFC", name).casefold()


def walk_files(folder: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """The files of a folder and of those below it; hidden ones do not count.

    Links are followed; one that leads to a folder above ends there.

    Args:
        folder: where to look.
        on_error: is called for a folder that cannot be read.
    """
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        real = os.path.realpath(here)
        again = real in seen
        folders[:] = (
            [] if again else sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        )
        if not again:
            seen.add(real)
            yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark.

    Raises:
        DataError: if it is no text.
    """
    try:
        return read_regular(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not readable as text: {error.reason} at byte {error.start}") from None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text that are not empty, stripped, with their numbers from 1.

    Raises:
        DataError: if it is no text.
    """
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def stamps_of(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    """What changes when one of the files changes; files that are missing are left out."""
    stamps = []
    for path in paths:
        try:
            state = path.stat()
        except (OSError, ValueError):
            continue
        stamps.append((str(path.absolute()), state.st_mtime_ns, state.st_size))
    return tuple(stamps)
