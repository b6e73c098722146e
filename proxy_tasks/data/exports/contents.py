"""The files of a folder that a labeling tool has written, and which picture an annotation names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from proxy_tasks.data.dataset import Fault
from proxy_tasks.data.exports.splits import split_of
from proxy_tasks.data.files import USUAL_FOLDERS, list_pictures, name_key, walk_files

K = TypeVar("K", bound=Hashable)

UPLOAD = re.compile(r"^[0-9a-f]{6,8}-")
"""What Label Studio writes before the name of a file that was uploaded."""


def _path_of(name: str) -> str:
    """The path in an address; Label Studio's local files have theirs behind "?d="."""
    path, _, query = name.partition("?")
    if query.startswith("d="):
        path = query[2:].split("&")[0]
    return unquote(path) if query or "://" in name else path


@dataclass
class Contents:
    """The files of a folder and of those below it.

    Args:
        root: the folder.
        pictures: the images.
        faults: what could not be looked at.
        others: all files by their endings.
    """

    root: Path
    pictures: list[Path] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    others: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, root: Path) -> Contents:
        """Looks through a folder."""
        found = list_pictures(root)
        contents = cls(root, found.images, found.faults)
        for path in walk_files(root):
            contents.others[path.suffix.lower()].append(path)
        return contents

    @cached_property
    def by_path(self) -> dict[tuple[str, ...], Path]:
        """Pictures by their whole paths from the root, where that is one picture's alone."""
        found = self._by(lambda path: tuple(map(name_key, path.relative_to(self.root).parts)))
        return {parts: paths[0] for parts, paths in found.items() if len(paths) == 1}

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """Pictures by what is the same for all ways to write their name."""
        return self._by(lambda path: name_key(path.name))

    @cached_property
    def by_stem(self) -> dict[str, list[Path]]:
        """Pictures likewise, by their names without endings."""
        return self._by(lambda path: name_key(path.stem))

    def _by(self, key: Callable[[Path], K]) -> dict[K, list[Path]]:
        found: dict[K, list[Path]] = defaultdict(list)
        for path in self.pictures:
            found[key(path)].append(path)
        return found

    def picture(self, name: object, near: Path) -> Path | None:
        """The picture that an annotation file names.

        Args:
            name: as the file writes it: a path, an address, or what a tool calls an upload.
            near: the annotation file.
        """
        if not isinstance(name, str) or not name or "\0" in name:
            return None
        parts = [part for part in re.split(r"[\\/]+", _path_of(name)) if part not in ("", ".", "..")]
        if not parts:
            return None
        whole = self.by_path.get(tuple(map(name_key, parts)))
        if whole is not None:
            return whole
        found = self.by_name.get(name_key(parts[-1])) or self.by_name.get(name_key(UPLOAD.sub("", parts[-1])))
        return self.nearest(found or [], parts, near)

    def nearest(self, found: Sequence[Path], parts: Sequence[str], near: Path) -> Path | None:
        """Gives the picture that an annotation means among those of one name, or None if that cannot be told.

        Its folders decide first, then its distance to the annotation, then its split.

        Args:
            found: the pictures of that name.
            parts: the path that the annotation gives.
            near: the file of the annotation.
        """
        wanted = name_key(parts[-2]) if len(parts) > 1 else ""
        if wanted in self.folders:  # Another picture of that name is not meant.
            found = [path for path in found if name_key(path.parent.name) == wanted]
        if len(found) < 2:
            return found[0] if found else None
        split = split_of(near.relative_to(self.root).as_posix())

        def rank(path: Path) -> tuple[int, bool, bool]:
            ours = path.relative_to(self.root).parts
            same = 0
            for one, other in zip(reversed(ours[:-1]), reversed(parts[:-1]), strict=False):
                if name_key(one) != name_key(other):
                    break
                same += 1
            return same, path.parent == near.parent, split_of("/".join(ours[:-1])) == split

        ranked = sorted(found, key=rank, reverse=True)
        return ranked[0] if rank(ranked[0]) > rank(ranked[1]) else None

    @cached_property
    def folders(self) -> set[str]:
        """Names of the folders that pictures lie in, without those that say nothing."""
        return {name_key(path.parent.name) for path in self.pictures} - USUAL_FOLDERS

    def relative(self, path: Path) -> str:
        """A path as records have it."""
        return path.relative_to(self.root).as_posix()
