"""What is left out of one split is counted, with the objects of images that are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy_tasks.data.dataset import DataError
from tests.proxy_tasks.small_data import box, change_annotations, data_of, write_both


def test_what_is_left_out_is_counted_with_the_objects_of_missing_images(tmp_path: Path) -> None:
    root = write_both(tmp_path / "set", 12)
    (root / "images" / "train" / "3.png").unlink()

    def spoil(data: dict[str, Any]) -> None:
        data["annotations"][0]["bbox"] = [0, 0, 0, 0]
        data["annotations"].append(box(20, 2, [3, 3, 5, 5]))

    change_annotations(root, "train", spoil)
    line = data_of(root, allow_left_out=0.5).survey().line([("1.png", "truncated")])
    assert line.startswith(
        "train: 10 images, 11 objects; left out: 2 of 12 images, 2 of 13 objects. val: 12 images"
    )
    details = data_of(root, allow_left_out=0.5).survey().details([("1.png", "truncated")])
    assert len(details) == 3
    assert details[-1] == "train: 1.png: cannot be decoded: truncated; skipped: the image"


@pytest.mark.parametrize(
    ("broken", "elsewhere", "told"),
    [
        (1, 4, ""),
        (2, 4, "16 of 20 objects of train cannot be used"),
        (2, 19, ""),
        (1, 0, "no object of train is in an image that can be used"),
    ],
)
def test_objects_of_images_that_cannot_be_decoded_are_left_out_too(
    tmp_path: Path, broken: int, elsewhere: int, told: str
) -> None:
    """One or two images of twenty are not too many, but most objects may be in them."""
    root = write_both(tmp_path / "set", 20)

    def crowd_into_one(data: dict[str, Any]) -> None:
        for item in data["annotations"]:
            item["image_id"] = 1 if item["id"] <= 20 - elsewhere else 20

    change_annotations(root, "train", crowd_into_one)
    for number in range(1, broken + 1):
        (root / "images" / "train" / f"{number}.png").write_bytes(b"broken")
    assert data_of(root).survey().refusals == ()
    if told:
        with pytest.raises(DataError, match=told):
            data_of(root).caches(32)
    else:
        assert len(data_of(root).caches(32)[0]) == 20 - broken
    tolerant = data_of(root, allow_left_out=1.0)
    if elsewhere:
        found = tolerant.caches(32)[0]
        left = f"{broken} of 20 images, {20 - elsewhere} of 20 objects"
        assert (
            f"train: {20 - broken} images, {elsewhere} objects; left out: {left}"
            in tolerant.survey().line(found.skipped)
        )
    else:
        with pytest.raises(DataError, match=told):
            tolerant.caches(32)
