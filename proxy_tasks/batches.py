"""Batches: images and boxes of a pack, jittered, flipped, padded and normalised together on the device.

One affine map from canvas to image does all the geometry of a batch: scale jitter, crop, and flip.
Boxes go through the same map, and `Letterbox.to_image` takes detections back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from proxy_tasks.coco import RunLengths
from proxy_tasks.pack import Pack

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's channel statistics, for pixels in 0..1."""
MIN_BOX_SIDE = 1.0
"""Pixels; boxes that jitter leaves with less are dropped."""


@dataclass(frozen=True)
class Augmentation:
    """How training images vary.

    Args:
        low, high: range of the random scale, relative to filling the canvas.
        flip: whether half of the images are mirrored.
    """

    low: float = 1.0
    high: float = 1.0
    flip: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 10:
            raise ValueError(f"augmentation: 0 < low <= high <= 10, not {self.low!r} and {self.high!r}")


@dataclass(frozen=True)
class Batch:
    """Images with their boxes.

    Args:
        images: [N, 3, S, S] float32, normalised, zero where there is no image.
        boxes: for each image [G, 4] x0, y0, x1, y1 in canvas pixels.
        labels: for each image [G].
        masks: for each image [G, S, S] of 0 and 1, if the split has masks; else none.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    masks: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies on its canvas: canvas = image * scale + shift, mirrored in the image first.

    Args:
        scale: [2] canvas pixels per pixel of the annotated image, x and y.
        shift: [2] canvas position of the image's origin, x and y.
        width: of the annotated image; mirrored images are turned about it.
        mirrored: whether the image is flipped.
    """

    scale: tuple[float, float]
    shift: tuple[float, float]
    width: float
    mirrored: bool

    def to_canvas(self, boxes: Tensor) -> Tensor:
        """[G, 4] boxes of the annotated image on the canvas."""
        x0, y0, x1, y1 = boxes.unbind(-1)
        if self.mirrored:
            x0, x1 = self.width - x1, self.width - x0
        (sx, sy), (tx, ty) = self.scale, self.shift
        return torch.stack([x0 * sx + tx, y0 * sy + ty, x1 * sx + tx, y1 * sy + ty], -1)

    def to_image(self, boxes: Tensor) -> Tensor:
        """[G, 4] boxes of the canvas in the annotated image."""
        (sx, sy), (tx, ty) = self.scale, self.shift
        x0, y0, x1, y1 = boxes.unbind(-1)
        x0, x1, y0, y1 = (x0 - tx) / sx, (x1 - tx) / sx, (y0 - ty) / sy, (y1 - ty) / sy
        if self.mirrored:
            x0, x1 = self.width - x1, self.width - x0
        return torch.stack([x0, y0, x1, y1], -1)


def training_batch(
    pack: Pack,
    images: list[int],
    canvas: int,
    augmentation: Augmentation,
    draws: NDArray[np.float64],
    device: torch.device,
) -> Batch:
    """A jittered batch. Crowd regions are no targets; boxes cut to nothing are dropped.

    Args:
        pack: where the images are.
        images: their numbers, N.
        canvas: side of the batch's images in pixels.
        augmentation: how they vary.
        draws: [N, 4] in [0, 1), the chance in scale, shift along x and y, and flip.
        device: where the batch is made.
    """
    boxes_out, labels_out, masks_out, places = [], [], [], []
    split = pack.split
    for i, draw in zip(images, draws.tolist(), strict=True):
        place = _random_place(pack, i, canvas, augmentation, draw)
        places.append(place)
        here = split.boxes_of(i)
        wanted = ~split.crowd[here]
        boxes = place.to_canvas(torch.from_numpy(split.boxes[here][wanted])).clamp_(0, canvas)
        labels = torch.from_numpy(split.labels[here][wanted])
        large = (boxes[:, 2:] - boxes[:, :2] >= MIN_BOX_SIDE).all(1)
        boxes_out.append(boxes[large].to(device))
        labels_out.append(labels[large].to(device))
        if split.masks:
            kept = (np.flatnonzero(wanted)[large.numpy()] + here.start).tolist()
            masks_out.append(_masks_on_canvas([split.masks[k] for k in kept], place, canvas, device))
    return Batch(_warped(pack, images, places, canvas, device), boxes_out, labels_out, masks_out)


