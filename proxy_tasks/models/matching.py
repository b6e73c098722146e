"""Matching: which object each anchor of each image learns, for a whole batch at once.

No shape depends on the objects of a batch, and nothing is read from the device. Objects are taken some at a
time: how many rounds there are follows from the counts, which the host knows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from proxy_tasks.data.targets import Targets
from proxy_tasks.models.anchors import Anchors

OBJECTS = 8
"""Objects of each image in a round."""

PAIRS = {"cpu": 2**19}
"""Largest number of pairs of anchors and objects at a time, by kind of device: on a CPU, they stay in its
cache."""

MOST_PAIRS = 2**28
"""Largest number of pairs at a time on other devices; a table of them in float32 takes 1 GiB."""


@torch.no_grad()
def match(anchors: Anchors, targets: Targets, threshold: float = 0.5) -> Tensor:
    """Matches anchors with objects: [N, A] the number of the object that each anchor learns, or -1.

    An anchor takes the object that it overlaps most if their intersection over union is at least the
    threshold. Every object gets the anchor that overlaps it most, whatever the overlap; of several objects
    that want one anchor, the last gets it.

    Args:
        anchors: of the pyramid.
        targets: the objects of N images.
        threshold: intersection over union, above 0.
    """
    pairs = len(anchors.boxes) * OBJECTS
    images = max(1, PAIRS.get(anchors.boxes.device.type, MOST_PAIRS) // pairs)
    found = [
        _match(anchors, targets.boxes[i : i + images], max(targets.counts[i : i + images]), threshold)
        for i in range(0, len(targets), images)
    ]
    return torch.cat(found)


def _match(anchors: Anchors, boxes: Tensor, most: int, threshold: float) -> Tensor:
    n, device = len(boxes), boxes.device
    best = torch.zeros(n, len(anchors.boxes), device=device)
    matched = torch.full_like(best, -1, dtype=torch.int64)
    forced = matched.clone()
    for start in range(0, most, OBJECTS):
        some = boxes[:, start : start + OBJECTS]
        overlaps = overlap(anchors, some)
        highest, which = overlaps.max(1)
        better = highest > best  # Of equal ones the first counts, within a round and over rounds.
        matched = torch.where(better, which + start, matched)
        best = torch.maximum(best, highest)
        highest, anchor = overlaps.max(2)
        numbers = torch.arange(start, start + some.shape[1], device=device)
        forced.scatter_reduce_(1, anchor, torch.where(highest > 0, numbers, -1), "amax")
    matched = torch.where(best >= threshold, matched, -1)
    return torch.where(forced >= 0, forced, matched)


def overlap(anchors: Anchors, boxes: Tensor) -> Tensor:
    """Computes the intersection over union of boxes [N, G, 4] with all anchors: [N, G, A].

    An intersection is a width times a height. Widths are those of columns, heights those of rows, so that
    little remains to be done for each pair.
    """
    n, count = boxes.shape[:2]
    widths = _shared(anchors.columns, boxes[..., 0], boxes[..., 2])
    heights = _shared(anchors.rows, boxes[..., 1], boxes[..., 3])
    common = torch.empty(n, count, len(anchors.boxes), device=boxes.device, dtype=widths.dtype)
    row = column = place = 0
    k = anchors.shapes
    for height, width in anchors.sizes:
        down = heights[..., row : row + height * k].view(n, count, height, 1, k)
        across = widths[..., column : column + width * k].view(n, count, 1, width, k)
        end = place + height * width * k
        torch.mul(down, across, out=common[..., place:end].view(n, count, height, width, k))
        row, column, place = row + height * k, column + width * k, end
    areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    union = (anchors.areas + areas[..., None]).sub_(common)
    return common.div_(union)


def _shared(ends: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """[N, G, P]: the length that intervals [P, 2] and those from `low` to `high` [N, G] have in common."""
    shared = torch.minimum(ends[:, 1], high[..., None]).sub_(torch.maximum(ends[:, 0], low[..., None]))
    return shared.clamp_(min=0)
