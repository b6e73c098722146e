"""FCOS (Tian et al. 2019): a detector without anchors, in the order in which data passes.

Every place of the pyramid predicts classes, the distances to the four sides of its box, and how central it
is. The towers are RetinaNet's. As in the released code, centerness shares the tower of the boxes, only places
near an object's center learn it, boxes are learned by generalized IoU, and distances are in strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from proxy_tasks.data.targets import Target, Targets, pad_targets
from proxy_tasks.distributed import all_reduce_sum, rank_and_size
from proxy_tasks.models.anchors import MAX_LOG_RATIO
from proxy_tasks.models.constants import Constants
from proxy_tasks.models.detector import Backbone, Candidates, Losses, Prediction
from proxy_tasks.models.focal_loss import focal_loss
from proxy_tasks.models.matching import OBJECTS
from proxy_tasks.models.postprocess import clip_boxes, select_best, suppress
from proxy_tasks.models.tower import Tower, flatten_maps, level_sizes
from search_space import FCOSHead, NormConfig, Scale

TINY = 1e-7
"""Keeps areas of nothing from dividing by zero, in square pixels."""


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
        self._places = Constants(partial(make_places, head))

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
        raw, _ = self._predict(images)
        return {**raw, "logits": raw["logits"].float()}

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
        places = self._places(level_sizes(pyramid), images.device)
        maps = self.box_tower(pyramid)
        counts = [x.shape[-2] * x.shape[-1] for x in maps]
        scales = torch.cat([s.expand(n) for s, n in zip(self.level_scales, counts, strict=True)])
        boxes = flatten_maps(maps, 5).float()
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


@torch.no_grad()
def assign(places: Places, targets: Targets, radius: float) -> Tensor:
    """Says which object each place learns: [N, P] the number of the object, or -1.

    A place learns an object if it lies in its box, at most `radius` strides from its center along either
    axis, and if the largest of its distances to the sides is in the level's range. Of several objects it
    learns the smallest. No shape depends on the objects of a batch.

    Args:
        places: of the pyramid.
        targets: the objects of N images.
        radius: in strides.
    """
    shape = (len(targets), len(places.centers))
    smallest = places.centers.new_full(shape, float("inf"))
    matched = torch.full(shape, -1, dtype=torch.int64, device=smallest.device)
    for start in range(0, max(targets.counts), OBJECTS):
        boxes = targets.boxes[:, start : start + OBJECTS]
        areas = _areas_if_possible(places, boxes, radius)
        least, which = areas.min(1)
        better = least < smallest  # Of equal ones the first counts, within a round and over rounds.
        matched = torch.where(better, which + start, matched)
        smallest = torch.minimum(smallest, least)
    return matched


def _areas_if_possible(places: Places, boxes: Tensor, radius: float) -> Tensor:
    """[N, G, P] the areas of boxes [N, G, 4] for places that may learn them, infinite for all others."""
    (x, y), low, high = places.centers.unbind(1), boxes[..., :2, None], boxes[..., 2:, None]
    left, top, right, bottom = x - low[:, :, 0], y - low[:, :, 1], high[:, :, 0] - x, high[:, :, 1] - y
    inner = torch.minimum(torch.minimum(left, right), torch.minimum(top, bottom))
    largest = torch.maximum(torch.maximum(left, right), torch.maximum(top, bottom))
    middle = (low + high) / 2
    offset = torch.maximum((x - middle[:, :, 0]).abs_(), (y - middle[:, :, 1]).abs_())
    possible = (
        (inner > 0)
        & (offset <= radius * places.strides)
        & (largest >= places.lowest)
        & (largest <= places.highest)
    )
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    return torch.where(possible, areas[..., None], float("inf"))


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
        distances: [N, P, 4] in pixels, float32.
        centerness: [N, P] logits, float32.
        places: of the pyramid.
        targets: "boxes" [G, 4] and "labels" [G] of each image.
        head: numbers of the losses.
    """
    objects = pad_targets(targets)
    matched = assign(places, objects, head.radius)
    positive, number = matched >= 0, matched.clamp(min=0)
    labels = torch.where(positive, objects.labels.gather(1, number), -1)
    # A place without an object stands in the middle of a box of its own, and then counts nothing.
    boxes = objects.boxes.gather(1, number[..., None].expand(-1, -1, 4))
    strides = places.strides[:, None]
    own = torch.cat([places.centers - strides, places.centers + strides], -1)
    boxes = torch.where(positive[..., None], boxes, own)
    central = centerness_of(encode(boxes, places.centers)) * positive
    # Gradients are averaged over processes, hence the number of processes.
    sums = torch.stack([positive.sum().float(), central.sum()])
    count, weight = all_reduce_sum(sums).clamp(min=1) / rank_and_size()[1]
    class_loss = focal_loss(logits, labels, head.alpha, head.gamma) / count
    misfit = 1 - generalized_iou(decode(distances, places.centers), boxes)
    center_loss = F.binary_cross_entropy_with_logits(centerness, central, reduction="none")
    return {
        "classes": class_loss,
        "boxes": head.box_weight * (misfit * central).sum() / weight,
        "centerness": (center_loss * positive).sum() / count,
    }


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Computes the generalized intersection over union of pairs of boxes [..., 4]: [...] in -1..1.

    (Rezatofighi et al. 2019.) torchvision's reads from the device which pairs overlap.
    """
    inner = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    outer = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    common, hull = inner.clamp(min=0).prod(-1), outer.prod(-1)
    areas = (first[..., 2:] - first[..., :2]).prod(-1) + (second[..., 2:] - second[..., :2]).prod(-1)
    union = areas - common
    return common / (union + TINY) - (hull - union) / (hull + TINY)


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
