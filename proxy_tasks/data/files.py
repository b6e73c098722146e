"""Files that readers look for: pictures in folders, texts, and stamps by which a change is seen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from proxy_tasks.data.dataset import DataError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")


Stamp = tuple[str, int, int]
"""Path, time of change in nanoseconds, size in bytes."""


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder and of those below it, by name; hidden ones do not count."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark.

    Raises:
        DataError: if it is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
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
        except OSError:
            continue
        stamps.append((str(path.resolve()), state.st_mtime_ns, state.st_size))
    return tuple(stamps)
