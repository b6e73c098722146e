"""Batches: images and boxes of a pixel cache, jittered, flipped, padded and normalized on the device.

One affine map between the image and the network's input does all the geometry of a batch: scale jitter,
crop, and flip. Boxes go through the same map, and `Letterbox.to_image` takes detections back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from proxy_tasks.data.dataset import RunLengths
from proxy_tasks.data.pixel_cache import PixelCache
from search_space.utils.validation import Above, AtMost, validate

MEAN = (0.485, 0.456, 0.406)


STD = (0.229, 0.224, 0.225)
"""ImageNet's channel statistics, for pixels in 0..1."""


MASK_PIXELS = 2**25
"""Pixels of masks that are decoded at a time: all those of a large image would fill the memory."""


MIN_BOX_SIDE = 1.0
"""Pixels; boxes that jitter leaves with less are dropped."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images vary.

    Args:
        low, high: range of the random scale, relative to filling the network's input.
        flip: whether half of the images are mirrored.

    Raises:
        ValueError: if a field is out of range; the message names it as "augmentation.low" and so on.
    """

    low: Annotated[float, Above(0), AtMost(10)] = 1.0
    high: Annotated[float, Above(0), AtMost(10)] = 1.0
    flip: bool = True

    def __post_init__(self) -> None:
        validate(self, where="augmentation.")
        if self.low > self.high:
            raise ValueError(
                f"augmentation.low must be at most augmentation.high, {self.high}, not {self.low}"
            )


@dataclass(frozen=True)
class Batch:
    """Images with their boxes.

    Args:
        images: [N, 3, S, S] float32, normalized, zero where there is no image.
        boxes: for each image [G, 4] x0, y0, x1, y1 in pixels of the input.
        labels: for each image [G].
        masks: for each image [G, S, S] of 0 and 1, if the split has masks; else none.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    masks: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies in the network's input: input = image * scale + shift, after mirroring the image.

    Args:
        scale: [2] input pixels per pixel of the annotated image, x and y.
        shift: [2] position of the image's origin in the input, x and y.
        width: of the annotated image; mirrored images are turned about it.
        mirrored: whether the image is flipped.
    """

    scale: tuple[float, float]
    shift: tuple[float, float]
    width: float
    mirrored: bool

    def to_input(self, boxes: Tensor) -> Tensor:
        """[G, 4] boxes of the annotated image, in pixels of the input."""
        x0, y0, x1, y1 = boxes.unbind(-1)
        if self.mirrored:
            x0, x1 = self.width - x1, self.width - x0
        (sx, sy), (tx, ty) = self.scale, self.shift
        return torch.stack([x0 * sx + tx, y0 * sy + ty, x1 * sx + tx, y1 * sy + ty], -1)

    def to_image(self, boxes: Tensor) -> Tensor:
        """[G, 4] boxes of the input, in pixels of the annotated image."""
        (sx, sy), (tx, ty) = self.scale, self.shift
        x0, y0, x1, y1 = boxes.unbind(-1)
        x0, x1, y0, y1 = (x0 - tx) / sx, (x1 - tx) / sx, (y0 - ty) / sy, (y1 - ty) / sy
        if self.mirrored:
            x0, x1 = self.width - x1, self.width - x0
        return torch.stack([x0, y0, x1, y1], -1)


def training_batch(
    cache: PixelCache,
    images: list[int],
    image_size: int,
    augmentation: Augmentation,
    noise: NDArray[np.float64],
    device: torch.device,
) -> Batch:
    """A jittered batch. Crowd regions are no targets; boxes cut to nothing are dropped.

    Args:
        cache: where the images are.
        images: [N] their numbers.
        image_size: S, the side of the network's input in pixels.
        augmentation: how they vary.
        noise: [N, 4] random numbers in [0, 1) for scale, shift along x and y, and flip.
        device: where the batch is made.
    """
    boxes_out, labels_out, masks_out, transforms = [], [], [], []
    split = cache.split
    for i, numbers in zip(images, noise.tolist(), strict=True):
        transform = _random_transform(cache, i, image_size, augmentation, numbers)
        transforms.append(transform)
        here = split.boxes_of(i)
        wanted = ~split.crowd[here]
        boxes = transform.to_input(torch.from_numpy(split.boxes[here][wanted])).clamp_(0, image_size)
        labels = torch.from_numpy(split.labels[here][wanted])
        large = (boxes[:, 2:] - boxes[:, :2] >= MIN_BOX_SIDE).all(1)
        boxes_out.append(boxes[large].to(device))
        labels_out.append(labels[large].to(device))
        if split.masks:
            kept = (np.flatnonzero(wanted)[large.numpy()] + here.start).tolist()
            masks_out.append(_warp_masks([split.masks[k] for k in kept], transform, image_size, device))
    return Batch(_warp(cache, images, transforms, image_size, device), boxes_out, labels_out, masks_out)


