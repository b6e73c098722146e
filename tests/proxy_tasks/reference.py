"""Losses, matching and batches written plainly, image by image: what the quick ones are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.batches import MEAN, MIN_BOX_SIDE, STD
from proxy_tasks.data.pixel_cache import PixelCache
from proxy_tasks.data.targets import Target
from proxy_tasks.models.anchors import encode
from proxy_tasks.models.fcos import Places, centerness_of
from search_space import FCOSHead, RetinaNetLossConfig


def match_image(anchors: Tensor, boxes: Tensor, threshold: float = 0.5) -> Tensor:
    """[A] the number of the box that each anchor of one image learns, or -1."""
    if len(boxes) == 0:
        return torch.full((len(anchors),), -1)
    iou = box_iou(anchors, boxes)
    best, matched = iou.max(1)
    matched = torch.where(best >= threshold, matched, -1)
    best_of_box, anchor_of_box = iou.max(0)
    for box, (overlap, anchor) in enumerate(zip(best_of_box.tolist(), anchor_of_box.tolist(), strict=True)):
        if overlap > 0:
            matched[anchor] = box
    return matched


def retinanet_losses_of_images(
    logits: Tensor, offsets: Tensor, anchors: Tensor, targets: Sequence[Target], config: RetinaNetLossConfig
) -> tuple[Tensor, Tensor]:
    """Class and box loss of a batch, with a whole tensor of class targets."""
    classes = torch.zeros_like(logits)
    found, wanted = [], []
    for n, target in enumerate(targets):
        matched = match_image(anchors, target["boxes"])
        at = (matched >= 0).nonzero()[:, 0]
        classes[n, at, target["labels"][matched[at]]] = 1
        found.append(offsets[n, at])
        wanted.append(encode(target["boxes"][matched[at]], anchors[at]))
    count = sum(len(some) for some in found) + 1
    of_classes = sigmoid_focal_loss(logits, classes, config.alpha, config.gamma, reduction="sum") / count
    of_boxes = F.huber_loss(torch.cat(found), torch.cat(wanted), reduction="sum", delta=config.delta)
    if config.smooth_l1:
        of_boxes = of_boxes / config.delta
    return of_classes, config.box_weight * of_boxes / (4 * count)


def assign_image(places: Places, boxes: Tensor, radius: float) -> Tensor:
    """[P] the number of the box that each place of one image learns, or -1."""
    if len(boxes) == 0:
        return torch.full((len(places.centers),), -1)
    centers = places.centers[:, None]
    sides = torch.cat([centers - boxes[:, :2], boxes[:, 2:] - centers], -1)
    offsets = (centers - (boxes[:, :2] + boxes[:, 2:]) / 2).abs().amax(-1)
    largest = sides.amax(-1)
    possible = (
        (sides.amin(-1) > 0)
        & (offsets <= radius * places.strides[:, None])
        & (largest >= places.lowest[:, None])
        & (largest <= places.highest[:, None])
    )
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).expand(len(places.centers), -1)
    smallest, matched = areas.masked_fill(~possible, float("inf")).min(1)
    return torch.where(smallest.isfinite(), matched, -1)


def fcos_losses_of_images(
    logits: Tensor,
    distances: Tensor,
    centerness: Tensor,
    places: Places,
    targets: Sequence[Target],
    head: FCOSHead,
) -> tuple[Tensor, Tensor, Tensor]:
    """Class, box and centerness loss of a batch."""
    classes = torch.zeros_like(logits)
    found, wanted, logit, central = [], [], [], []
    for n, target in enumerate(targets):
        matched = assign_image(places, target["boxes"], head.radius)
        at = (matched >= 0).nonzero()[:, 0]
        boxes, centers = target["boxes"][matched[at]], places.centers[at]
        classes[n, at, target["labels"][matched[at]]] = 1
        found.append(torch.cat([centers - distances[n, at, :2], centers + distances[n, at, 2:]], -1))
        wanted.append(boxes)
        logit.append(centerness[n, at])
        central.append(centerness_of(torch.cat([centers - boxes[:, :2], boxes[:, 2:] - centers], -1)))
    weights = torch.cat(central)
    count, weight = max(1, len(weights)), weights.sum().clamp(min=1)
    of_classes = sigmoid_focal_loss(logits, classes, head.alpha, head.gamma, reduction="sum") / count
    overlap = generalized_box_iou_loss(torch.cat(found), torch.cat(wanted), reduction="none")
    of_centers = F.binary_cross_entropy_with_logits(torch.cat(logit), weights, reduction="sum") / count
    return of_classes, head.box_weight * (overlap * weights).sum() / weight, of_centers


def batch_of_images(
    cache: PixelCache,
    images: Sequence[int],
    size: int,
    augmentation: Augmentation,
    noise: NDArray[np.float64],
) -> tuple[list[NDArray[np.float32]], list[Tensor], list[Tensor]]:
    """Pixels [3, S, S], boxes and labels of each image, pixel by pixel and box by box."""
    pixels, all_boxes, all_labels = [], [], []
    split = cache.split
    for i, (first, across, down, turn) in zip(images, noise.tolist(), strict=True):
        height, width = split.sizes[i].tolist()
        jitter = augmentation.low + (augmentation.high - augmentation.low) * first
        scale = jitter * size / max(height, width)
        left = -across * max(0.0, width * scale - size)
        top = -down * max(0.0, height * scale - size)
        mirrored = augmentation.flip and turn < 0.5
        boxes, labels = [], []
        for k in range(*split.boxes_of(i).indices(len(split.boxes))):
            x0, y0, x1, y1 = split.boxes[k].tolist()
            if mirrored:
                x0, x1 = width - x1, width - x0
            box = [x0 * scale + left, y0 * scale + top, x1 * scale + left, y1 * scale + top]
            box = [min(max(v, 0.0), float(size)) for v in box]
            if not split.crowd[k] and box[2] - box[0] >= MIN_BOX_SIDE and box[3] - box[1] >= MIN_BOX_SIDE:
                boxes.append(box)
                labels.append(int(split.labels[k]))
        all_boxes.append(torch.tensor(boxes).reshape(-1, 4))
        all_labels.append(torch.tensor(labels, dtype=torch.int64))
        pixels.append(_sampled(cache.image(i), (height, width), scale, (left, top), mirrored, size))
    return pixels, all_boxes, all_labels


def _sampled(
    image: NDArray[np.uint8],
    annotated: tuple[int, int],
    scale: float,
    shift: tuple[float, float],
    mirrored: bool,
    size: int,
) -> NDArray[np.float32]:
    """[3, S, S]: an image sampled bilinearly with zeros outside, normalized."""
    height, width = image.shape[:2]
    normalized = (image / 255 - MEAN) / STD
    padded = np.zeros((height + 2, width + 2, 3))
    padded[1:-1, 1:-1] = normalized
    centers = np.arange(size) + 0.5
    x, y = (centers - shift[0]) / scale, (centers - shift[1]) / scale
    if mirrored:
        x = annotated[1] - x
    # In pixels of the padded image, whose first center is that of the padding.
    x = (x * width / annotated[1] + 0.5).clip(0, width + 1)
    y = (y * height / annotated[0] + 0.5).clip(0, height + 1)
    x0, y0 = np.minimum(x.astype(int), width), np.minimum(y.astype(int), height)
    dx, dy = (x - x0)[None, :, None], (y - y0)[:, None, None]
    upper = padded[y0][:, x0] * (1 - dx) + padded[y0][:, x0 + 1] * dx
    lower = padded[y0 + 1][:, x0] * (1 - dx) + padded[y0 + 1][:, x0 + 1] * dx
    found: NDArray[np.float64] = upper * (1 - dy) + lower * dy
    return found.transpose(2, 0, 1).astype(np.float32)
