"""RetinaNet as SpineNet uses it: head, losses, and detections, in the order in which data passes.

Towers of 3x3 convolutions are shared over the levels; every level has batch norms of its own. Focal loss
on classes, Huber loss on boxes (paper section 5.1 and the released configurations).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from proxy_tasks.data.targets import Target, pad_targets
from proxy_tasks.distributed import all_reduce_sum, rank_and_size
from proxy_tasks.models.anchors import Anchors, decode, encode, make_anchors
from proxy_tasks.models.constants import Constants
from proxy_tasks.models.detector import Backbone, Candidates, Losses, Prediction
from proxy_tasks.models.focal_loss import focal_loss
from proxy_tasks.models.matching import match
from proxy_tasks.models.postprocess import clip_boxes, select_best, suppress
from proxy_tasks.models.tower import Tower, flatten_maps, level_sizes
from search_space import NormConfig, RetinaNetHead, RetinaNetLossConfig, Scale


class RetinaNet(nn.Module):
    """A backbone with the two-tower head; see `proxy_tasks.models.detector` for arguments and results."""

    def __init__(
        self,
        *,
        backbone: Backbone,
        classes: int,
        head: RetinaNetHead,
        scale: Scale,
        norm: NormConfig,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.classes, self.head = backbone, classes, head
        places = head.anchors.per_place
        self.class_tower = Tower(backbone, places * classes, scale=scale, norm=norm, separable=separable)
        self.box_tower = Tower(backbone, places * 4, scale=scale, norm=norm, separable=separable)
        self.class_tower.predict_prior()
        self._anchors = Constants(partial(make_anchors, head.anchors))

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None) -> Losses | list[Prediction]:
        """Gives the losses "classes" and "boxes" in training, and detections in evaluation.

        Args:
            images: [N, 3, H, W].
            targets: in training, the objects of each of the N images, with boxes in pixels.

        Raises:
            ValueError: if there are no targets in training.
        """
        if not self.training:
            return suppress(self.candidates(images))
        if targets is None:
            raise ValueError("a RetinaNet needs targets in training")
        logits, offsets, anchors = self._predict(images)
        return retinanet_losses(logits, offsets, anchors, targets, self.head.loss)

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Gives class "logits" [N, A, classes], "offsets" [N, A, 4], and "anchors" [A, 4] in pixels."""
        logits, offsets, anchors = self._predict(images)
        return {"logits": logits.float(), "offsets": offsets, "anchors": anchors.boxes}

    def candidates(self, images: Tensor) -> Candidates:
        """Gives the best boxes of images [N, 3, H, W] before suppression, as `best_boxes` does."""
        raw = self.outputs(images)
        height, width = images.shape[-2:]
        return best_boxes(raw["logits"], raw["offsets"], raw["anchors"], (height, width))

    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor, Anchors]:
        """Logits in the precision of the network, offsets in float32, and the anchors."""
        pyramid = self.backbone(images)
        logits = flatten_maps(self.class_tower(pyramid), self.classes)
        offsets = flatten_maps(self.box_tower(pyramid), 4).float()
        return logits, offsets, self._anchors(level_sizes(pyramid), images.device)


def retinanet_losses(
    logits: Tensor,
    offsets: Tensor,
    anchors: Anchors,
    targets: Sequence[Target],
    config: RetinaNetLossConfig,
) -> Losses:
    """Computes class and box loss of a batch, both already weighted, as "classes" and "boxes".

    Over several processes the mean of what they return is the loss of the whole batch.

    Args:
        logits: [N, A, classes].
        offsets: [N, A, 4] float32.
        anchors: A of them.
        targets: "boxes" [G, 4] and "labels" [G] of each image.
        config: numbers of the losses.
    """
    objects = pad_targets(targets)
    matched = match(anchors, objects)
    positive, number = matched >= 0, matched.clamp(min=0)
    labels = torch.where(positive, objects.labels.gather(1, number), -1)
    # One is added so that a batch without objects divides by one. Gradients are averaged over processes,
    # hence the number of processes.
    normalizer = (all_reduce_sum(positive.sum().float()) + 1) / rank_and_size()[1]
    class_loss = focal_loss(logits, labels, config.alpha, config.gamma) / normalizer
    # An anchor without an object stands for its own object, whose offsets are zero, and then counts nothing.
    boxes = objects.boxes.gather(1, number[..., None].expand(-1, -1, 4))
    wanted = encode(torch.where(positive[..., None], boxes, anchors.boxes), anchors.boxes)
    errors = nn.functional.huber_loss(offsets, wanted, reduction="none", delta=config.delta)
    box_loss = (errors.sum(-1) * positive).sum()
    if config.smooth_l1:
        box_loss = box_loss / config.delta
    return {"classes": class_loss, "boxes": config.box_weight * box_loss / (4 * normalizer)}


def best_boxes(logits: Tensor, offsets: Tensor, anchors: Tensor, image_size: tuple[int, int]) -> Candidates:
    """Decodes the boxes with the highest scores and clips them to the image.

    Args:
        logits, offsets, anchors: as `RetinaNet.outputs` gives them.
        image_size: height and width in pixels.

    Returns:
        Boxes [N, K, 4] in pixels, their scores [N, K] from 0 to 1, best first, and their labels [N, K].
    """
    top, places, labels = select_best(logits)
    picked = offsets.gather(1, places[..., None].expand(-1, -1, 4))
    boxes = clip_boxes(decode(picked, anchors[places]), image_size)
    return boxes, top.sigmoid(), labels
