"""Batches: pixels and boxes of augmented images, against a plain reference; shapes that never change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.batches import MEAN, STD, Batches
from proxy_tasks.data.dataset import DetectionDataset
from proxy_tasks.data.letterbox import Letterboxes
from proxy_tasks.data.pixel_cache import PixelCache, open_cache
from proxy_tasks.data.readers import read_split
from proxy_tasks.data.targets import Targets, pad_targets
from tests.proxy_tasks.reference import batch_of_images
from tests.proxy_tasks.small_data import box, entry, write_set

CPU = torch.device("cpu")
BOTH = np.array([0, 1])


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
    augmentation, batches = Augmentation(low=0.6, high=1.5, flip=True), Batches(cache, 128, CPU)
    looked_at = 0
    for seed in range(60):
        batch = batches.training(BOTH, augmentation, np.random.default_rng(seed).random((2, 4)))
        for image, target in zip(batch.images, batch.targets, strict=True):
            assert len(target["boxes"]) == 1
            x0, y0, x1, y1 = target["boxes"][0].tolist()
            if min(x1 - x0, y1 - y0) < 3:
                continue
            assert dark_extent(image) == pytest.approx([x0, y0, x1, y1], abs=1.1)
            looked_at += 1
    assert looked_at > 90


def test_evaluation_fills_the_input_from_the_top_left(cache: PixelCache) -> None:
    images, letterboxes = Batches(cache, 128, CPU).evaluation(BOTH)
    assert images.shape == (2, 3, 128, 128)
    assert dark_extent(images[0]) == pytest.approx([32, 24, 80, 56], abs=1)
    assert torch.all(images[0, :, 97:] == 0)
    assert torch.all(images[1, :, :, 65:] == 0)
    white = torch.tensor([(1 - m) / s for m, s in zip(MEAN, STD, strict=True)])
    torch.testing.assert_close(images[0, :, 5, 5], white)
    assert letterboxes.scale[0] == 0.8


def test_crowd_regions_are_no_targets(cache: PixelCache) -> None:
    batch = Batches(cache, 128, CPU).training(BOTH[1:], Augmentation(flip=False), np.zeros((1, 4)))
    assert batch.targets[0]["labels"].tolist() == [0]


def test_boxes_cut_to_nothing_are_dropped(cache: PixelCache) -> None:
    seen, batches = set(), Batches(cache, 32, CPU)
    for seed in range(40):
        noise = np.random.default_rng(seed).random((1, 4))
        (target,) = batches.training(BOTH[:1], Augmentation(low=8.0, high=8.0), noise).targets
        sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
        assert bool((sides >= 1).all())
        seen.add(len(sides))
    assert seen == {0, 1}


@settings(max_examples=300, deadline=None)
@given(
    st.floats(0.05, 8),
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    st.integers(1, 2000),
    st.booleans(),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_boxes_survive_the_way_to_the_input_and_back(
    scale: float, shift: tuple[float, float], width: int, mirrored: bool, corners: list[float]
) -> None:
    x = sorted(v * width for v in corners[:2])
    y = sorted(v * 900 for v in corners[2:])
    boxes = np.array([[x[0], y[0], x[1], y[1]]])
    place = Letterboxes(
        scale=np.array([scale]),
        shift=np.array([shift]),
        width=np.array([float(width)]),
        mirrored=np.array([mirrored]),
    )
    np.testing.assert_allclose(place.to_image(0, place.to_input(boxes[None])[0]), boxes, atol=1e-6, rtol=0)


def test_batches_follow_from_the_noise(cache: PixelCache) -> None:
    augmentation, batches = Augmentation(low=0.5, high=2.0), Batches(cache, 64, CPU)
    a = batches.training(BOTH, augmentation, np.random.default_rng(3).random((2, 4)))
    b = batches.training(BOTH, augmentation, np.random.default_rng(3).random((2, 4)))
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.targets.boxes, b.targets.boxes)
    assert a.images.is_contiguous(memory_format=torch.channels_last)


def made_cache(rng: np.random.Generator, counts: list[int], crowd: float) -> PixelCache:
    """Images of random sizes and pixels with so many boxes, a share of them crowd regions."""
    n = len(counts)
    sizes = rng.integers(1, 90, (n, 2))
    ratio = 48 / sizes.max(1, keepdims=True)
    cached = np.maximum(1, np.round(sizes * ratio)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(cached.prod(1) * 3)])
    index = np.repeat(np.arange(n), counts)
    limits = np.tile(sizes[index][:, ::-1], 2)
    corners = rng.random((len(index), 2, 2)) * limits.reshape(-1, 2, 2)
    corners.sort(1)
    split = DetectionDataset(
        image_folder=Path(),
        image_ids=np.arange(n),
        file_names=tuple(map(str, range(n))),
        sizes=sizes,
        boxes=corners.reshape(-1, 4).astype(np.float32),
        labels=rng.integers(0, 5, len(index)),
        crowd=rng.random(len(index)) < crowd,
        areas=np.ones(len(index)),
        image_index=index,
        category_ids=np.arange(5),
        category_names=tuple("abcde"),
        annotation_digest="",
    )
    pixels = rng.integers(0, 256, offsets[-1], dtype=np.uint8)
    return PixelCache(split=split, pixels=pixels, offsets=offsets[:-1], sizes=cached, skipped=())


Case = tuple[int, list[int], float, float, float, bool]


def made_case(
    case: Case,
) -> tuple[PixelCache, Augmentation, NDArray[np.int64], NDArray[np.float64]]:
    """A cache, and what makes a batch of all its images."""
    seed, counts, crowd, low, over, flip = case
    rng = np.random.default_rng(seed)
    cache = made_cache(rng, counts, crowd)
    augmentation = Augmentation(low=low, high=low * over, flip=flip)
    return cache, augmentation, rng.permutation(len(counts)), rng.random((len(counts), 4))


cases = st.tuples(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from([0, 0, 1, 2, 7, 300]), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.floats(0.1, 3),
    st.floats(1, 3),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_a_batch_is_that_of_a_plain_reference(
    case: Case,
) -> None:
    """No boxes, crowd regions only, images of a pixel, hundreds of boxes."""
    cache, augmentation, images, noise = made_case(case)
    batch = Batches(cache, 40, CPU).training(images, augmentation, noise)
    pixels, boxes, labels = batch_of_images(cache, images.tolist(), 40, augmentation, noise)
    np.testing.assert_allclose(batch.images.numpy(), np.stack(pixels), atol=2e-3)
    assert np.abs(batch.images.numpy() - np.stack(pixels)).mean() < 1e-4
    for target, expected, names in zip(batch.targets, boxes, labels, strict=True):
        torch.testing.assert_close(target["boxes"], expected, atol=1e-4, rtol=1e-6)
        assert torch.equal(target["labels"], names)


@settings(max_examples=20, deadline=None)
@given(cases)
def test_pixels_kept_on_the_device_make_the_same_batch(
    case: Case,
) -> None:
    cache, augmentation, images, noise = made_case(case)
    copied, kept = (
        Batches(cache, 40, CPU, resident=resident).training(images, augmentation, noise)
        for resident in (False, True)
    )
    assert torch.equal(copied.images, kept.images)
    assert torch.equal(copied.targets.boxes, kept.targets.boxes)
    assert torch.equal(copied.targets.labels, kept.targets.labels)


def test_no_shape_and_no_copied_size_depends_on_the_images_of_a_batch() -> None:
    cache = made_cache(np.random.default_rng(0), [0, 3, 40, 1, 0, 9], 0.2)
    batches, augmentation = Batches(cache, 40, CPU), Augmentation(low=0.5, high=2.0)

    def shapes(images: NDArray[np.int64]) -> list[object]:
        host = batches.prepare(images, augmentation, np.random.default_rng(1).random((2, 4)))
        batch = batches.to_device(host)
        return [host.content.shape, batch.images.shape, batch.targets.boxes.shape, batch.targets.labels.shape]

    first = shapes(np.array([0, 4]))
    assert all(shapes(np.array(pair)) == first for pair in ([0, 1], [2, 3], [5, 2], [1, 1]))


def test_padded_targets_are_a_list_of_the_images_objects() -> None:
    plain = [
        {"boxes": torch.rand(2, 4), "labels": torch.tensor([3, 1])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    padded = pad_targets(plain)
    assert isinstance(padded, Targets)
    assert pad_targets(padded) is padded
    assert (len(padded), padded.counts) == (2, (2, 0))
    assert padded.labels.tolist() == [[3, 1], [-1, -1]]
    for ours, theirs in zip(padded, plain, strict=True):
        assert torch.equal(ours["boxes"], theirs["boxes"])
        assert torch.equal(ours["labels"], theirs["labels"])
    assert [target["labels"].tolist() for target in padded[1:]] == [[]]
    with pytest.raises(IndexError):
        padded[2]


def test_a_box_of_one_pixel_is_kept_and_one_of_less_is_not(tmp_path: Path) -> None:
    boxes = [box(1, 1, [8, 8, 1, 20]), box(2, 1, [20, 8, 0.9, 20], 7), box(3, 1, [40, 8, 20, 2])]
    root = write_set(tmp_path / "set", [entry(1, 64, 64)], boxes)
    batches = Batches(open_cache(read_split(root, "train"), 64, tmp_path / "cache"), 64, torch.device("cpu"))
    (target,) = batches.training(np.array([0]), Augmentation(flip=False), np.zeros((1, 4))).targets
    assert target["boxes"].tolist() == [[8, 8, 9, 28], [40, 8, 60, 10]]
