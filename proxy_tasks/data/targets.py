"""What the images of a batch hold: the objects of all images in tensors of one fixed shape.

Fixed shapes keep the host out of a training step: nothing on the device has to be read to know how large the
next tensor is. Whoever wants the objects of one image takes it by its number, as from a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

Target = dict[str, Tensor]
"""Objects of one image: "boxes" [G, 4] as x0, y0, x1, y1 in input pixels, "labels" [G] from 0, and, where the
data has masks, "masks" [G, S, S] of 0 and 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets(Sequence[Target]):
    """The objects of N images; as a sequence it has one `Target` for each image.

    Args:
        boxes: [N, G, 4] x0, y0, x1, y1 in input pixels. Those of an image come first; the rest is 0.
        labels: [N, G] from 0; -1 where there is no object.
        counts: how many objects each image has.
        masks: for each image [count, S, S] of 0 and 1, if the data has masks; else empty.
    """

    boxes: Tensor
    labels: Tensor
    counts: tuple[int, ...]
    masks: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.counts)

    @overload
    def __getitem__(self, image: int) -> Target: ...

    @overload
    def __getitem__(self, image: slice) -> Sequence[Target]: ...

    def __getitem__(self, image: int | slice) -> Target | Sequence[Target]:
        """Gives the objects of one image, or of several."""
        if isinstance(image, slice):
            return [self[i] for i in range(*image.indices(len(self)))]
        count = self.counts[image]
        target = {"boxes": self.boxes[image, :count], "labels": self.labels[image, :count]}
        return {**target, "masks": self.masks[image]} if self.masks else target


def pad_targets(targets: Sequence[Target]) -> Targets:
    """Brings the objects of each image into tensors of one shape; `Targets` are returned as they are.

    Args:
        targets: of at least one image; "boxes" may be absent where only labels count.
    """
    if isinstance(targets, Targets):
        return targets
    counts = tuple(len(target["labels"]) for target in targets)
    most, first = max(1, *counts), targets[0]["labels"]
    boxes = torch.zeros(len(counts), most, 4, device=first.device)
    labels = first.new_full((len(counts), most), -1)
    for n, (target, count) in enumerate(zip(targets, counts, strict=True)):
        labels[n, :count] = target["labels"]
        if "boxes" in target:
            boxes[n, :count] = target["boxes"]
    masks = tuple(target["masks"] for target in targets if "masks" in target)
    return Targets(boxes=boxes, labels=labels, counts=counts, masks=masks)