def _warp_masks(
    masks: list[RunLengths], transform: Letterbox, image_size: int, device: torch.device
) -> Tensor:
    """[G, S, S] uint8: the objects' pixels in the input."""
    from pycocotools import mask as coco_mask

    if not masks:
        return torch.zeros(0, image_size, image_size, dtype=torch.uint8, device=device)
    height, width = masks[0]["size"]
    axes = []
    for axis, side in ((0, width), (1, height)):
        at = (torch.arange(image_size, device=device) + 0.5 - transform.shift[axis]) / transform.scale[axis]
        if axis == 0 and transform.mirrored:
            at = transform.width - at
        axes.append(2 * at / side - 1)
    grid = torch.stack([axes[0].expand(image_size, -1), axes[1][:, None].expand(-1, image_size)], -1)
    warped = []
    step = max(1, MASK_PIXELS // (height * width))
    for start in range(0, len(masks), step):
        pixels = torch.from_numpy(coco_mask.decode(masks[start : start + step])).to(device)
        whole = pixels.permute(2, 0, 1).float()
        found = F.grid_sample(whole[None], grid[None], mode="bilinear", align_corners=False)[0]
        warped.append((found >= 0.5).to(torch.uint8))
    return torch.cat(warped)


def evaluation_batch(
    cache: PixelCache, images: list[int], image_size: int, device: torch.device
) -> tuple[Tensor, list[Letterbox]]:
    """Images scaled to fill the input from its top left: [N, 3, S, S], and where they lie."""
    transforms = [_letterbox(cache, i, image_size, 1.0, (0.0, 0.0), mirrored=False) for i in images]
    return _warp(cache, images, transforms, image_size, device), transforms


def _letterbox(
    cache: PixelCache, i: int, image_size: int, jitter: float, shift: tuple[float, float], mirrored: bool
) -> Letterbox:
    height, width = (float(side) for side in cache.split.sizes[i])
    scale = jitter * image_size / max(height, width)
    return Letterbox((scale, scale), shift, width, mirrored)


def _random_transform(
    cache: PixelCache, i: int, image_size: int, augmentation: Augmentation, noise: list[float]
) -> Letterbox:
    jitter = augmentation.low + (augmentation.high - augmentation.low) * noise[0]
    height, width = cache.split.sizes[i] * (jitter * image_size / cache.split.sizes[i].max())
    # A larger image is cropped at a random place; a smaller one lies at the top left, padded.
    shift = (-noise[1] * max(0.0, width - image_size), -noise[2] * max(0.0, height - image_size))
    mirrored = augmentation.flip and noise[3] < 0.5
    return _letterbox(cache, i, image_size, jitter, shift, mirrored)


def _warp(
    cache: PixelCache, images: list[int], transforms: list[Letterbox], image_size: int, device: torch.device
) -> Tensor:
    """[N, 3, S, S]: the images sampled bilinearly through their transforms, normalized."""
    sizes = cache.sizes[images]
    side_y, side_x = sizes.max(0)
    raw = torch.zeros(len(images), side_y, side_x, 3, dtype=torch.uint8)
    # grid_sample takes, for each pixel of the output, where to sample in -1..1; the axes are independent.
    steps = np.zeros((2, len(images), 1), dtype=np.float32)
    starts = np.zeros((2, len(images), 1), dtype=np.float32)
    for k, (i, transform) in enumerate(zip(images, transforms, strict=True)):
        height, width = sizes[k]
        raw[k, :height, :width] = torch.from_numpy(np.array(cache.image(i)))
        annotated = cache.split.sizes[i]
        for axis, (cached, full, side) in enumerate(
            ((width, annotated[1], side_x), (height, annotated[0], side_y))
        ):
            per_pixel = cached / full / transform.scale[axis]
            start = -transform.shift[axis] * per_pixel
            if axis == 0 and transform.mirrored:
                per_pixel, start = -per_pixel, cached - start
            steps[axis, k] = 2 * per_pixel / side
            starts[axis, k] = 2 * start / side - 1
    raw = raw.to(device, non_blocking=True)
    inside = _inside(sizes, side_y, side_x, device)
    mean = torch.tensor(MEAN, device=device).mul_(255).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=device).mul_(255).view(1, 3, 1, 1)
    # Normalized before it is sampled, so that zero is what lies outside.
    pixels = raw.permute(0, 3, 1, 2).float().sub_(mean).div_(std).mul_(inside)
    centers = torch.arange(image_size, device=device) + 0.5
    x, y = torch.from_numpy(steps).to(device) * centers + torch.from_numpy(starts).to(device)
    shape = (len(images), image_size, image_size)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
    warped = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return warped.contiguous(memory_format=torch.channels_last)


def _inside(sizes: NDArray[np.int64], side_y: int, side_x: int, device: torch.device) -> Tensor:
    """[N, 1, H, W] 1 where the padded pixels hold the image, else 0."""
    limits = torch.from_numpy(sizes).to(device)
    rows = torch.arange(side_y, device=device)[None, :, None] < limits[:, 0, None, None]
    columns = torch.arange(side_x, device=device)[None, None, :] < limits[:, 1, None, None]
    return (rows & columns)[:, None].float()
