"""Mask R-CNN with outputs of fixed sizes, as exports need them.

torchvision's own evaluation keeps as many regions and boxes as there are, and cuts each region out of one
level. Here their numbers never vary: places where there is none have a score of 0 or less. Every region is
cut out of all levels, of which the right one is picked. What is found is the same.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, nms, roi_align

from proxy_tasks.models.mask_rcnn import MaskRCNN
from proxy_tasks.models.postprocess import GROUPS_A_ROW, clip_boxes

CANDIDATES = 2000
"""Most boxes of an image, of all regions and classes, that enter the last suppression."""

LEAST_REGION, LEAST_BOX = 1e-3, 1e-2
"""Sides in pixels below which torchvision drops regions and boxes."""

NONE = -1.0
"""Score of a place where there is nothing."""


class FixedMaskRCNN(nn.Module):
    """A trained Mask R-CNN for images of one size, in evaluation mode.

    Args:
        net: is copied.
        size: side of the square input in pixels.
    """

    names: ClassVar[tuple[str, ...]] = ("boxes", "scores", "labels", "masks")
    anchors: Tensor

    def __init__(self, net: MaskRCNN, size: int) -> None:
        super().__init__()
        self.net, self.size = copy.deepcopy(net).cpu().eval(), size
        self.pools: list[MultiScaleRoIAlign] = [self.net.heads.box_roi_pool, self.net.heads.mask_roi_pool]
        for pool in self.pools:
            pool.scales = pool.map_levels = None  # torchvision keeps those of the first size that it sees.
        images = torch.zeros(1, 3, size, size)
        with torch.no_grad():
            self.net(images)
            features = list(self.net.backbone(images).values())
            anchors = self.net.proposals.anchor_generator(ImageList(images, [(size, size)]), features)
        self.register_buffer("anchors", anchors[0])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps [N, 3, S, S] to the D best objects of each image, best first.

        Returns:
            boxes [N, D, 4] in pixels of the input, scores [N, D], labels [N, D] from 0, and masks
            [N, D, 28, 28], the probability of every place of the box. Where there are fewer objects, the last
            scores are 0.
        """
        features = [feature.float() for feature in self.net.backbone(images).values()]
        regions, certain = self._regions(features)
        boxes, scores, labels = self._objects(features, regions, certain)
        return boxes, scores, labels, self._masks(features, boxes, labels)

    def _regions(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The best regions [N, R, 4], and their scores [N, R]; below 0 where there is none."""
        proposals = self.net.proposals
        objectness, offsets = proposals.head(features)
        boxes, scores, levels = [], [], []
        first = 0
        for level, (some, shifts) in enumerate(zip(objectness, offsets, strict=True)):
            per_place = some.shape[1]
            logits = some.permute(0, 2, 3, 1).flatten(1)
            codes = shifts.unflatten(1, (per_place, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)
            anchors = self.anchors[first : first + logits.shape[1]]
            first += logits.shape[1]
            top, at = logits.topk(min(proposals.pre_nms_top_n(), logits.shape[1]), 1)
            picked = _pick(codes, at).flatten(0, 1)
            found = proposals.box_coder.decode_single(picked, anchors[at.flatten()])
            boxes.append(clip_boxes(found.unflatten(0, at.shape), (self.size, self.size)))
            scores.append(top.sigmoid())
            levels.append(torch.full_like(at, level))
        every, certain = torch.cat(boxes, 1), torch.cat(scores, 1)
        certain = torch.where(_at_least(every, LEAST_REGION), certain, NONE)
        at, best = suppress_fixed(
            every,
            certain,
            torch.cat(levels, 1),
            overlap=proposals.nms_thresh,
            count=proposals.post_nms_top_n(),
            apart=self.size + 1.0,
        )
        return _pick(every, at), best

    def _objects(
        self, features: list[Tensor], regions: Tensor, certain: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and labels; see `forward`."""
        heads = self.net.heads
        count = regions.shape[1]
        logits, codes = heads.box_predictor(heads.box_head(self._cut(features, regions, self.pools[0])))
        classes = logits.shape[1] - 1
        found = heads.box_coder.decode_single(codes, regions.flatten(0, 1))
        boxes = clip_boxes(found.reshape(-1, classes + 1, 4)[:, 1:], (self.size, self.size))
        scores = logits.softmax(1)[:, 1:]
        sure = (
            (scores > heads.score_thresh) & _at_least(boxes, LEAST_BOX) & (certain.flatten() > NONE)[:, None]
        )
        scores = torch.where(sure, scores, NONE).reshape(-1, count * classes)
        top, at = scores.topk(min(CANDIDATES, count * classes), 1)
        boxes, labels = _pick(boxes.reshape(-1, count * classes, 4), at), at % classes
        at, best = suppress_fixed(
            boxes,
            top,
            labels,
            overlap=heads.nms_thresh,
            count=heads.detections_per_img,
            apart=self.size + 1.0,
        )
        return _pick(boxes, at), best.clamp(min=0), labels.gather(1, at)

    def _masks(self, features: list[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """[N, D, 28, 28]: the probability of every place of the boxes, for the class of each."""
        heads = self.net.heads
        logits: Tensor = heads.mask_predictor(heads.mask_head(self._cut(features, boxes, self.pools[1])))
        # torchvision counts classes from 1, as its 0 is the background.
        of_class = (labels.flatten() + 1)[:, None, None, None].expand(-1, 1, *logits.shape[2:])
        return logits.gather(1, of_class).sigmoid().reshape(*labels.shape, *logits.shape[2:])

    def _cut(self, features: list[Tensor], boxes: Tensor, pool: MultiScaleRoIAlign) -> Tensor:
        """[N * R, C, side, side]: the regions [N, R, 4] as the pool cuts them out of the pyramid."""
        flat = boxes.flatten(0, 1)
        image = torch.arange(boxes.shape[0])[:, None].expand(-1, boxes.shape[1]).flatten()
        regions = torch.cat([image[:, None].to(flat.dtype), flat], 1)
        levels = pool.map_levels([flat])[:, None, None, None]
        scales: Sequence[float] = pool.scales
        cut: Tensor | None = None
        for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
            here: Tensor = roi_align(feature, regions, pool.output_size, scale, pool.sampling_ratio)
            cut = here if cut is None else torch.where(levels == level, here, cut)
        assert cut is not None
        return cut


def suppress_fixed(
    boxes: Tensor, scores: Tensor, groups: Tensor, *, overlap: float, count: int, apart: float
) -> tuple[Tensor, Tensor]:
    """Selects the best boxes of each image that no better one of their group overlaps.

    Args:
        boxes: [N, K, 4] in pixels of the input.
        scores: [N, K]; below 0 where there is no box.
        groups: [N, K] whole numbers from 0, such as labels.
        overlap: intersection over union above which the weaker of two boxes of a group is dropped.
        count: how many are selected at most.
        apart: more than the largest coordinate of a box.

    Returns:
        Where the selected ones stand [N, C], and their scores [N, C], best first; a score is below 0 where
        there are fewer.
    """
    images = torch.arange(boxes.shape[0])[:, None].expand(-1, boxes.shape[1])
    # Groups are moved apart in rows, and the rows of all images along y, so that one call serves them all.
    column, row = groups % GROUPS_A_ROW, groups // GROUPS_A_ROW * boxes.shape[0] + images
    moves = torch.stack([column, row, column, row], -1).to(boxes.dtype) * apart
    kept = nms((boxes + moves).flatten(0, 1), scores.flatten(), overlap)
    alive = torch.zeros_like(scores).flatten().scatter(0, kept, 1.0).reshape(-1, boxes.shape[1])
    best, at = torch.where(alive > 0, scores, NONE).topk(min(count, boxes.shape[1]), 1)
    return at, best


def _pick(rows: Tensor, at: Tensor) -> Tensor:
    """[N, C, 4]: of the rows [N, K, 4] those at the places [N, C]."""
    return rows.gather(1, at[..., None].expand(-1, -1, 4))


def _at_least(boxes: Tensor, side: float) -> Tensor:
    """Whether both sides of boxes [..., 4] have at least `side` pixels."""
    return (boxes[..., 2:] - boxes[..., :2]).amin(-1) >= side
