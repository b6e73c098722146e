"""A generated detection set: needs no download, rewards multi-scale features, is the same everywhere.

Objects range from 4 px to the whole image. They are colored, ground and clutter are grey, so that a short
training finds them. Four classes differ by outline and hue at any size. The other two need several
scales at once: a marked square is a square with a small spot, so that the class of a large object hangs
on a detail; and a moon is a disc that lies on a planet, so that the class of a small one hangs on what
surrounds it. Objects cover one another.

Only whole-number arithmetic on numpy's PCG64 stream makes pixels, and images are stored without loss, so
that a seed gives the same pixels, boxes and masks on any machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.progress import OnProgress
from search_space.utils.atomic_file import atomic_folder
from search_space.utils.strict_json import to_json
from search_space.utils.validation import AtLeast, AtMost, validate

VERSION = 2
"""Version of the generator; another one gives other pixels for a seed."""


CLASSES = ("disc", "square", "triangle", "cross", "marked square", "moon")


HUES = ((200, 50, 50), (50, 180, 60), (60, 70, 210), (210, 190, 40), (50, 180, 60), (200, 50, 50))
"""Color of each class before jitter; the last two share theirs with square and disc."""


MIN_SIDE = 4


OCTAVE_WEIGHTS = (1, 2, 6, 8, 4)
"""How often sides of 4, 8, 16, 32 and 64 px up to their doubles are drawn; larger ones as the last."""


MIN_VISIBLE = 0.6
"""Share of an object that must still be seen, or it loses its box and becomes clutter."""


Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ShapesConfig:
    """What to generate.

    Args:
        train, val: numbers of images.
        size: side of the square images in pixels.
        seed: all images follow from it.
    """

    train: Annotated[int, AtLeast(1)] = 800
    val: Annotated[int, AtLeast(1)] = 600
    size: Annotated[int, AtLeast(32), AtMost(2048)] = 128
    seed: Annotated[int, AtLeast(0)] = 0

    def __post_init__(self) -> None:
        validate(self)


def make_shapes(root: str | Path, config: ShapesConfig, progress: OnProgress | None = None) -> Path:
    """Writes a detection set as COCO files: `annotations/instances_{train,val}.json`, `images/{train,val}/`.

    A folder that already holds this very set is left as it is.

    Args:
        root: folder to make.
        config: what to generate.
        progress: called with (done, all).

    Raises:
        DataError: if the folder exists and holds something else.
        OSError: if it cannot be written; no partial set is left.
    """
    mark = {"generator": "shapes", "version": VERSION, **config.__dict__}
    return _write_whole(Path(root), mark, partial(_write_shapes, config, progress))


def make_labeled_shapes(root: str | Path, config: ShapesConfig, progress: OnProgress | None = None) -> Path:
    """Writes images of one object each as folders `train/<class>/` and `val/<class>/`.

    Arguments and errors are those of `make_shapes`. Objects take a third of the image or more.
    """
    mark = {"generator": "labeled shapes", "version": VERSION, **config.__dict__}
    return _write_whole(Path(root), mark, partial(_write_labeled, config, progress))


def _write_whole(root: Path, mark: dict[str, Any], write: Callable[[Path], None]) -> Path:
    """Writes a folder beside its place and moves it there, unless the same set is there already."""
    if root.exists():
        if _mark_of(root) == mark:
            return root
        raise DataError(f"{root} exists and holds something else than these shapes; choose another folder")
    try:
        with atomic_folder(root) as making:
            write(making)
            (making / "shapes.json").write_text(to_json(mark), encoding="utf-8")
    except OSError:
        if _mark_of(root) != mark:  # Else another process made the very same set meanwhile.
            raise
    return root


def _write_shapes(config: ShapesConfig, progress: OnProgress | None, making: Path) -> None:
    done = 0
    for split, count in (("train", config.train), ("val", config.val)):
        folder = making / "images" / split
        folder.mkdir(parents=True)
        chunks = [range(start, min(start + 50, count)) for start in range(0, count, 50)]
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        with ProcessPoolExecutor(os.cpu_count(), initializer=_begin_worker) as pool:
            try:
                for chunk in pool.map(partial(_make_chunk, config, split, folder), chunks):
                    for entry, objects in chunk:
                        images.append(entry)
                        annotations += objects
                        done += 1
                    if progress is not None:
                        progress(done, config.train + config.val)
            finally:
                pool.shutdown(cancel_futures=True)
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number
        _write_annotations(making, split, images, annotations)


def _begin_worker() -> None:
    """Makes a process of the pool end with its parent, however that ends."""
    # A terminal sends Ctrl-C to all of them; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One that outlives a parent that was killed would hold its lock on the new folder.
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_labeled(config: ShapesConfig, progress: OnProgress | None, making: Path) -> None:
    from PIL import Image

    names = [name.replace(" ", "-") for name in CLASSES[:-1]]  # A moon is one only beside its planet.
    done = 0
    for split in ("train", "val"):  # Each has all classes, however few images there are.
        for name in names:
            (making / split / name).mkdir(parents=True)
    for split, count in (("train", config.train), ("val", config.val)):
        for number in range(count):
            rng = np.random.default_rng((config.seed, 0 if split == "train" else 1, number, 1))
            label = number % len(names)
            image = _texture(rng, config.size, config.size, np.repeat(rng.integers(60, 196), 3))
            for _ in range(rng.integers(1, 4)):
                _draw_clutter(rng, image)
            _draw(rng, image, label, int(rng.integers(config.size // 3, config.size + 1)))
            Image.fromarray(image).save(making / split / names[label] / f"{number:06d}.png", compress_level=1)
            done += 1
            if progress is not None:
                progress(done, config.train + config.val)


def draw_image(
    config: ShapesConfig, split: str, number: int
) -> tuple[NDArray[np.uint8], list[tuple[int, Mask]]]:
    """One image [S, S, 3] and its objects: class and visible pixels [S, S], back to front."""
    rng = np.random.default_rng((config.seed, 0 if split == "train" else 1, number))
    size = config.size
    image = _texture(rng, size, size, np.repeat(rng.integers(60, 196), 3))
    for _ in range(rng.integers(3, 9)):
        _draw_clutter(rng, image)
    objects: list[tuple[int, Mask]] = []
    for _ in range(rng.integers(1, 6)):
        label = int(rng.integers(len(CLASSES)))
        side = _random_side(rng, size)
        drawn = _draw_moon(rng, image, side) if CLASSES[label] == "moon" else _draw(rng, image, label, side)
        objects = _covered(objects, drawn)
    return image, objects


def _make_chunk(
    config: ShapesConfig, split: str, folder: Path, numbers: range
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    from PIL import Image
    from pycocotools import mask as coco_mask

    made = []
    for number in numbers:
        image, objects = draw_image(config, split, number)
        name = f"{number:06d}.png"
        Image.fromarray(image).save(folder / name, compress_level=1)
        entry = {"id": number + 1, "file_name": name, "height": config.size, "width": config.size}
        annotations = []
        for label, visible in objects:
            rle = coco_mask.encode(np.asfortranarray(visible.astype(np.uint8)))
            x0, y0, x1, y1 = _extent(visible)
            annotations.append(
                {
                    "id": 0,
                    "image_id": number + 1,
                    "category_id": label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(visible.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [config.size, config.size], "counts": rle["counts"].decode()},
                }
            )
        made.append((entry, annotations))
    return made


def _write_annotations(
    root: Path, split: str, images: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> None:
    folder = root / "annotations"
    folder.mkdir(exist_ok=True)
    categories = [{"id": i + 1, "name": name, "supercategory": "shape"} for i, name in enumerate(CLASSES)]
    data = {
        "info": {"description": "generated shapes"},
        "categories": categories,
        "images": images,
        "annotations": annotations,
    }
    (folder / f"instances_{split}.json").write_text(to_json(data), encoding="utf-8")


def _mark_of(root: Path) -> object:
    try:
        return json.loads((root / "shapes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _random_side(rng: np.random.Generator, size: int) -> int:
    """A side from 4 px to the whole image, in whole numbers only: first its octave, then within it."""
    octaves = (size // MIN_SIDE).bit_length() - 1
    weights = [OCTAVE_WEIGHTS[min(i, len(OCTAVE_WEIGHTS) - 1)] for i in range(octaves)]
    drawn = int(rng.integers(sum(weights)))
    octave = next(i for i in range(octaves) if drawn < sum(weights[: i + 1]))
    low = MIN_SIDE << octave
    return int(rng.integers(low, min(size, 2 * low) + 1))


def _draw(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    label: int,
    side: int,
    at: tuple[int, int] | None = None,
) -> list[tuple[int, Mask]]:
    """Draws one object and returns it with its pixels."""
    size = len(image)
    y, x = at if at is not None else (int(v) for v in rng.integers(0, size - side + 1, 2))
    name = CLASSES[label]
    shape = _outline("disc" if name == "moon" else "square" if name == "marked square" else name, side)
    color = _color(rng, label)
    _paint(rng, image, shape, y, x, color)
    if name == "marked square":
        spot = max(2, side // 5)
        dy, dx = (int(v) for v in rng.integers(side // 6, max(side // 6 + 1, side - spot - side // 6), 2))
        _paint(rng, image, _outline("disc", spot), y + dy, x + dx, 255 - color)
    mask = np.zeros((size, size), np.bool_)
    mask[y : y + side, x : x + side] = shape
    return [(label, mask)]


def _draw_moon(rng: np.random.Generator, image: NDArray[np.uint8], side: int) -> list[tuple[int, Mask]]:
    """A disc on a disc three times as large: the large one is a disc, the small one a moon."""
    size = len(image)
    planet = min(size, 3 * side)
    side = max(MIN_SIDE, planet // 3)
    y, x = (int(v) for v in rng.integers(0, size - planet + 1, 2))
    below = _draw(rng, image, CLASSES.index("disc"), planet, (y, x))
    dy, dx = (int(v) for v in rng.integers(planet // 4, max(planet // 4 + 1, planet - planet // 4 - side), 2))
    above = _draw(rng, image, CLASSES.index("moon"), side, (y + dy, x + dx))
    return below + above


def _covered(objects: list[tuple[int, Mask]], drawn: list[tuple[int, Mask]]) -> list[tuple[int, Mask]]:
    """The objects that can still be seen once others have been drawn over them."""
    result = list(objects)
    for label, mask in drawn:
        kept = []
        for other_label, other in result:
            seen = other & ~mask
            if seen.sum() >= max(4, MIN_VISIBLE * _full_area(other)):
                kept.append((other_label, seen))
        result = [*kept, (label, mask)]
    return result


def _full_area(mask: Mask) -> int:
    x0, y0, x1, y1 = _extent(mask)
    return (x1 - x0) * (y1 - y0) // 2


def _extent(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _outline(name: str, side: int) -> Mask:
    """[side, side] pixels of a shape, by whole-number comparisons at twice the resolution."""
    y, x = np.ogrid[1 : 2 * side : 2, 1 : 2 * side : 2]
    if name == "disc":
        return np.asarray((y - side) ** 2 + (x - side) ** 2 <= side**2)
    if name == "triangle":
        return np.asarray(abs(x - side) * 2 <= y)
    if name == "cross":
        return np.asarray((abs(x - side) * 3 <= side) | (abs(y - side) * 3 <= side))
    return np.ones((side, side), np.bool_)


def _color(rng: np.random.Generator, label: int) -> NDArray[np.int64]:
    """The hue of a class, darker or lighter, with jitter. A moon is lighter than its planet can be."""
    low, high = (
        (70, 100) if CLASSES[label] == "disc" else (110, 140) if CLASSES[label] == "moon" else (70, 120)
    )
    brightness = int(rng.integers(low, high))
    jittered = np.array(HUES[label]) * brightness // 100 + rng.integers(-20, 21, 3)
    return np.asarray(jittered.clip(0, 255))


def _paint(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    shape: Mask,
    y: int,
    x: int,
    color: NDArray[np.int64],
) -> None:
    height, width = shape.shape
    target = image[y : y + height, x : x + width]
    shape = shape[: target.shape[0], : target.shape[1]]
    target[shape] = _texture(rng, target.shape[0], target.shape[1], color)[shape]


def _texture(
    rng: np.random.Generator, height: int, width: int, color: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """[H, W, 3] noise, stripes or checks around a color."""
    noise = rng.integers(-12, 13, (height, width), dtype=np.int16)
    kind, period, depth = (int(v) for v in rng.integers((0, 2, 8), (4, 9, 25)))
    y, x = np.ogrid[:height, :width]
    pattern = {0: 0 * y, 1: (x // period) % 2, 2: (y // period) % 2, 3: (x // period + y // period) % 2}[kind]
    grey = noise + (pattern * depth).astype(np.int16)
    colored: NDArray[np.int16] = grey[..., None] + color.astype(np.int16)
    return colored.clip(0, 255).astype(np.uint8)


def _draw_clutter(rng: np.random.Generator, image: NDArray[np.uint8]) -> None:
    """A bar that is no object."""
    size = len(image)
    long, thin = int(rng.integers(size // 4, size)), int(rng.integers(1, 4))
    height, width = (long, thin) if rng.random() < 0.5 else (thin, long)
    y, x = int(rng.integers(0, size - height + 1)), int(rng.integers(0, size - width + 1))
    grey = np.repeat(rng.integers(0, 256), 3)
    _paint(rng, image, np.ones((height, width), np.bool_), y, x, grey)
