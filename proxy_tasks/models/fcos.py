"""FCOS (Tian et al. 2019): a detector without anchors, in the order in which data passes.

Every place of the pyramid predicts classes, the distances to the four sides of its box, and how central it
is. The towers are RetinaNet's. As in the released code, centerness shares the tower of the boxes, only places
near an object's center learn it, boxes are learned by generalized IoU, and distances are in strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from proxy_tasks.distributed import all_reduce_sum, rank_and_size
from proxy_tasks.models.anchors import MAX_LOG_RATIO
from proxy_tasks.models.detector import Backbone, Candidates, Losses, Prediction, Target
from proxy_tasks.models.postprocess import clip_boxes, select_best, suppress
from proxy_tasks.models.tower import Tower, flatten_maps, level_sizes
from search_space import FCOSHead, NormConfig, Scale


@dataclass(frozen=True, kw_only=True)
class Places:
    """All places of a pyramid: levels ascending, then rows, then columns.

    Args:
        centers: [P, 2] x and y of each in input pixels.
        strides: [P] distance to the next place of the same level, in pixels.
        lowest, highest: [P] range of the largest distance that a place may predict, in pixels.
    """

    centers: Tensor
    strides: Tensor
    lowest: Tensor
    highest: Tensor


class FCOS(nn.Module):
    """A backbone with the head; see `proxy_tasks.models.detector` for arguments and results."""

    def __init__(
        self,
        *,
        backbone: Backbone,
        classes: int,
        head: FCOSHead,
        scale: Scale,
        norm: NormConfig,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.classes, self.head = backbone, classes, head
        self.class_tower = Tower(backbone, classes, scale=scale, norm=norm, separable=separable)
        self.box_tower = Tower(backbone, 5, scale=scale, norm=norm, separable=separable)
        self.level_scales = nn.Parameter(torch.ones(len(backbone.levels)))
        self.class_tower.predict_prior()

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None) -> Losses | list[Prediction]:
        """Gives the losses "classes", "boxes" and "centerness" in training, and detections in evaluation."""
        if not self.training:
            return suppress(self.candidates(images))
        if targets is None:
            raise ValueError("an FCOS needs targets in training")
        raw, places = self._predict(images)
        return fcos_losses(raw["logits"], raw["distances"], raw["centerness"], places, targets, self.head)

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Gives class "logits" [N, P, classes], "distances" [N, P, 4], "centerness" logits and "centers".

        Distances are those to the left, upper, right and lower side in pixels; centerness is [N, P]; centers
        are x and y [P, 2] of the places in pixels.
        """
        return self._predict(images)[0]

    def candidates(self, images: Tensor) -> Candidates:
        """Gives the best boxes before suppression, clipped to the image.

        Their score is the geometric mean of class probability and centerness.
        """
        raw = self.outputs(images)
        scores = (raw["logits"].sigmoid() * raw["centerness"].sigmoid()[..., None]).sqrt()
        top, places, labels = select_best(scores)
        picked = raw["distances"].gather(1, places[..., None].expand(-1, -1, 4))
        height, width = images.shape[-2:]
        return clip_boxes(decode(picked, raw["centers"][places]), (height, width)), top, labels

    def _predict(self, images: Tensor) -> tuple[dict[str, Tensor], Places]:
        pyramid = self.backbone(images)
        places = make_places(self.head, level_sizes(pyramid), images.device)
        maps = self.box_tower(pyramid)
        counts = [x.shape[-2] * x.shape[-1] for x in maps]
        scales = torch.cat([s.expand(n) for s, n in zip(self.level_scales, counts, strict=True)])
        boxes = flatten_maps(maps, 5)
        # The limit keeps an untrained network from overflowing.
        logs = (boxes[..., :4] * scales[:, None]).clamp(max=MAX_LOG_RATIO)
        raw = {
            "logits": flatten_maps(self.class_tower(pyramid), self.classes),
            "distances": logs.exp() * places.strides[:, None],
            "centerness": boxes[..., 4],
            "centers": places.centers,
        }
        return raw, places


