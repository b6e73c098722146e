"""Where images lie in the network's input: one affine map for each image does all the geometry of a batch.

Scale jitter, crop and flip are parts of the map. Boxes go through the same map as pixels, and
`Letterboxes.to_image` takes detections back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.data.augmentation import Augmentation


@dataclass(frozen=True, kw_only=True, eq=False)
class Letterboxes:
    """The maps of N images: input = image * scale + shift, after mirroring the image.

    Args:
        scale: [N] input pixels per pixel of the annotated image.
        shift: [N, 2] position of the image's origin in the input, x and y.
        width: [N] of the annotated image; mirrored images are turned about it.
        mirrored: [N] whether the image is flipped.
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    width: NDArray[np.float64]
    mirrored: NDArray[np.bool_]

    def to_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Maps boxes [N, G, 4] of the annotated images to pixels of the input."""
        turned = _mirror(boxes.astype(np.float64), self.width[:, None], self.mirrored[:, None])
        return turned * self.scale[:, None, None] + np.tile(self.shift, 2)[:, None]

    def to_image(self, image: int, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Maps boxes [D, 4] of the input to pixels of the annotated image of that number in the batch."""
        found = (boxes.astype(np.float64) - np.tile(self.shift[image], 2)) / self.scale[image]
        return _mirror(found, self.width[image], self.mirrored[image])


def fill_input(sizes: NDArray[np.int64], image_size: int) -> Letterboxes:
    """Scales images so that they fill the input from its top left.

    Args:
        sizes: [N, 2] height and width as annotated.
        image_size: side of the input in pixels.
    """
    n = len(sizes)
    return Letterboxes(
        scale=image_size / sizes.max(1),
        shift=np.zeros((n, 2)),
        width=sizes[:, 1].astype(np.float64),
        mirrored=np.zeros(n, np.bool_),
    )


def vary(
    sizes: NDArray[np.int64], image_size: int, augmentation: Augmentation, noise: NDArray[np.float64]
) -> Letterboxes:
    """Scales, shifts and mirrors images at random.

    A larger image is cropped at a random place; a smaller one lies at the top left.

    Args:
        sizes: [N, 2] height and width as annotated.
        image_size: side of the input in pixels.
        augmentation: how images vary.
        noise: [N, 4] random numbers in [0, 1) for scale, shift along x and y, and flip.
    """
    jitter = augmentation.low + (augmentation.high - augmentation.low) * noise[:, 0]
    scale = jitter * image_size / sizes.max(1)
    over = np.maximum(0.0, sizes[:, ::-1] * scale[:, None] - image_size)
    return Letterboxes(
        scale=scale,
        shift=-noise[:, 1:3] * over,
        width=sizes[:, 1].astype(np.float64),
        mirrored=augmentation.flip & (noise[:, 3] < 0.5),
    )


def _mirror(
    boxes: NDArray[np.float64], width: NDArray[np.float64], mirrored: NDArray[np.bool_]
) -> NDArray[np.float64]:
    left, right = boxes[..., 0], boxes[..., 2]
    turned = boxes.copy()
    turned[..., 0] = np.where(mirrored, width - right, left)
    turned[..., 2] = np.where(mirrored, width - left, right)
    return turned
