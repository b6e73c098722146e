"""RetinaNet as SpineNet uses it: head, losses, and detections, in the order in which data passes.

Towers of 3x3 convolutions are shared over the levels; every level has batch norms of its own. Focal loss
on classes, Huber loss on boxes (paper section 5.1 and the released configurations).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from proxy_tasks.distributed import all_reduce_sum, rank_and_size
from proxy_tasks.models.anchors import anchor_boxes, decode, encode, match
from proxy_tasks.models.detector import Backbone, Candidates, Losses, Prediction, Target
from proxy_tasks.models.postprocess import clip_boxes, select_best, suppress
from proxy_tasks.models.tower import Tower, flatten_maps, level_sizes
from search_space import NormConfig, RetinaNetHead, RetinaNetLossConfig, Scale

PORTS = RetinaNetLossConfig(gamma=2.0, delta=0.11, box_weight=1.0, smooth_l1=True)
"""Losses of the PyTorch ports of SpineNet."""


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

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None) -> Losses | list[Prediction]:
        """Gives the losses "classes" and "boxes" in training, and detections in evaluation."""
        if not self.training:
            return suppress(self.candidates(images))
        if targets is None:
            raise ValueError("a RetinaNet needs targets in training")
        raw = self.outputs(images)
        return retinanet_losses(raw["logits"], raw["offsets"], raw["anchors"], targets, self.head.loss)

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Gives class "logits" [N, A, classes], "offsets" [N, A, 4], and "anchors" [A, 4] in pixels."""
        pyramid = self.backbone(images)
        return {
            "logits": flatten_maps(self.class_tower(pyramid), self.classes),
            "offsets": flatten_maps(self.box_tower(pyramid), 4),
            "anchors": anchor_boxes(self.head.anchors, level_sizes(pyramid), images.device),
        }

    def candidates(self, images: Tensor) -> Candidates:
        """Gives the best boxes before suppression, clipped to the image."""
        raw = self.outputs(images)
        height, width = images.shape[-2:]
        return best_boxes(raw["logits"], raw["offsets"], raw["anchors"], (height, width))


def retinanet_losses(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    targets: Sequence[Target],
    config: RetinaNetLossConfig,
) -> Losses:
    """Computes class and box loss of a batch, both already weighted, as "classes" and "boxes".

    Over several processes the mean of what they return is the loss of the whole batch.

    Args:
        logits: [N, A, classes].
        offsets: [N, A, 4].
        anchors: [A, 4].
        targets: "boxes" [G, 4] and "labels" [G] of each image.
        config: numbers of the losses.
    """
    class_targets = torch.zeros_like(logits)
    positives, wanted = [], []
    for n, target in enumerate(targets):
        matched = match(anchors, target["boxes"])
        at = (matched >= 0).nonzero()[:, 0]
        class_targets[n, at, target["labels"][matched[at]]] = 1
        positives.append(torch.stack([torch.full_like(at, n), at], 1))
        wanted.append(encode(target["boxes"][matched[at]], anchors[at]))
    positive = torch.cat(positives)
    # One is added so that a batch without objects divides by one. Gradients are averaged over processes,
    # hence the number of processes.
    total = all_reduce_sum(torch.tensor(float(len(positive)), device=logits.device))
    normalizer = (total + 1) / rank_and_size()[1]
    class_loss = (
        sigmoid_focal_loss(logits, class_targets, config.alpha, config.gamma, reduction="sum") / normalizer
    )
    box_loss = nn.functional.huber_loss(
        offsets[positive[:, 0], positive[:, 1]], torch.cat(wanted), reduction="sum", delta=config.delta
    )
    if config.smooth_l1:
        box_loss = box_loss / config.delta
    return {"classes": class_loss, "boxes": config.box_weight * box_loss / (4 * normalizer)}


def best_boxes(logits: Tensor, offsets: Tensor, anchors: Tensor, image_size: tuple[int, int]) -> Candidates:
    """Decodes the boxes with the highest scores and clips them to the image.

    Args:
        logits, offsets, anchors: as `RetinaNet.outputs` gives them.
        image_size: height and width in pixels.
    """
    top, places, labels = select_best(logits)
    picked = offsets.gather(1, places[..., None].expand(-1, -1, 4))
    boxes = clip_boxes(decode(picked, anchors[places]), image_size)
    return boxes, top.sigmoid(), labels
