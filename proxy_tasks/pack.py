"""Pack: a split decoded and resized once, as one memory-mapped file that all workers of a machine share.

A pack is a folder `<cache>/<key>/` with `pixels.bin` (the images one after the other, [H, W, 3] uint8)
and `index.npz`. The key is a digest of what it was made from: annotations, file names with size and
time of change, and the size wanted. It is made in a folder of its own and renamed when it is whole, under
a lock, so that two processes that want it at once make it once.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.coco import DataError, Split
from proxy_tasks.images import open_rgb

LOG = logging.getLogger(__name__)
VERSION = 2
Pixels = NDArray[np.uint8]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pack:
    """Images of a split at a size.

    Args:
        split: the images that could be decoded, with their boxes.
        pixels: all bytes, memory-mapped and read-only.
        offsets: [N] first byte of each image.
        sizes: [N, 2] height and width in the pack; the longer side is the size asked for.
        skipped: files that could not be decoded, with the reason.
    """

    split: Split
    pixels: Pixels
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    skipped: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.offsets)

    def first(self, count: int) -> Pack:
        """The pack with only its first images."""
        kept = np.arange(count)
        return Pack(
            self.split.subset(kept), self.pixels, self.offsets[:count], self.sizes[:count], self.skipped
        )

    def image(self, i: int) -> Pixels:
        """[H, W, 3] uint8, a view of the memory map."""
        height, width = self.sizes[i]
        start = self.offsets[i]
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)


def open_pack(split: Split, size: int, cache: str | Path, progress: Progress | None = None) -> Pack:
    """The pack of a split, made if it is not there, is stale or is damaged.

    Args:
        split: what to pack.
        size: length of the longer side in pixels.
        cache: folder for packs; made if needed.
        progress: told (done, all) while packing.

    Raises:
        OSError: if the cache cannot be written; nothing half-made is left.
    """
    cache = Path(cache)
    key = pack_key(split, size)
    folder = cache / key
    pack = _read(split, folder)
    if pack is not None:
        return pack
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{key}.lock"):
        pack = _read(split, folder)
        if pack is None:
            shutil.rmtree(folder, ignore_errors=True)
            _make(split, size, folder, progress)
            pack = _read(split, folder)
    if pack is None:
        raise OSError(f"{folder}: the pack does not read back")
    return pack


def usable_pack(split: Split, size: int, cache: str | Path, purpose: str) -> Pack:
    """As `open_pack`; tells the log of images that are left out.

    Args:
        split, size, cache: see `open_pack`.
        purpose: what the images are for, such as "train on".

    Raises:
        DataError: if no image is left.
        OSError: see `open_pack`.
    """
    pack = open_pack(split, size, cache)
    if pack.skipped:
        name, reason = pack.skipped[0]
        told = f"{len(pack.skipped)} of {len(split)} images in {split.image_folder} cannot be used"
        told += f", such as {name}: {reason}"
        if len(pack) == 0:
            raise DataError(f"{told}; none is left to {purpose}")
        LOG.warning("%s; they are left out", told)
    return pack


def pack_key(split: Split, size: int) -> str:
    """Digest of what a pack is made from."""
    digest = blake2b(f"{VERSION} {size} {split.annotation_digest}".encode(), digest_size=16)
    for name in split.file_names:
        with contextlib.suppress(OSError):
            stat = (split.image_folder / name).stat()
            digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read(split: Split, folder: Path) -> Pack | None:
    """The pack in a folder, or None if it is absent or damaged."""
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
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return Pack(split if len(kept) == len(split) else split.subset(kept), pixels, offsets, sizes, skipped)


def _make(split: Split, size: int, folder: Path, progress: Progress | None) -> None:
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        kept: list[int] = []
        offsets: list[int] = []
        sizes: list[tuple[int, int]] = []
        skipped: list[tuple[str, str]] = []
        total = 0
        with (partial / "pixels.bin").open("wb") as file:
            for i, (name, image) in enumerate(zip(split.file_names, _decoded(split, size), strict=True)):
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
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _decoded(split: Split, size: int) -> Iterator[Pixels | str]:
    """Images in order, or why one cannot be decoded; a few at a time, so that memory stays bounded."""
    images = zip(split.file_names, split.sizes.tolist(), strict=True)
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(images, 16 * workers)):
            yield from pool.map(lambda image: _decode(split.image_folder / image[0], image[1], size), batch)


def _decode(path: Path, annotated: Sequence[int], size: int) -> Pixels | str:
    from PIL import Image

    try:
        image = open_rgb(path, (annotated[0], annotated[1]), size)
        ratio = size / max(image.size)
        target = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        return np.asarray(image.resize(target, Image.Resampling.BILINEAR, reducing_gap=3.0))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{type(error).__name__}: {error}"


def _sample_digest(pixels: Pixels) -> bytes:
    """Digest of a few pages spread over the file: finds damage without reading all of it."""
    digest = blake2b(digest_size=16)
    for start in np.linspace(0, max(0, len(pixels) - 4096), 32, dtype=np.int64):
        digest.update(pixels[start : start + 4096].tobytes())
    return digest.digest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
