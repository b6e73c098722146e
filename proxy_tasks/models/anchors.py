"""Anchors: boxes at every place of the pyramid, their match with objects, and the coding of offsets."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import box_iou

from search_space.heads import AnchorConfig

MAX_LOG_RATIO = math.log(1000 / 16)
"""Limit of predicted log sizes, so that an untrained network cannot overflow."""


def anchor_boxes(config: AnchorConfig, sizes: dict[int, tuple[int, int]], device: torch.device) -> Tensor:
    """Makes anchors [A, 4] as x0, y0, x1, y1 in input pixels, by level, row, column and shape.

    Args:
        config: shapes at every place.
        sizes: height and width of each level's feature.
        device: where to make them.
    """
    levels = []
    for level, (height, width) in sorted(sizes.items()):
        stride = 2.0**level
        shapes = torch.tensor(
            [
                (
                    config.base * stride * 2**octave / math.sqrt(ratio),
                    config.base * stride * 2**octave * math.sqrt(ratio),
                )
                for octave in config.octaves
                for ratio in config.ratios
            ],
            device=device,
        )
        y = (torch.arange(height, device=device) + 0.5) * stride
        x = (torch.arange(width, device=device) + 0.5) * stride
        centers = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flip(-1).reshape(-1, 1, 2)
        levels.append(torch.cat([centers - shapes / 2, centers + shapes / 2], -1).reshape(-1, 4))
    return torch.cat(levels)


def match(anchors: Tensor, boxes: Tensor, threshold: float = 0.5) -> Tensor:
    """Matches anchors with boxes: [A] the number of the box that each anchor learns, or -1.

    An anchor takes the box that it overlaps most if their IoU is at least the threshold. Every box gets
    the anchor that overlaps it most, whatever the IoU.
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
    iou = box_iou(anchors, boxes)
    best, matched = iou.max(1)
    matched = torch.where(best >= threshold, matched, -1)
    best_of_box, anchor_of_box = iou.max(0)
    reachable = best_of_box > 0
    matched[anchor_of_box[reachable]] = torch.arange(len(boxes), device=boxes.device)[reachable]
    return matched


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Gives offsets dx, dy, dw, dh [..., 4] of boxes from their anchors (Faster R-CNN's parametrization)."""
    size = anchors[..., 2:] - anchors[..., :2]
    center = (anchors[..., :2] + anchors[..., 2:]) / 2
    shift = ((boxes[..., :2] + boxes[..., 2:]) / 2 - center) / size
    return torch.cat([shift, torch.log((boxes[..., 2:] - boxes[..., :2]) / size)], -1)


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Gives boxes [..., 4] from offsets; the inverse of `encode`."""
    size = anchors[..., 2:] - anchors[..., :2]
    center = (anchors[..., :2] + anchors[..., 2:]) / 2 + offsets[..., :2] * size
    half = torch.exp(offsets[..., 2:].clamp(max=MAX_LOG_RATIO)) * size / 2
    return torch.cat([center - half, center + half], -1)
