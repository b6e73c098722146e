from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from proxy_tasks.data.pixel_cache import PixelCache, open_cache
from proxy_tasks.data.readers import read_split
from proxy_tasks.data.transforms import MEAN, STD, Augmentation, Letterbox, evaluation_batch, training_batch
from tests.proxy_tasks.small_data import box, entry, write_set

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path) -> PixelCache:
    """White images with a black rectangle where the box is; the second image is upright."""
    images = [entry(1, 160, 120), entry(2, 90, 180)]
    boxes = [box(1, 1, [40, 30, 60, 40]), box(2, 2, [20, 60, 30, 80]), box(3, 2, [0, 0, 20, 20], iscrowd=1)]
    root = write_set(tmp_path / "set", images, boxes)
    for i, (width, height), (x, y, w, h) in (
        (1, (160, 120), (40, 30, 60, 40)),
        (2, (90, 180), (20, 60, 30, 80)),
    ):
        pixels = np.full((height, width, 3), 255, np.uint8)
        pixels[y : y + h, x : x + w] = 0
        Image.fromarray(pixels).save(root / "images" / "train" / f"{i}.png")
    return open_cache(read_split(root, "train"), 128, tmp_path / "cache")


def dark_extent(image: torch.Tensor) -> list[float]:
    """x0, y0, x1, y1 of what is black."""
    # White is 2.2, what lies outside 0, black -2.1: between the last two, so that edges do not count.
    dark = image[0] < -0.7
    rows, columns = dark.any(1).nonzero()[:, 0], dark.any(0).nonzero()[:, 0]
    return [float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1]


def test_boxes_lie_where_the_pixels_are_after_jitter_crop_and_flip(cache: PixelCache) -> None:
    augmentation = Augmentation(low=0.6, high=1.5, flip=True)
    for seed in range(60):
        noise = np.random.default_rng(seed).random((2, 4))
        batch = training_batch(cache, [0, 1], 128, augmentation, noise, CPU)
        for image, boxes in zip(batch.images, batch.boxes, strict=True):
            assert len(boxes) == 1
            x0, y0, x1, y1 = boxes[0].tolist()
            if min(x1 - x0, y1 - y0) < 3:
                continue
            assert dark_extent(image) == pytest.approx([x0, y0, x1, y1], abs=1.1)


def test_evaluation_fills_the_input_from_the_top_left(cache: PixelCache) -> None:
    images, transforms = evaluation_batch(cache, [0, 1], 128, CPU)
    assert images.shape == (2, 3, 128, 128)
    assert dark_extent(images[0]) == pytest.approx([32, 24, 80, 56], abs=1)
    assert torch.all(images[0, :, 97:] == 0)
    assert torch.all(images[1, :, :, 65:] == 0)
    white = torch.tensor([(1 - m) / s for m, s in zip(MEAN, STD, strict=True)])
    torch.testing.assert_close(images[0, :, 5, 5], white)
    assert transforms[0].scale == (0.8, 0.8)


def test_crowd_regions_are_no_targets(cache: PixelCache) -> None:
    batch = training_batch(cache, [1], 128, Augmentation(flip=False), np.zeros((1, 4)), CPU)
    assert batch.labels[0].tolist() == [0]


def test_boxes_cut_to_nothing_are_dropped(cache: PixelCache) -> None:
    seen = set()
    for seed in range(40):
        batch = training_batch(
            cache, [0], 32, Augmentation(low=8.0, high=8.0), np.random.default_rng(seed).random((1, 4)), CPU
        )
        sides = batch.boxes[0][:, 2:] - batch.boxes[0][:, :2]
        assert bool((sides >= 1).all())
        seen.add(len(sides))
    assert seen == {0, 1}


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(st.floats(0.05, 8), st.floats(0.05, 8)),
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    st.integers(1, 2000),
    st.booleans(),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_boxes_survive_the_way_to_the_input_and_back(
    scale: tuple[float, float], shift: tuple[float, float], width: int, mirrored: bool, corners: list[float]
) -> None:
    x = sorted(v * width for v in corners[:2])
    y = sorted(v * 900 for v in corners[2:])
    boxes = torch.tensor([[x[0], y[0], x[1], y[1]]], dtype=torch.float64)
    place = Letterbox(scale, shift, float(width), mirrored)
    torch.testing.assert_close(place.to_image(place.to_input(boxes)), boxes, atol=1e-6, rtol=0)


def test_batches_follow_from_the_generator(cache: PixelCache) -> None:
    augmentation = Augmentation(low=0.5, high=2.0)
    a = training_batch(cache, [0, 1], 64, augmentation, np.random.default_rng(3).random((2, 4)), CPU)
    b = training_batch(cache, [0, 1], 64, augmentation, np.random.default_rng(3).random((2, 4)), CPU)
    assert torch.equal(a.images, b.images)
    assert all(torch.equal(x, y) for x, y in zip(a.boxes, b.boxes, strict=True))
    assert a.images.is_contiguous(memory_format=torch.channels_last)
