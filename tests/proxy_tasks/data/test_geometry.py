"""Outlines and run lengths: what pycocotools would crash on, or fill the memory for, never reaches it."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from proxy_tasks.data.geometry import (
    LONGEST_OUTLINE,
    GeometryError,
    check_polygons,
    clip_box,
    decompress,
    run_lengths,
)

HEIGHT, WIDTH = 30, 40
SQUARE = [5, 5, 15, 5, 15, 15, 5, 15]


def pixels(segmentation: object) -> int:
    return int(coco_mask.area(run_lengths(segmentation, HEIGHT, WIDTH)))


@pytest.mark.parametrize(
    ("segmentation", "told"),
    [
        (None, "has no segmentation"),
        ([], "has no segmentation"),
        ("x", "must be polygons or run lengths"),
        ([[1, 2, 3, 4]], "three corners or more"),
        ([[1, 2, 3, 4, 5, 6, 7]], "must be a list x, y, x, y"),
        ([{"x": 1}], "must be a list x, y, x, y"),
        ([[1, 1, 9, 1, float("nan"), 9]], "must be finite numbers"),
        ([[1, 1, 9, 1, 10**400, 9]], "must be finite numbers"),
        ([[1, 1, 9, 1, [9], 9]], "must be finite numbers"),
        ([[-160.0, -220.0, 2.1e8, 3.5e8, 226.0, 237.0]], "far outside the image"),
        ([[1e308, -1e308, 1e308, 1, 1, 1]], "far outside the image"),
        ([[1, 1, 9, 1, 9, 1e8]], "far outside the image"),
        ([SQUARE, [1, 1, 9, 1, -1e7, 9]], "far outside the image"),
        ([[-30, -30, -20, -30, -20, -20]], "holds no pixel"),
        ({}, "are of size None"),
        ({"size": [-1, 40], "counts": [600, 600]}, "are of size"),
        ({"size": [40, 30], "counts": [600, 600]}, "are of size"),
        ({"size": [2**40, 40], "counts": [600, 600]}, "are of size"),
        ({"size": [30, 40, 1], "counts": [600, 600]}, "are of size"),
        ({"size": [30, 40]}, "counts must be a list or a text"),
        ({"size": [30, 40], "counts": {}}, "counts must be a list or a text"),
        ({"size": [30, 40], "counts": [-5, 1205]}, "whole numbers from 0"),
        ({"size": [30, 40], "counts": [0.5, 1199.5]}, "whole numbers from 0"),
        ({"size": [30, 40], "counts": [5, 10]}, "counts are 15 pixels, but the image has 1200"),
        ({"size": [30, 40], "counts": [2**33, 5]}, "counts are"),
        ({"size": [30, 40], "counts": [1200]}, "holds no pixel"),
        ({"size": [30, 40], "counts": "PP_1"}, "but the image has 1200"),
        ({"size": [30, 40], "counts": ""}, "but the image has 1200"),
        ({"size": [30, 40], "counts": "oooooooooooooooo"}, "no compressed run lengths"),
        ({"size": [30, 40], "counts": "P"}, "middle of a number"),
        ({"size": [30, 40], "counts": "a b"}, "no compressed run lengths"),
        ({"size": [30, 40], "counts": "ä1"}, "no compressed run lengths"),
    ],
)
def test_what_is_no_geometry_of_this_image_is_refused(segmentation: object, told: str) -> None:
    with pytest.raises(GeometryError, match=told):
        run_lengths(segmentation, HEIGHT, WIDTH)


@pytest.mark.parametrize("segmentation", [[SQUARE], {"size": [2**16, 2**16], "counts": [0, 2**32]}])
def test_images_beyond_32_bits_have_no_run_lengths(segmentation: object) -> None:
    with pytest.raises(GeometryError, match="too large"):
        run_lengths(segmentation, 2**16, 2**16)


def test_polygons_longer_than_any_outline_are_refused() -> None:
    """A ragged line of 100,000 corners across a large image would take gigabytes."""
    side = 10_000
    corners = [
        float(value) for i in range(2 * LONGEST_OUTLINE // side) for value in (side * (i % 2), i % side)
    ]
    with pytest.raises(GeometryError, match="px long"):
        check_polygons([corners], side, side)


def test_polygons_may_reach_out_by_the_size_of_the_image_and_no_further() -> None:
    assert check_polygons([[-10, 0, 20, 0, 5, 9]], 10, 10)
    with pytest.raises(GeometryError, match="far outside the image"):
        check_polygons([[-11, 0, 20, 0, 5, 9]], 10, 10)


@pytest.mark.parametrize(
    ("segmentation", "area"),
    [
        ([SQUARE], 100),
        ([[str(value) for value in SQUARE]], 100),
        ([[*SQUARE, 5.0, 5.0], [1, 2]], 100),
        ([[-5, -5, 15, -5, 15, 15, -5, 15]], 225),  # What lies outside is cut off.
        ({"size": [30, 40], "counts": [100, 20, 1080]}, 20),
        ({"size": ["30", 40.0], "counts": ["100", 20.0, 1080]}, 20),
        ({"size": [30, 40], "counts": [0, 1200]}, 1200),
    ],
)
def test_what_can_only_mean_one_thing_is_read(segmentation: object, area: int) -> None:
    assert pixels(segmentation) == area


def test_compressed_run_lengths_are_those_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for density, first in ((0.0, 1), (0.02, 1), (0.5, 1), (0.98, 1), (0.02, 0), (0.5, 0)):
        mask = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < density).astype(np.uint8)
        mask[0, :3] = first
        code = coco_mask.encode(np.asfortranarray(mask))["counts"]
        flat = mask.flatten(order="F")
        runs, value = [], 0
        while len(flat):
            length = int(np.argmax(flat != value)) if (flat != value).any() else len(flat)
            runs.append(length)
            flat, value = flat[length:], 1 - value
        assert decompress(code) == runs
        found = run_lengths({"size": [HEIGHT, WIDTH], "counts": code.decode()}, HEIGHT, WIDTH)
        assert np.array_equal(coco_mask.decode(found), mask)


def test_damaged_codes_are_refused_or_fill_the_image() -> None:
    rng = np.random.default_rng(1)
    whole = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < 0.1).astype(np.uint8)
    code = bytearray(coco_mask.encode(np.asfortranarray(whole))["counts"])
    refused = 0
    for _ in range(500):
        damaged = bytearray(code)
        for _ in range(int(rng.integers(1, 4))):
            damaged[int(rng.integers(len(damaged)))] = int(rng.integers(32, 127))
        damaged = damaged[: int(rng.integers(1, len(damaged) + 1))]
        try:
            found = run_lengths({"size": [HEIGHT, WIDTH], "counts": damaged.decode()}, HEIGHT, WIDTH)
        except GeometryError:
            refused += 1
        else:
            assert set(np.unique(coco_mask.decode(found))) <= {0, 1}
    assert refused > 400


@pytest.mark.parametrize(
    ("bbox", "corners"),
    [
        ((1, 2, 3, 4), (1, 2, 4, 6)),
        ((-5, -5, 1e12, 1e12), (0, 0, WIDTH, HEIGHT)),
        ((-1e308, 0, 1e308, 5), None),
        ((0, 0, float("inf"), 5), None),
        ((50, 2, 3, 4), None),
    ],
)
def test_boxes_are_cut_to_the_image(
    bbox: tuple[float, float, float, float], corners: tuple[float, ...] | None
) -> None:
    assert clip_box(bbox, HEIGHT, WIDTH) == corners