def make_places(head: FCOSHead, sizes: dict[int, tuple[int, int]], device: torch.device) -> Places:
    """Makes the places of a pyramid.

    Args:
        head: says which distances each level is for.
        sizes: height and width of each level's feature.
        device: where to make them.
    """
    levels = sorted(sizes)
    centers: list[Tensor] = []
    strides: list[Tensor] = []
    lowest: list[Tensor] = []
    highest: list[Tensor] = []
    for level in levels:
        height, width = sizes[level]
        stride = 2.0**level
        y = (torch.arange(height, device=device) + 0.5) * stride
        x = (torch.arange(width, device=device) + 0.5) * stride
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        centers.append(torch.stack([columns, rows], -1).reshape(-1, 2))
        count = height * width
        low = 0.0 if level == levels[0] else head.reach * stride / 2
        high = float("inf") if level == levels[-1] else head.reach * stride
        for values, value in ((strides, stride), (lowest, low), (highest, high)):
            values.append(torch.full((count,), value, device=device))
    return Places(
        centers=torch.cat(centers),
        strides=torch.cat(strides),
        lowest=torch.cat(lowest),
        highest=torch.cat(highest),
    )


def assign(places: Places, boxes: Tensor, radius: float) -> Tensor:
    """Says which box each place learns: [P] the number of the box, or -1.

    A place learns a box if it lies in it, at most `radius` strides from its center along either axis, and if
    the largest of its distances to the sides is in the level's range. Of several boxes it learns the
    smallest.

    Args:
        places: of the pyramid.
        boxes: [G, 4] in pixels.
        radius: in strides.
    """
    if len(boxes) == 0:
        return torch.full((len(places.centers),), -1, dtype=torch.int64, device=boxes.device)
    sides = encode(boxes[None], places.centers[:, None])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    offsets = (places.centers[:, None] - middles).abs().amax(-1)
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


def fcos_losses(
    logits: Tensor,
    distances: Tensor,
    centerness: Tensor,
    places: Places,
    targets: Sequence[Target],
    head: FCOSHead,
) -> Losses:
    """Computes focal loss on classes, generalized IoU loss on boxes, and cross-entropy on centerness.

    Over several processes the mean of what they return is the loss of the whole batch.

    Args:
        logits: [N, P, classes].
        distances: [N, P, 4] in pixels.
        centerness: [N, P] logits.
        places: of the pyramid.
        targets: "boxes" [G, 4] and "labels" [G] of each image.
        head: numbers of the losses.
    """
    class_targets = torch.zeros_like(logits)
    images, at, wanted = [], [], []
    for n, target in enumerate(targets):
        matched = assign(places, target["boxes"], head.radius)
        positive = (matched >= 0).nonzero()[:, 0]
        class_targets[n, positive, target["labels"][matched[positive]]] = 1
        images.append(torch.full_like(positive, n))
        at.append(positive)
        wanted.append(target["boxes"][matched[positive]])
    image, place, boxes = torch.cat(images), torch.cat(at), torch.cat(wanted)
    centers = places.centers[place]
    central = centerness_of(encode(boxes, centers))
    # Gradients are averaged over processes, hence the number of processes.
    sums = torch.stack([torch.tensor(float(len(place)), device=logits.device), central.sum()])
    count, weight = all_reduce_sum(sums).clamp(min=1) / rank_and_size()[1]
    class_loss = sigmoid_focal_loss(logits, class_targets, head.alpha, head.gamma, reduction="sum") / count
    overlap = generalized_box_iou_loss(decode(distances[image, place], centers), boxes, reduction="none")
    center_loss = F.binary_cross_entropy_with_logits(centerness[image, place], central, reduction="sum")
    return {
        "classes": class_loss,
        "boxes": head.box_weight * (overlap * central).sum() / weight,
        "centerness": center_loss / count,
    }


def centerness_of(distances: Tensor) -> Tensor:
    """Says how central places with these distances [..., 4] are: 1 in the middle of a box, 0 at its sides."""
    near = torch.minimum(distances[..., :2], distances[..., 2:])
    far = torch.maximum(distances[..., :2], distances[..., 2:])
    return (near / far).prod(-1).sqrt()


def encode(boxes: Tensor, centers: Tensor) -> Tensor:
    """Gives the distances [..., 4] of places to the left, upper, right and lower side of boxes [..., 4]."""
    return torch.cat([centers - boxes[..., :2], boxes[..., 2:] - centers], -1)


def decode(distances: Tensor, centers: Tensor) -> Tensor:
    """Gives boxes [..., 4] from distances; the inverse of `encode`."""
    return torch.cat([centers - distances[..., :2], centers + distances[..., 2:]], -1)
