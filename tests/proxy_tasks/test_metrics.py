"""What is a measurement, and what only says that there was nothing to measure."""

from __future__ import annotations

import pytest

from nas.executors.job import validate_score
from proxy_tasks.metrics import is_measured
from proxy_tasks.task import Score

COCO_NAMES = (
    "AP",
    "APs",
    "ARl",
    "AR100",
    "mask_APm",
    "bbox_mAP_s",
    "coco/segm_mAP_50",
    "AP@[.5:.95]",
    "map_small",  # As torchmetrics calls it.
    "val/mar_large",
)


@pytest.mark.parametrize("name", COCO_NAMES)
def test_minus_one_is_no_average_precision_or_recall(name: str) -> None:
    assert not is_measured(name, -1.0)
    assert is_measured(name, 0.0)
    assert is_measured(name, 0.31)


@pytest.mark.parametrize("name", ["loss", "APPLES", "maps", "MAPE", "gap"])
def test_minus_one_of_anything_else_is_a_number(name: str) -> None:
    assert is_measured(name, -1.0)


def test_a_score_of_ones_own_task_loses_what_was_not_measured() -> None:
    score = validate_score(Score(-1.0, {"APs": -1, "bbox_mAP_l": -1.0, "gain": -1, "AP": 0.25}))
    assert score == Score(-1.0, {"gain": -1.0, "AP": 0.25})
