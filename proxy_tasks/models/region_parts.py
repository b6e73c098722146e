"""torchvision's parts of Mask R-CNN, where they differ from what the other detectors do.

Anchors have the strides of their levels, whatever the size of the input. Losses are means over the regions
of all processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads

from proxy_tasks.distributed import all_reduce_sum, rank_and_size
from proxy_tasks.models.detector import Losses


class LevelAnchors(AnchorGenerator):  # type: ignore[misc]
    """Anchors of one scale a level, centered on the places of the features.

    torchvision divides the size of the input by that of the features. As features are rounded up, the
    quotient is too small for inputs that are no multiple of all strides.

    Args:
        levels: the levels of the features.
        base: sides of the anchors in strides.
        ratios: heights over widths.
    """

    def __init__(self, levels: Sequence[int], base: float, ratios: tuple[float, ...]) -> None:
        super().__init__(tuple((base * 2.0**level,) for level in levels), (ratios,) * len(levels))
        self.levels = tuple(levels)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Gives the anchors [A, 4] of each image in pixels of the input, level by level."""
        first = feature_maps[0]
        sizes = [list(feature.shape[-2:]) for feature in feature_maps]
        strides = [
            [torch.full((), 2**level, dtype=torch.int64, device=first.device)] * 2 for level in self.levels
        ]
        self.set_cell_anchors(first.dtype, first.device)
        anchors = torch.cat(self.grid_anchors(sizes, strides))
        return [anchors] * len(image_list.image_sizes)


class CountingHeads(RoIHeads):  # type: ignore[misc]
    """Heads that know from how many regions the last losses are: all of them, and those with an object."""

    regions: int = 0
    positives: Tensor

    def select_training_samples(
        self, proposals: list[Tensor], targets: list[dict[str, Tensor]] | None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Selects the regions that are learned from, as torchvision does, and counts them."""
        found: tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
        found = super().select_training_samples(proposals, targets)
        labels = torch.cat(found[2])
        self.regions, self.positives = len(labels), (labels > 0).sum()
        return found


def mean_over_processes(losses: Losses, regions: int, positives: Tensor) -> Losses:
    """Turns means over the regions of this process into its parts of the means over those of all.

    Args:
        losses: of the heads, by torchvision's names.
        regions: how many regions of this process they are of.
        positives: how many of these have an object; "loss_mask" is of them alone.
    """
    processes = rank_and_size()[1]
    if processes == 1:
        return losses
    own = torch.stack([positives.new_full((), regions), positives]).float()
    factors = own * processes / all_reduce_sum(own).clamp(min=1)
    return {name: loss * factors[int(name == "loss_mask")] for name, loss in losses.items()}
