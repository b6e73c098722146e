"""Image files of every format: looked over by `nas data check`, and brought into a pixel cache."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.kind import Kind, RefusedError, commands
from tests.fuzz.mutation import mutate_bytes

ENDINGS = (".jpg", ".png", ".bmp", ".webp", ".tif")


def _prepare(folder: Path) -> list[bytes]:
    import numpy as np
    import torch  # noqa: F401
    from PIL import Image

    import proxy_tasks.data.pixel_cache  # noqa: F401

    for part in ("annotations", "images/train"):
        (folder / part).mkdir(parents=True)
    values = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    image, deep = Image.fromarray(values), Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[274] = 6
    ways: list[tuple[Any, dict[str, Any]]] = [
        (image, {"format": "JPEG", "progressive": True}),
        (image, {"format": "JPEG", "exif": turned}),
        (image.convert("CMYK"), {"format": "JPEG"}),
        (image, {"format": "PNG"}),
        (image.convert("P"), {"format": "PNG"}),
        (deep, {"format": "PNG"}),
        (image, {"format": "BMP"}),
        (image, {"format": "WEBP"}),
        (image, {"format": "WEBP", "lossless": True}),
        (image, {"format": "TIFF", "compression": "tiff_deflate"}),
        (image, {"format": "TIFF", "compression": "tiff_lzw"}),
        (image.convert("F"), {"format": "TIFF"}),
        (image.convert("P"), {"format": "GIF"}),
        (image, {"format": "JPEG2000"}),
        (image, {"format": "EPS"}),
        (image, {"format": "DDS"}),
        (image, {"format": "ICO"}),
        (image, {"format": "PPM"}),
        (image, {"format": "TGA"}),
        (image, {"format": "PCX"}),
        (image, {"format": "SGI"}),
        (image, {"format": "AVIF"}),
    ]
    return [file for picture, options in ways if (file := _saved(picture, options))]


def _saved(picture: Any, options: dict[str, Any]) -> bytes:
    """The picture as a file; nothing where this Pillow cannot write the format."""
    file = io.BytesIO()
    try:
        picture.save(file, **options)
    except (KeyError, OSError, ValueError):
        return b""
    return file.getvalue()


def _mutate(rng: Random, files: list[bytes]) -> tuple[str, bytes]:
    return rng.choice(ENDINGS), mutate_bytes(rng, rng.choice(files))


def _read(case: tuple[str, bytes], folder: Path) -> None:
    from proxy_tasks.data.dataset import DataError
    from proxy_tasks.data.pixel_cache import open_cache
    from proxy_tasks.data.readers import inspect_split

    ending, content = case
    name = f"0{ending}"
    shutil.rmtree(folder / "images" / "train")
    (folder / "images" / "train").mkdir()
    (folder / "images" / "train" / name).write_bytes(content)
    entry = {"id": 0, "file_name": name, "height": 48, "width": 64}
    annotations = {"images": [entry], "categories": [{"id": 1, "name": "a"}], "annotations": []}
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(annotations))
    try:
        dataset, _ = inspect_split(str(folder), "train", decode=False)
        open_cache(dataset, 32, folder / "cache")
        shutil.rmtree(folder / "cache", ignore_errors=True)
    except DataError:  # A file that cannot be read is told by the command too.
        pass
    commands(("data", "check", str(folder), "--split", "train"))


KIND = Kind(name="picture", prepare=_prepare, mutate=_mutate, read=_read, documented=(RefusedError,))
