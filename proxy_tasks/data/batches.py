"""Batches: images and objects of a pixel cache, as tensors on the device.

The host copies pixels and computes boxes and places for the whole batch at once; the device normalizes and
samples the pixels. What the host has made goes to the device in one copy, whose size is that of every other
batch. A cache that is small beside the memory of a GPU stays there, and only numbers are copied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.dataset import DetectionDataset, RunLengths
from proxy_tasks.data.letterbox import Letterboxes, fill_input, vary
from proxy_tasks.data.pixel_cache import PixelCache
from proxy_tasks.data.targets import Targets
from proxy_tasks.gpu_share import gpu_share

MEAN = (0.485, 0.456, 0.406)


STD = (0.229, 0.224, 0.225)
"""ImageNet's channel statistics, for pixels in 0..1."""


MASK_PIXELS = 2**25
"""Pixels of masks that are decoded at a time: all those of a large image would fill the memory."""


MIN_BOX_SIDE = 1.0
"""Pixels; boxes that jitter leaves with less are dropped."""


RESIDENT_SHARE = 0.25
"""A cache of at most this share of a GPU's free memory is kept there."""


PLACE = 7
"""Numbers in the row of an image before its boxes: its own number, height and width in the cache, and step
and start of the sampling along x and y."""


Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Images with their objects.

    Args:
        images: [N, 3, S, S] float32, normalized, zero where there is no image.
        targets: the objects in pixels of the input.
    """

    images: Tensor
    targets: Targets


@dataclass(frozen=True, kw_only=True, eq=False)
class HostBatch:
    """A batch as the host has made it.

    Args:
        content: all bytes; first the rows of numbers, then the pixels, unless the device has them.
        counts: how many objects each image has.
        letterboxes: where the images lie in the input.
        objects: for each image the numbers of its objects in the split, if masks are needed; else empty.
    """

    content: Tensor
    counts: tuple[int, ...]
    letterboxes: Letterboxes
    objects: tuple[Numbers, ...] = ()


class Batches:
    """Makes the batches of a cache for one size of the input, on one device.

    Args:
        cache: the images.
        image_size: S, the side of the network's input in pixels.
        device: where batches are made.
        resident: whether the device keeps all pixels; None for "if they fit well".
    """

    def __init__(
        self, cache: PixelCache, image_size: int, device: torch.device, *, resident: bool | None = None
    ) -> None:
        self.cache, self.image_size, self.device = cache, image_size, device
        # No shape depends on which images and objects a batch has.
        self.sides: tuple[int, int] = tuple(cache.sizes.max(0).tolist()) if len(cache) else (1, 1)
        self.objects, self.first = _objects_of_images(cache.split)
        self.most = max(1, int(np.diff(self.first).max(initial=0)))
        self.mean = torch.tensor(MEAN, device=device).mul_(255).view(1, 3, 1, 1)
        self.std = torch.tensor(STD, device=device).mul_(255).view(1, 3, 1, 1)
        self.rows, self.columns = (torch.arange(side, device=device) for side in self.sides)
        self.centers = torch.arange(image_size, device=device) + 0.5
        fits = _fits_on_gpu(len(cache) * self._image_bytes, device) if resident is None else resident
        self.pixels = self._load_pixels() if fits else None

    def training(self, images: Numbers, augmentation: Augmentation, noise: NDArray[np.float64]) -> Batch:
        """Makes a batch of varied images. Crowd regions are no targets; boxes cut to nothing are dropped.

        Args:
            images: [N] their numbers.
            augmentation: how they vary.
            noise: [N, 4] random numbers in [0, 1), see `proxy_tasks.data.letterbox.vary`.
        """
        return self.to_device(self.prepare(images, augmentation, noise))

    def evaluation(self, images: Numbers) -> tuple[Tensor, Letterboxes]:
        """Makes images that fill the input from its top left: [N, 3, S, S], and where they lie."""
        letterboxes = fill_input(self.cache.split.sizes[images], self.image_size)
        host = self._pack(images, letterboxes, np.zeros((len(images), 0), np.float32))
        numbers, raw = self._unpack(host.content, len(images), 0)
        return self._sample(raw, numbers), letterboxes

    def prepare(self, images: Numbers, augmentation: Augmentation, noise: NDArray[np.float64]) -> HostBatch:
        """Does the host's part of `training`; it may run in a thread of its own."""
        split = self.cache.split
        letterboxes = vary(split.sizes[images], self.image_size, augmentation, noise)
        # Objects of all images at once: their numbers [N, G], and which of these exist.
        places = self.first[images][:, None] + np.arange(self.most)
        exists = places < self.first[images + 1][:, None]
        if len(self.objects):
            objects = self.objects[np.minimum(places, len(self.objects) - 1)]
            boxes = letterboxes.to_input(split.boxes[objects]).clip(0, self.image_size)
            labels = split.labels[objects]
        else:
            objects = np.zeros_like(places)
            boxes, labels = np.zeros((*places.shape, 4)), objects
        kept = exists & (boxes[..., 2:] - boxes[..., :2] >= MIN_BOX_SIDE).all(-1)
        order = np.argsort(~kept, axis=1, kind="stable")  # Those that are kept come first, in their order.
        kept = np.take_along_axis(kept, order, 1)
        table = np.empty((len(images), self.most, 5), np.float32)
        table[..., :4] = np.where(kept[..., None], np.take_along_axis(boxes, order[..., None], 1), 0)
        table[..., 4] = np.where(kept, np.take_along_axis(labels, order, 1), -1)
        counts = kept.sum(1)
        host = self._pack(images, letterboxes, table.reshape(len(images), -1))
        host = replace(host, counts=tuple(counts.tolist()))
        if not split.masks:
            return host
        numbers = np.take_along_axis(objects, order, 1)
        return replace(
            host, objects=tuple(row[:count] for row, count in zip(numbers, counts.tolist(), strict=True))
        )

    def to_device(self, host: HostBatch) -> Batch:
        """Does the device's part of `training`."""
        n = len(host.counts)
        numbers, raw = self._unpack(host.content, n, self.most)
        table = numbers[:, PLACE:].view(n, self.most, 5)
        masks = self.cache.split.masks
        targets = Targets(
            boxes=table[..., :4],
            labels=table[..., 4].long(),
            counts=host.counts,
            masks=tuple(
                _warp_masks([masks[k] for k in objects], host.letterboxes, i, self.image_size, self.device)
                for i, objects in enumerate(host.objects)
            ),
        )
        return Batch(images=self._sample(raw, numbers), targets=targets)

    @property
    def _image_bytes(self) -> int:
        return self.sides[0] * self.sides[1] * 3

    def _load_pixels(self) -> Tensor:
        """[images, H, W, 3] uint8 on the device; what lies outside of an image is never looked at."""
        pixels = torch.zeros(len(self.cache), *self.sides, 3, dtype=torch.uint8, device=self.device)
        for i, (height, width) in enumerate(self.cache.sizes.tolist()):
            pixels[i, :height, :width] = torch.from_numpy(self.cache.image(i).copy()).to(self.device)
        return pixels

    def _pack(self, images: Numbers, letterboxes: Letterboxes, more: NDArray[np.float32]) -> HostBatch:
        """Writes the row of each image, `more` at its end, and the pixels into one buffer."""
        n, row = len(images), PLACE + more.shape[1]
        pixels = 0 if self.pixels is not None else n * self._image_bytes
        content = torch.empty(4 * n * row + pixels, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        numbers = content[: 4 * n * row].view(torch.float32).numpy().reshape(n, row)
        numbers[:, 0] = images
        numbers[:, 1:3] = self.cache.sizes[images]
        numbers[:, 3:PLACE] = self._sampling(images, letterboxes)
        numbers[:, PLACE:] = more
        if pixels:
            raw = content[4 * n * row :].numpy().reshape(n, *self.sides, 3)
            for k, i in enumerate(images.tolist()):
                height, width = self.cache.sizes[i].tolist()
                raw[k, :height, :width] = self.cache.image(i)
        return HostBatch(content=content, counts=(0,) * n, letterboxes=letterboxes)

    def _sampling(self, images: Numbers, letterboxes: Letterboxes) -> NDArray[np.float64]:
        """[N, 4]: where to sample, as `grid_sample` has it in -1..1: step and start along x, then along y."""
        cached = self.cache.sizes[images][:, ::-1].astype(np.float64)
        annotated = self.cache.split.sizes[images][:, ::-1]
        sides = np.array(self.sides[::-1], np.float64)
        per_pixel = cached / annotated / letterboxes.scale[:, None]
        start = -letterboxes.shift * per_pixel
        mirrored = letterboxes.mirrored[:, None] & np.array([True, False])
        start = np.where(mirrored, cached - start, start)
        per_pixel = np.where(mirrored, -per_pixel, per_pixel)
        found = np.stack([2 * per_pixel / sides, 2 * start / sides - 1], -1)
        return found.reshape(len(images), 4)

    def _unpack(self, content: Tensor, n: int, most: int) -> tuple[Tensor, Tensor]:
        """The rows [N, ...] float32 and the pixels [N, H, W, 3] uint8, on the device."""
        end = 4 * n * (PLACE + 5 * most)
        there = content.to(self.device, non_blocking=True)
        numbers = there[:end].view(torch.float32).view(n, -1)
        if self.pixels is not None:
            return numbers, self.pixels[numbers[:, 0].long()]
        return numbers, there[end:].view(n, *self.sides, 3)

    def _sample(self, raw: Tensor, numbers: Tensor) -> Tensor:
        """[N, 3, S, S]: the images sampled bilinearly through their maps, normalized."""
        n, size = len(raw), self.image_size
        height, width = numbers[:, 1, None, None], numbers[:, 2, None, None]
        inside = (self.rows[None, :, None] < height) & (self.columns[None, None, :] < width)
        # Normalized before it is sampled, so that zero is what lies outside.
        pixels = raw.permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std).mul_(inside[:, None])
        x = numbers[:, 3, None] * self.centers + numbers[:, 4, None]
        y = numbers[:, 5, None] * self.centers + numbers[:, 6, None]
        shape = (n, size, size)
        grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
        warped = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return warped.contiguous(memory_format=torch.channels_last)


