"""From scores at every place to detections: selection of the best, and suppression of those that overlap."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from proxy_tasks.models.detector import Candidates, Prediction

CANDIDATES = 1000
"""Most boxes of an image that enter the suppression."""

DETECTIONS = 100
"""Most boxes of an image that leave it."""

LEAST_SCORE = 0.05
"""Boxes with this score or less are no detections."""

MANY_CLASSES = 100
"""With this number of classes or more, boxes are suppressed in float64: classes are moved apart to be
suppressed together, by more pixels than a float32 can hold with their fractions."""

GROUPS_A_ROW = 32
"""Where boxes must stay in float32, as in ONNX, groups are moved apart in rows of this length: coordinates
stay small, and keep their fractions."""

OVERLAP = 0.5
"""Intersection over union above which the weaker of two boxes of a class is dropped."""


def select_best(values: Tensor, count: int = CANDIDATES) -> tuple[Tensor, Tensor, Tensor]:
    """Selects the highest of the values of all places and classes, for each image.

    Args:
        values: [N, P, classes].
        count: how many are selected at most.

    Returns:
        The values [N, K] in falling order, and the places and classes [N, K] where they stand.
    """
    flat = values.flatten(1)
    top, at = flat.topk(min(count, flat.shape[1]), dim=1)
    return top, at // values.shape[2], at % values.shape[2]


def suppress(
    candidates: Candidates, *, least_score: float = LEAST_SCORE, detections: int = DETECTIONS
) -> list[Prediction]:
    """Drops weak boxes and, class by class, those that overlap a better one.

    Args:
        candidates: boxes, scores and labels, see `proxy_tasks.models.detector.Candidates`.
        least_score: a box is kept if its score is above this.
        detections: most boxes that are kept of an image.
    """
    results = []
    # From the best on, those above the threshold are the first ones, and one reading tells how many they are.
    order = candidates[1].argsort(dim=1, descending=True, stable=True)
    boxes = candidates[0].gather(1, order[..., None].expand(-1, -1, 4))
    scores, labels = candidates[1].gather(1, order), candidates[2].gather(1, order)
    last = labels.amax() if labels.numel() else labels.new_zeros(())
    *counts, label = torch.cat([(scores > least_score).sum(1), last[None]]).tolist()
    exact = boxes.double() if label + 1 >= MANY_CLASSES else boxes
    for n, count in enumerate(counts):
        some = boxes[n, :count], scores[n, :count], labels[n, :count]
        kept = batched_nms(exact[n, :count], scores[n, :count].to(exact.dtype), some[2], OVERLAP)[:detections]
        results.append(dict(zip(("boxes", "scores", "labels"), (part[kept] for part in some), strict=True)))
    return results


def clip_boxes(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Clips boxes [..., 4] to an image of that height and width."""
    height, width = image_size
    limit = torch.tensor([width, height, width, height], device=boxes.device)
    return torch.minimum(boxes.clamp(min=0), limit)
