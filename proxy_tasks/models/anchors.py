"""Anchors: boxes at every place of the pyramid, and the coding of offsets from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from search_space.heads import AnchorConfig

MAX_LOG_RATIO = math.log(1000 / 16)
"""Limit of predicted log sizes, so that an untrained network cannot overflow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Anchors:
    """All anchors of a pyramid: levels ascending, then rows, columns and shapes.

    Along one axis, an anchor's two ends depend on its column (or row) and shape alone.

    Args:
        columns: the two ends along x, [sum over levels of columns * shapes, 2], in input pixels.
        rows: the two ends along y, [sum over levels of rows * shapes, 2].
        sizes: rows and columns of each level.
        shapes: anchors at every place.
        boxes: [A, 4] x0, y0, x1, y1.
        areas: [A] in square pixels.
    """

    columns: Tensor
    rows: Tensor
    sizes: tuple[tuple[int, int], ...]
    shapes: int
    boxes: Tensor
    areas: Tensor


def make_anchors(config: AnchorConfig, sizes: dict[int, tuple[int, int]], device: torch.device) -> Anchors:
    """Makes the anchors of a pyramid.

    Args:
        config: shapes at every place.
        sizes: height and width of each level's feature.
        device: where to make them.
    """
    columns, rows, boxes = [], [], []
    shapes = [
        (2**octave / ratio**0.5, 2**octave * ratio**0.5)
        for octave in config.octaves
        for ratio in config.ratios
    ]
    halves = torch.tensor(shapes, device=device) * (config.base / 2)
    for level, (height, width) in sorted(sizes.items()):
        stride = 2.0**level
        x = (torch.arange(width, device=device)[:, None] + 0.5) * stride
        y = (torch.arange(height, device=device)[:, None] + 0.5) * stride
        half_x, half_y = (halves * stride).unbind(1)
        across = torch.stack([x - half_x, x + half_x], -1)
        down = torch.stack([y - half_y, y + half_y], -1)
        columns.append(across.flatten(0, 1))
        rows.append(down.flatten(0, 1))
        shape = (height, width, len(shapes), 2)
        corners = torch.stack([across[None].expand(shape), down[:, None].expand(shape)], -1)
        boxes.append(corners.flatten(0, 2).flatten(1))
    found = torch.cat(boxes)
    return Anchors(
        columns=torch.cat(columns),
        rows=torch.cat(rows),
        sizes=tuple(size for _, size in sorted(sizes.items())),
        shapes=len(shapes),
        boxes=found,
        areas=(found[:, 2:] - found[:, :2]).prod(1),
    )


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