def _masks_on_canvas(masks: list[RunLengths], place: Letterbox, canvas: int, device: torch.device) -> Tensor:
    """[G, S, S] uint8: objects' pixels on the canvas."""
    from pycocotools import mask as coco_mask

    if not masks:
        return torch.zeros(0, canvas, canvas, dtype=torch.uint8, device=device)
    whole = torch.from_numpy(coco_mask.decode(masks)).to(device).permute(2, 0, 1).float()
    axes = []
    for axis, side in ((0, whole.shape[2]), (1, whole.shape[1])):
        at = (torch.arange(canvas, device=device) + 0.5 - place.shift[axis]) / place.scale[axis]
        if axis == 0 and place.mirrored:
            at = place.width - at
        axes.append(2 * at / side - 1)
    grid = torch.stack([axes[0].expand(canvas, -1), axes[1][:, None].expand(-1, canvas)], -1)
    warped = F.grid_sample(whole[None], grid[None], mode="bilinear", align_corners=False)[0]
    return (warped >= 0.5).to(torch.uint8)


def evaluation_batch(
    pack: Pack, images: list[int], canvas: int, device: torch.device
) -> tuple[Tensor, list[Letterbox]]:
    """Images scaled to fill the canvas, at its top left: [N, 3, S, S], and where they lie."""
    places = [_place(pack, i, canvas, 1.0, (0.0, 0.0), mirrored=False) for i in images]
    return _warped(pack, images, places, canvas, device), places


def _place(
    pack: Pack, i: int, canvas: int, jitter: float, shift: tuple[float, float], mirrored: bool
) -> Letterbox:
    height, width = (float(side) for side in pack.split.sizes[i])
    scale = jitter * canvas / max(height, width)
    return Letterbox((scale, scale), shift, width, mirrored)


def _random_place(
    pack: Pack, i: int, canvas: int, augmentation: Augmentation, draw: list[float]
) -> Letterbox:
    jitter = augmentation.low + (augmentation.high - augmentation.low) * draw[0]
    height, width = pack.split.sizes[i] * (jitter * canvas / pack.split.sizes[i].max())
    # A larger image is cropped at a random place; a smaller one lies at the top left, padded.
    shift = (-draw[1] * max(0.0, width - canvas), -draw[2] * max(0.0, height - canvas))
    mirrored = augmentation.flip and draw[3] < 0.5
    return _place(pack, i, canvas, jitter, shift, mirrored)


def _warped(
    pack: Pack, images: list[int], places: list[Letterbox], canvas: int, device: torch.device
) -> Tensor:
    """[N, 3, S, S]: the images sampled bilinearly through their places, normalised."""
    sizes = pack.sizes[images]
    side_y, side_x = sizes.max(0)
    raw = torch.zeros(len(images), side_y, side_x, 3, dtype=torch.uint8)
    # grid_sample wants, for each output place, the input place in -1..1; the axes are independent.
    steps = np.zeros((2, len(images), 1), dtype=np.float32)
    starts = np.zeros((2, len(images), 1), dtype=np.float32)
    for k, (i, place) in enumerate(zip(images, places, strict=True)):
        height, width = sizes[k]
        raw[k, :height, :width] = torch.from_numpy(np.array(pack.image(i)))
        annotated = pack.split.sizes[i]
        for axis, (packed, full, side) in enumerate(
            ((width, annotated[1], side_x), (height, annotated[0], side_y))
        ):
            per_canvas = packed / full / place.scale[axis]
            start = -place.shift[axis] * per_canvas
            if axis == 0 and place.mirrored:
                per_canvas, start = -per_canvas, packed - start
            steps[axis, k] = 2 * per_canvas / side
            starts[axis, k] = 2 * start / side - 1
    raw = raw.to(device, non_blocking=True)
    inside = _inside(sizes, side_y, side_x, device)
    mean = torch.tensor(MEAN, device=device).mul_(255).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=device).mul_(255).view(1, 3, 1, 1)
    # Normalised before it is sampled, so that zero is what lies outside.
    pixels = raw.permute(0, 3, 1, 2).float().sub_(mean).div_(std).mul_(inside)
    centres = torch.arange(canvas, device=device) + 0.5
    x, y = torch.from_numpy(steps).to(device) * centres + torch.from_numpy(starts).to(device)
    shape = (len(images), canvas, canvas)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
    warped = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return warped.contiguous(memory_format=torch.channels_last)


def _inside(sizes: NDArray[np.int64], side_y: int, side_x: int, device: torch.device) -> Tensor:
    """[N, 1, H, W] one where the raw canvas holds the image."""
    limits = torch.from_numpy(sizes).to(device)
    rows = torch.arange(side_y, device=device)[None, :, None] < limits[:, 0, None, None]
    columns = torch.arange(side_x, device=device)[None, None, :] < limits[:, 1, None, None]
    return (rows & columns)[:, None].float()
