"""Metrics by name: which values are measurements."""

from __future__ import annotations

import re

COCO_METRIC = re.compile(r"(?:.*[/_ .-])?(?:m?A[PR][sml]?(?:[^A-Za-z].*)?|ma[pr](?:_.*)?)", re.DOTALL)
"""Names such as AP, APs, AR100, mask_AP75, bbox_mAP_s, "AP@[.5:.95]", map_small; not "APPLES" or "maps"."""

ABSENT = -1.0
"""What COCO's own code gives where there is no object that a metric is about."""


def is_measured(name: str, value: float) -> bool:
    """Says whether a value is a measurement: an average precision or recall of -1 means "there were none"."""
    return value != ABSENT or COCO_METRIC.fullmatch(name) is None
