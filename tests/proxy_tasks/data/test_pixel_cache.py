from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import shutil
from dataclasses import fields, replace
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.executors.failure_kind import failure_of
from proxy_tasks.data import pixel_cache
from proxy_tasks.data.dataset import DetectionDataset
from proxy_tasks.data.pixel_cache import VERSION, _sample_digest, cache_key, open_cache, open_stored
from proxy_tasks.data.readers import inspect_split, read_split
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from tests.proxy_tasks.small_data import box, entry, real_root, write_set

WAIT_SECONDS = 300.0
"""So long processes wait for one another; on a busy machine their imports take long."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images = [entry(1, 40, 30), entry(2, 20, 50), entry(3, 64, 64)]
    return write_set(tmp_path / "set", images, [box(i, i, [2, 2, 10, 10]) for i in (1, 2, 3)])


def test_a_pixel_cache_holds_every_image_at_the_size_asked_for(root: Path, tmp_path: Path) -> None:
    cached = open_cache(read_split(root, "train"), 32, tmp_path / "cache")
    assert cached.sizes.tolist() == [[24, 32], [32, 13], [32, 32]]
    for i, name in enumerate(cached.split.file_names):
        with Image.open(root / "images" / "train" / name) as image:
            height, width = cached.sizes[i]
            expected = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0))
        assert np.array_equal(cached.image(i), expected)
        assert not cached.image(i).flags.writeable


def test_a_pixel_cache_is_made_once_and_again_when_its_source_changes(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    calls: list[int] = []

    def opened() -> None:
        open_cache(read_split(root, "train"), 32, cache, lambda done, _: calls.append(done))

    opened()
    opened()
    assert calls == [1, 2, 3]
    os.utime(root / "images" / "train" / "2.png", ns=(1, 1))
    opened()
    assert len(calls) == 6
    write_set(root, [entry(1)], [])
    opened()
    assert len(calls) == 7


def test_a_version_stands_for_the_same_pixels(tmp_path: Path) -> None:
    """A machine with a cache and one without it must train on the same pixels: others, another version."""
    folder = tmp_path / "set" / "images" / "train"
    root = write_set(tmp_path / "set", [entry(1, 64, 64) | {"file_name": "1.png"}], [])
    ramp = np.arange(64 * 64).reshape(64, 64)
    (folder / "2.pgm").write_bytes(b"P5 64 64 65535\n" + (ramp * 19192 // 4095).astype(">u2").tobytes())
    Image.fromarray((ramp % 4000).astype(np.uint16)).save(folder / "3.png")
    Image.fromarray((ramp / 4095).astype(np.float32)).save(folder / "4.tif")
    Image.fromarray(((ramp - 2000) * 9).astype(np.int32)).save(folder / "5.tif")
    names = ("1.png", "2.pgm", "3.png", "4.tif", "5.tif")
    images = [entry(i, 64, 64) | {"file_name": name} for i, name in enumerate(names, start=1)]
    data = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(data))
    cached = open_cache(inspect_split(root, "train").dataset, 64, tmp_path / "cache")
    assert cached.skipped == ()
    found = blake2b(cached.pixels.tobytes(), digest_size=8).hexdigest()
    assert (VERSION, found) == (5, "32e34aafe749642f")


def test_a_disk_without_room_is_told_before_an_image_is_decoded(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, cache = read_split(root, "train"), tmp_path / "cache"
    needed = 3 * (32 * 24 + 32 * 12.8 + 32 * 32)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    told = r"3 images of 32 px need 0\.0 GiB, but its disk has 0\.0 GiB left; task\.data\.cache=DIR takes"
    with pytest.raises(OSError, match=told) as raised:
        open_cache(split, 32, cache)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(cache))
    assert failure_of(raised.value) == "infrastructure", "the node is set aside"
    assert [path.name for path in cache.iterdir()] == [f"{cache_key(split, 32)}.lock"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed + 1))
    assert len(open_cache(split, 32, cache)) == 3


def test_the_user_is_told_of_a_large_cache(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    split = read_split(root, "train")
    with caplog.at_level(logging.INFO, "proxy_tasks.notices"):
        open_cache(split, 32, tmp_path / "small")
        assert not caplog.records
        monkeypatch.setattr(pixel_cache, "TOLD_BYTES", 1000)
        open_cache(split, 32, tmp_path / "large")
        open_cache(split, 32, tmp_path / "large")
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == f"3 images of 32 px are decoded into {tmp_path / 'large'}, where they take 0.0 GiB"


@pytest.mark.parametrize("damage", ["cut", "changed", "no index", "index cut", "index of other images"])
def test_a_damaged_cache_is_made_again(root: Path, tmp_path: Path, damage: str) -> None:
    split, cache = read_split(root, "train"), tmp_path / "cache"
    good = np.array(open_cache(split, 32, cache).pixels)
    folder = cache / cache_key(split, 32)
    pixels, index = folder / "pixels.bin", folder / "index.npz"
    if damage == "cut":
        pixels.write_bytes(pixels.read_bytes()[:100])
    elif damage == "changed":
        pixels.write_bytes(b"\0" * len(good))
    elif damage == "no index":
        index.unlink()
    elif damage == "index of other images":
        with np.load(index) as found:
            np.savez(index, **{**found, "kept": np.array([0, 9])})
    else:
        index.write_bytes(index.read_bytes()[:200])
    assert np.array_equal(open_cache(split, 32, cache).pixels, good)


def test_damage_is_found_anywhere_in_a_small_file() -> None:
    pixels = np.zeros(50_000, np.uint8)
    sound = _sample_digest(pixels)
    for place in (0, 25_000, 49_999):
        changed = pixels.copy()
        changed[place] = 1
        assert _sample_digest(changed) != sound


def test_undecodable_images_are_left_out_and_named(root: Path, tmp_path: Path) -> None:
    (root / "images" / "train" / "2.png").write_bytes(b"no image")
    cached = open_cache(read_split(root, "train"), 32, tmp_path / "cache")
    assert cached.split.image_ids.tolist() == [1, 3]
    assert [name for name, _ in cached.skipped] == ["2.png"]
    again = open_cache(read_split(root, "train"), 32, tmp_path / "cache")
    assert again.split.image_ids.tolist() == [1, 3]
    assert again.split.boxes_of(1) == slice(1, 2)


def _open_in_process(
    root: str, cache: str, queue: multiprocessing.Queue[tuple[int, int]], begun: list[Any], number: int
) -> None:
    made: list[int] = []

    def progress(done: int, _: int) -> None:
        for other in begun:
            other.wait(WAIT_SECONDS)  # Nobody is done before all have begun.
        made.append(done)

    split = read_split(root, "train")
    begun[number].set()
    cached = open_cache(split, 48, cache, progress)
    queue.put((len(made), int(np.asarray(cached.pixels, dtype=np.int64).sum())))


def test_processes_that_want_a_pixel_cache_at_once_make_it_once(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[tuple[int, int]] = context.Queue()
    begun = [context.Event() for _ in range(3)]
    workers = [
        context.Process(target=_open_in_process, args=(str(root), str(tmp_path / "cache"), queue, begun, i))
        for i in range(3)
    ]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=WAIT_SECONDS) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(made for made, _ in found) == [0, 0, 3]
    assert len({total for _, total in found}) == 1


def test_a_failed_decoding_leaves_nothing_behind(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def full_disk(done: int, _: int) -> None:
        if done == 2:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        open_cache(read_split(root, "train"), 32, cache, full_disk)
    assert {path.suffix for path in cache.iterdir()} <= {".lock"}
    assert len(open_cache(read_split(root, "train"), 32, cache)) == 3


def test_a_set_without_readable_images_is_an_empty_cache(root: Path, tmp_path: Path) -> None:
    for path in (root / "images" / "train").iterdir():
        path.write_bytes(b"")
    cached = open_cache(read_split(root, "train"), 32, tmp_path / "cache")
    assert len(cached) == 0
    assert len(cached.skipped) == 3


def test_the_real_set_is_cached_as_it_is(tmp_path: Path) -> None:
    cached = open_cache(read_split(real_root("bccd-320"), "val"), 128, tmp_path / "cache")
    assert len(cached) == 72
    assert set(map(tuple, cached.sizes.tolist())) == {(96, 128)}
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.parametrize("masks", [False, True])
def test_a_stored_cache_is_opened_without_its_sources(tmp_path: Path, masks: bool) -> None:
    """As workers open it: no annotation and no image file is looked at."""
    root, cache = make_shapes(tmp_path / "set", ShapesConfig(train=7, val=2, size=32)), tmp_path / "cache"
    made = open_cache(read_split(root, "train", masks=masks), 32, cache)
    assert open_stored(made.key, cache, masks=not masks) is None, "the other kind was not asked for"
    shutil.rmtree(root)
    found = open_stored(made.key, cache, masks=masks)
    assert found is not None
    for field in fields(DetectionDataset):
        ours, theirs = getattr(found.split, field.name), getattr(made.split, field.name)
        equal = np.array_equal(ours, theirs) if isinstance(theirs, np.ndarray) else ours == theirs
        assert equal, field.name
    assert np.array_equal(found.pixels, made.pixels)
    assert found.key == made.key
    (cache / made.key / ("masks.npz" if masks else "split.npz")).write_bytes(b"nothing")
    assert open_stored(made.key, cache, masks=masks) is None
    assert open_stored("", cache, masks=masks) is None


def test_images_that_were_left_out_stay_out_of_a_stored_cache(root: Path, tmp_path: Path) -> None:
    (root / "images" / "train" / "2.png").write_bytes(b"no image")
    made = open_cache(read_split(root, "train"), 32, tmp_path / "cache")
    found = open_stored(made.key, tmp_path / "cache", masks=False)
    assert found is not None
    assert found.split.file_names == made.split.file_names == ("1.png", "3.png")
    assert found.skipped == made.skipped


def test_what_a_reader_makes_of_the_same_files_has_a_cache_of_its_own(root: Path, tmp_path: Path) -> None:
    """Workers open what is stored, so that boxes of another setting would be trained on."""
    split = read_split(root, "train")
    moved = replace(split, boxes=split.boxes + 1)
    named = replace(split, category_names=tuple(reversed(split.category_names)))
    crowded = replace(split, crowd=~split.crowd)
    sources, cache = (split, moved, named, crowded), tmp_path / "cache"
    made = [open_cache(each, 32, cache) for each in sources]
    assert len({each.key for each in made}) == 4
    for each, source in zip(made, sources, strict=True):
        found = open_stored(each.key, cache, masks=False)
        assert found is not None
        assert np.array_equal(found.split.boxes, source.boxes)
        assert found.split.category_names == source.category_names
        assert np.array_equal(found.split.crowd, source.crowd)


def test_another_limit_of_pixels_has_a_cache_of_its_own(root: Path) -> None:
    split = read_split(root, "train")
    assert cache_key(split, 32, 1000) != cache_key(split, 32, 2000)


def test_what_a_killed_process_has_left_is_removed(root: Path, tmp_path: Path) -> None:
    split, cache = read_split(root, "train"), tmp_path / "cache"
    key = cache_key(split, 32)
    for left in (f".{key}.123", f".{key}.99999"):
        (cache / left).mkdir(parents=True)
        (cache / left / "pixels.bin").write_bytes(bytes(100))
    (cache / ".other.5").mkdir()
    open_cache(split, 32, cache)
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {key, ".other.5"}