def _objects_of_images(split: DetectionDataset) -> tuple[Numbers, Numbers]:
    """The numbers of all objects that are no crowd regions, and where those of each image begin among them.

    The second has one more entry than there are images.
    """
    objects = np.flatnonzero(~split.crowd)
    return objects, np.searchsorted(split.image_index[objects], np.arange(len(split) + 1))


def _fits_on_gpu(size: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, total = torch.cuda.mem_get_info(device)
    # Workers that share a GPU are limited to a part of its memory.
    own = gpu_share() * total - torch.cuda.memory_reserved(device)
    return size <= RESIDENT_SHARE * min(free, own)


def _warp_masks(
    masks: list[RunLengths], letterboxes: Letterboxes, image: int, image_size: int, device: torch.device
) -> Tensor:
    """[G, S, S] uint8: the pixels of an image's objects in the input."""
    from pycocotools import mask as coco_mask

    if not masks:
        return torch.zeros(0, image_size, image_size, dtype=torch.uint8, device=device)
    height, width = masks[0]["size"]
    scale, (left, top) = float(letterboxes.scale[image]), letterboxes.shift[image].tolist()
    centers = torch.arange(image_size, device=device) + 0.5
    x, y = (centers - left) / scale, (centers - top) / scale
    if letterboxes.mirrored[image]:
        x = float(letterboxes.width[image]) - x
    x, y = 2 * x / width - 1, 2 * y / height - 1
    grid = torch.stack([x.expand(image_size, -1), y[:, None].expand(-1, image_size)], -1)
    warped = []
    step = max(1, MASK_PIXELS // (height * width))
    for start in range(0, len(masks), step):
        pixels = torch.from_numpy(coco_mask.decode(masks[start : start + step])).to(device)
        whole = pixels.permute(2, 0, 1).float()
        found = F.grid_sample(whole[None], grid[None], mode="bilinear", align_corners=False)[0]
        warped.append((found >= 0.5).to(torch.uint8))
    return torch.cat(warped)
