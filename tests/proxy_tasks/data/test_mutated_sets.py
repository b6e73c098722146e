"""Damaged files of every format and of every tool: a set, or one documented error in one line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proxy_tasks.data.dataset import DataError
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.image_folder import LabeledImages
from proxy_tasks.data.import_set import import_set
from proxy_tasks.data.shapes import ShapesConfig, make_labeled_shapes, make_shapes
from tests.proxy_tasks.data.test_import_set import EXPORTS
from tests.proxy_tasks.small_data import plain_boxes, write_voc, write_yolo

TEXTS = (".json", ".xml", ".txt", ".yaml", ".names", ".data")
ODD = (
    *(
        b"null",
        b"-1",
        b"1e308",
        b"9" * 400,
        b"[",
        b"{",
        b"}",
        b'"',
        b"\0",
        b"\xff",
        b"<",
        b">",
        b"&amp;",
        b"NaN",
    ),
    *(b"true", b"..", b"/", b"\\", b" ", b"\n", b"*a", b"&a", b"!!python/object:os.system", b"-"),
)


def mutate(rng: random.Random, content: bytes) -> bytes:
    data = bytearray(content or b"x")
    for _ in range(rng.randint(1, 6)):
        i = rng.randrange(len(data) + 1)
        kind = rng.random()
        if kind < 0.5:
            data[i : i + rng.randint(0, 4)] = rng.choice(ODD)
        elif kind < 0.75:
            del data[i : i + rng.randint(1, 30)]
        else:
            j = rng.randrange(len(data) + 1)
            data[i:i] = data[j : j + rng.randint(1, 40)]
    return bytes(data)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("mutated")
    shapes = make_shapes(folder / "shapes", ShapesConfig(train=3, val=2, size=32))
    coco = plain_boxes(shapes, folder / "coco")
    labeled = make_labeled_shapes(folder / "labeled", ShapesConfig(train=5, val=5, size=32))
    found = [shapes, write_yolo(coco, folder / "yolo"), write_voc(coco, folder / "voc"), labeled]
    for make in EXPORTS:
        make(folder / f"export-{make.__name__}")
        found.append(folder / f"export-{make.__name__}")
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_ends_in_a_set_or_in_one_error(roots: list[Path], tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    cache = str(tmp_path / "cache")
    for number in range(15):
        root = rng.choice(roots)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        path = rng.choice([p for p in files if p.suffix in TEXTS or rng.random() < 0.15] or files)
        whole = path.read_bytes()
        path.write_bytes(mutate(rng, whole))
        try:
            if root.name.startswith("export"):
                import_set(root, tmp_path / f"set-{number}")
            elif root.name == "labeled":
                LabeledImages(str(root), cache).caches(32)
            else:
                DetectionData(str(root), cache, masks=root.name == "shapes").caches(32)
        except DataError as error:
            assert len(str(error).splitlines()) == 1
            assert len(str(error)) < 1500
        finally:
            path.write_bytes(whole)
