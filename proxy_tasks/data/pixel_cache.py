"""The pixel cache: a split decoded and resized once, as one memory-mapped file for all workers of a machine.

A cache is a folder `<cache>/<key>/` with `pixels.bin` (the images one after the other, [H, W, 3] uint8),
`index.npz`, and the split's objects in `split.npz`, or with their masks in `masks.npz`. The key is a digest
of what it was made from: annotations, file names with size and time of change, and the size asked for. It is
made in a folder of its own and renamed when it is complete, under a lock, so that two processes that need it
at once make it once.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.data.dataset import DataError, DetectionDataset
from proxy_tasks.data.image_io import MAX_PIXELS, ImageError, open_rgb
from proxy_tasks.data.progress import OnProgress
from proxy_tasks.data.stored_split import read_stored_split, write_split
from proxy_tasks.data.survey import Survey
from search_space.utils.atomic_file import atomic_folder
from search_space.utils.lock_file import locked

LOG = logging.getLogger(__name__)


NOTICES = logging.getLogger("proxy_tasks.notices")

TOLD_BYTES = 1 << 28
"""A larger cache is told to the user."""


VERSION = 5
"""Version of the file layout and of how pixels are decoded; a cache of another version is not found."""


Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PixelCache:
    """Images of a split at a size.

    Args:
        split: the images that could be decoded, with their boxes.
        pixels: all bytes, memory-mapped and read-only.
        offsets: [N] first byte of each image.
        sizes: [N, 2] height and width in the cache; the longer side is the size asked for.
        skipped: files that could not be decoded, with the reason.
        key: name of the folder.
    """

    split: DetectionDataset
    pixels: Pixels
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    skipped: tuple[tuple[str, str], ...]
    key: str = ""

    def __len__(self) -> int:
        return len(self.offsets)

    def first(self, count: int) -> PixelCache:
        """The cache with only its first images."""
        return replace(
            self,
            split=self.split.subset(np.arange(count)),
            offsets=self.offsets[:count],
            sizes=self.sizes[:count],
        )

    def image(self, i: int) -> Pixels:
        """[H, W, 3] uint8, a view of the memory map."""
        height, width = self.sizes[i]
        start = self.offsets[i]
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)


def open_cache(
    split: DetectionDataset,
    size: int,
    folder: str | Path,
    progress: OnProgress | None = None,
    max_pixels: int = MAX_PIXELS,
) -> PixelCache:
    """The pixel cache of a split; it is made if it is missing, out of date, or damaged.

    Args:
        split: what to decode.
        size: length of the longer side in pixels.
        folder: where caches lie; it is made if needed.
        progress: called with (done, all) while images are decoded.
        max_pixels: larger images are not decoded.

    Raises:
        OSError: if the cache cannot be written; no partial cache is left.
    """
    folder = Path(folder)
    key = cache_key(split, size, max_pixels)
    place = folder / key
    found = _read(split, place)
    if found is not None and _split_file(place, bool(split.masks)).exists():
        return found
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{key}.lock"):
        found = _read(split, place)
        if found is None:
            shutil.rmtree(place, ignore_errors=True)
            _make(split, size, place, progress, max_pixels)
            found = _read(split, place)
        if found is not None and not _split_file(place, bool(split.masks)).exists():
            write_split(_split_file(place, bool(split.masks)), split)
    if found is None:
        raise OSError(f"{place}: the pixel cache cannot be read back")
    return found


def open_stored(key: str, folder: Path, *, masks: bool) -> PixelCache | None:
    """The pixel cache of a key, without a look at annotations and image files; None if it is not there.

    Args:
        key: of a cache that `open_cache` gave, here or on another machine.
        folder: where caches lie.
        masks: whether the objects' masks are needed.
    """
    split = read_stored_split(_split_file(folder / key, masks)) if key else None
    return None if split is None else _read(split, folder / key)


def open_caches(
    survey: Survey, size: int, cache: Path, progress: Callable[[str], OnProgress | None] | None = None
) -> tuple[PixelCache, PixelCache]:
    """The pixel caches of both splits of a task, in the user's cache folder.

    Args:
        survey: of the data set.
        size: see `open_cache`.
        cache: the folder.
        progress: gives what is called while the "training" or "validation" images are decoded.

    Raises:
        DataError: if the set is refused, or no image or too few are left.
        OSError: see `open_cache`.
    """
    folder, largest = pixel_folder(cache), survey.limits.max_pixels
    splits = survey.datasets()
    training, validation = (
        open_cache(split, size, folder, progress(name) if progress else None, largest)
        for split, name in zip(splits, ("training", "validation"), strict=True)
    )
    for found, split, purpose in (
        (training, splits[0], "train on"),
        (validation, splits[1], "evaluate on"),
    ):
        if len(found) == 0:
            raise DataError(_none_left(found, split, purpose))
        if found.skipped:
            LOG.warning("%s; they are left out", _left_out(found, split))
    reason = survey.refuse_skipped(training.skipped, validation.skipped)
    if reason:
        raise DataError(reason)
    return training, validation


def _left_out(cache: PixelCache, split: DetectionDataset) -> str:
    name, reason = cache.skipped[0]
    what = f"{len(cache.skipped)} of {len(split)} images in {split.image_folder} cannot be used"
    return f"{what}, such as {name}: {reason}"


def _none_left(cache: PixelCache, split: DetectionDataset, purpose: str) -> str:
    return f"{_left_out(cache, split)}; none is left to {purpose}"


def pixel_folder(cache: Path) -> Path:
    """Where pixel caches lie below a cache folder."""
    return cache / "pixels"


def cache_key(split: DetectionDataset, size: int, max_pixels: int = MAX_PIXELS) -> str:
    """Digest of what a pixel cache is made from."""
    digest = blake2b(f"{VERSION} {size} {max_pixels} {split.annotation_digest}".encode(), digest_size=16)
    # What a reader makes of the content depends on its settings and its code, too.
    for array in (split.sizes, split.image_index, split.labels, split.boxes, split.crowd, split.areas):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr(split.categories).encode("utf-8", "surrogatepass"))
    for name in split.file_names:
        with contextlib.suppress(OSError):
            stat = (split.image_folder / name).stat()
            text = f"{name} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _split_file(place: Path, masks: bool) -> Path:
    return place / ("masks.npz" if masks else "split.npz")


def _read(split: DetectionDataset, folder: Path) -> PixelCache | None:
    """The cache in a folder, or None if it is missing or damaged."""
    try:
        with (folder / "index.npz").open("rb") as file, np.load(file, allow_pickle=False) as index:
            kept, offsets, sizes = index["kept"], index["offsets"], index["sizes"]
            skipped = tuple(zip(index["skipped"].tolist(), index["reasons"].tolist(), strict=True))
            total, sample = int(index["total"]), bytes(index["sample"])
        path = folder / "pixels.bin"
        if path.stat().st_size != total or (len(kept) and kept[-1] >= len(split)):
            return None
        pixels = np.memmap(path, np.uint8, "r") if total else np.empty(0, np.uint8)
        if _sample_digest(pixels) != sample:
            return None
    except Exception:  # Whatever damage makes a parser raise, the cache is made again.
        return None
    return PixelCache(
        split=split if len(kept) == len(split) else split.subset(kept),
        pixels=pixels,
        offsets=offsets,
        sizes=sizes,
        skipped=skipped,
        key=folder.name,
    )


def _make(
    split: DetectionDataset, size: int, folder: Path, progress: OnProgress | None, max_pixels: int
) -> None:
    for left in folder.parent.glob(f".{folder.name}.*"):  # Of a process that was killed: the lock is ours.
        shutil.rmtree(left, ignore_errors=True)
    _check_room(split, size, folder.parent)
    with atomic_folder(folder) as partial:
        kept: list[int] = []
        offsets: list[int] = []
        sizes: list[tuple[int, int]] = []
        skipped: list[tuple[str, str]] = []
        total = 0
        with (partial / "pixels.bin").open("wb") as file:
            images = _decoded(split, size, max_pixels)
            for i, (name, image) in enumerate(zip(split.file_names, images, strict=True)):
                if isinstance(image, str):
                    skipped.append((name, image))
                else:
                    kept.append(i)
                    offsets.append(total)
                    sizes.append((image.shape[0], image.shape[1]))
                    file.write(np.ascontiguousarray(image).data)
                    total += image.nbytes
                if progress is not None:
                    progress(i + 1, len(split))
        pixels = np.memmap(partial / "pixels.bin", np.uint8, "r") if total else np.empty(0, np.uint8)
        np.savez(
            partial / "index.npz",
            kept=np.array(kept, dtype=np.int64),
            offsets=np.array(offsets, dtype=np.int64),
            sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
            skipped=np.array([name for name, _ in skipped], dtype=np.str_),
            reasons=np.array([reason for _, reason in skipped], dtype=np.str_),
            total=total,
            sample=np.frombuffer(_sample_digest(pixels), np.uint8),
        )


def _check_room(split: DetectionDataset, size: int, folder: Path) -> None:
    """Says how much room the images will take, if that is much.

    Raises:
        OSError: if the disk has less.
    """
    longer = np.maximum(split.sizes.max(axis=1, initial=1), 1)
    needed = float((split.sizes.prod(axis=1) * (size / longer) ** 2).sum()) * 3
    free = shutil.disk_usage(folder).free
    what = f"{len(split)} images of {size} px"
    if needed > free:
        reason = f"{what} need {needed / 2**30:.1f} GiB, but its disk has {free / 2**30:.1f} GiB left"
        raise OSError(errno.ENOSPC, f"{reason}; task.data.cache=DIR takes another one", str(folder))
    if needed > TOLD_BYTES:
        NOTICES.info("%s are decoded into %s, where they take %.1f GiB", what, folder, needed / 2**30)


def _decoded(split: DetectionDataset, size: int, max_pixels: int) -> Iterator[Pixels | str]:
    """The images in order, or why one cannot be decoded. A few are decoded at a time, which bounds memory."""
    images = zip(split.file_names, split.sizes.tolist(), strict=True)
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(images, 16 * workers)):
            yield from pool.map(
                lambda image: _decode(split.image_folder / image[0], image[1], size, max_pixels), batch
            )


def _decode(path: Path, annotated: Sequence[int], size: int, max_pixels: int) -> Pixels | str:
    from PIL import Image

    try:
        image = open_rgb(path, (annotated[0], annotated[1]), size, max_pixels)
        ratio = size / max(image.size)
        target = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        return np.asarray(image.resize(target, Image.Resampling.BILINEAR, reducing_gap=3.0))
    except ImageError as error:
        return str(error)
    except MemoryError:
        return "it does not fit into memory"


def _sample_digest(pixels: Pixels) -> bytes:
    """Digest of a few pages spread over the file: finds damage without reading all of it."""
    digest = blake2b(digest_size=16)
    for start in np.linspace(0, max(0, len(pixels) - 4096), 32, dtype=np.int64):
        digest.update(pixels[start : start + 4096].tobytes())
    return digest.digest()
