"""Anchors: boxes at every place of the pyramid, their match with objects, and the coding of offsets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

MAX_LOG_RATIO = math.log(1000 / 16)
"""Limit of predicted log sizes, so that an untrained network cannot overflow."""


@dataclass(frozen=True)
class AnchorSpec:
    """Anchors of one pyramid.

    Args:
        base: side of the smallest anchor of a level, in strides.
        octaves: scales within a level, as powers of two.
        ratios: height by width.
    """

    base: float = 3.0
    octaves: Sequence[float] = (0.0, 1 / 3, 2 / 3)
    ratios: Sequence[float] = (1.0, 2.0, 0.5)

    def __post_init__(self) -> None:
        # A configuration gives lists, which equal no tuples.
        object.__setattr__(self, "octaves", tuple(self.octaves))
        object.__setattr__(self, "ratios", tuple(self.ratios))
        if self.base <= 0 or not self.octaves or not self.ratios or min(self.ratios) <= 0:
            raise ValueError(f"anchors need a base, octaves, and ratios above 0, not {self}")

    @property
    def per_place(self) -> int:
        """Anchors at every place."""
        return len(self.octaves) * len(self.ratios)


def anchor_boxes(spec: AnchorSpec, sizes: dict[int, tuple[int, int]], device: torch.device) -> Tensor:
    """[A, 4] x0, y0, x1, y1 in input pixels: levels ascending, then rows, columns, anchors of the place.

    Args:
        spec: shapes.
        sizes: height and width of each level's feature.
        device: where to make them.
    """
    levels = []
    for level, (height, width) in sorted(sizes.items()):
        stride = 2.0**level
        shapes = torch.tensor(
            [
                (
                    spec.base * stride * 2**octave / math.sqrt(ratio),
                    spec.base * stride * 2**octave * math.sqrt(ratio),
                )
                for octave in spec.octaves
                for ratio in spec.ratios
            ],
            device=device,
        )
        y = (torch.arange(height, device=device) + 0.5) * stride
        x = (torch.arange(width, device=device) + 0.5) * stride
        centres = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flip(-1).reshape(-1, 1, 2)
        levels.append(torch.cat([centres - shapes / 2, centres + shapes / 2], -1).reshape(-1, 4))
    return torch.cat(levels)


def match(anchors: Tensor, boxes: Tensor, threshold: float = 0.5) -> Tensor:
    """[A] the box that each anchor stands for, or -1.

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
    """[..., 4] offsets dx, dy, dw, dh of boxes from their anchors (Faster R-CNN's parametrisation)."""
    size = anchors[..., 2:] - anchors[..., :2]
    centre = (anchors[..., :2] + anchors[..., 2:]) / 2
    shift = ((boxes[..., :2] + boxes[..., 2:]) / 2 - centre) / size
    return torch.cat([shift, torch.log((boxes[..., 2:] - boxes[..., :2]) / size)], -1)


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """[..., 4] boxes from offsets; the inverse of `encode`."""
    size = anchors[..., 2:] - anchors[..., :2]
    centre = (anchors[..., :2] + anchors[..., 2:]) / 2 + offsets[..., :2] * size
    half = torch.exp(offsets[..., 2:].clamp(max=MAX_LOG_RATIO)) * size / 2
    return torch.cat([centre - half, centre + half], -1)
