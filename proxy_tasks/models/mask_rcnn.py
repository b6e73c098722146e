"""Mask R-CNN as SpineNet uses it (He et al. 2017; the released configurations), over torchvision's parts.

Region proposals from every level, regions cut out of the pyramid, a box head and a mask head; all
convolutions have batch norms. One anchor scale with three shapes a level.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign

from proxy_tasks.data.targets import Target
from proxy_tasks.models.detector import Backbone, Losses, Prediction
from proxy_tasks.models.region_parts import CountingHeads, LevelAnchors, mean_over_processes
from search_space import MaskRCNNHead, NormConfig, Scale
from search_space.heads import MASK_BOX_SIDE, MASK_SIDE, mask_heads

RATIOS = (0.5, 1.0, 2.0)


class MaskRCNN(nn.Module):
    """A backbone with region proposals, box head and mask head; see `proxy_tasks.models.detector`.

    The widths of the heads follow the scale, see `search_space.heads.mask_heads`. There is no separable
    variant.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        classes: int,
        head: MaskRCNNHead,
        scale: Scale,
        norm: NormConfig,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        filters, convs, hidden = mask_heads(scale)
        channels, levels, rois = backbone.out_channels, backbone.levels, head.rois
        names = [f"P{level}" for level in levels]
        self.proposals = RegionProposalNetwork(
            LevelAnchors(levels, head.anchor_base, RATIOS),
            _ProposalHead(channels, filters, len(levels)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": rois.proposals_train, "testing": rois.proposals_test},
            nms_thresh=0.7,
        )
        predictor = FastRCNNPredictor(hidden, classes + 1)
        self.heads = CountingHeads(
            MultiScaleRoIAlign(names, MASK_BOX_SIDE, sampling_ratio=2),
            nn.Sequential(
                *_convs(channels, filters, convs),
                nn.Flatten(),
                nn.Linear(filters * MASK_BOX_SIDE**2, hidden),
                nn.BatchNorm1d(hidden),
                nn.ReLU(inplace=True),
            ),
            predictor,
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=rois.batch_size_per_image,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=rois.score_threshold,
            nms_thresh=0.5,
            detections_per_img=rois.detections_per_image,
            mask_roi_pool=MultiScaleRoIAlign(names, MASK_SIDE, sampling_ratio=2),
            mask_head=nn.Sequential(*_convs(channels, filters, convs)),
            mask_predictor=nn.Sequential(
                nn.ConvTranspose2d(filters, filters, 2, stride=2),
                nn.BatchNorm2d(filters),
                nn.ReLU(inplace=True),
                nn.Conv2d(filters, classes + 1, 1),
            ),
        )
        for part in (self.proposals, self.heads):
            for module in part.modules():
                if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                    module.momentum, module.eps = norm.momentum, norm.eps
        for conv in (self.proposals.head.scores, self.proposals.head.offsets):
            nn.init.normal_(conv.weight, std=0.01)
        nn.init.normal_(predictor.cls_score.weight, std=0.01)
        nn.init.normal_(predictor.bbox_pred.weight, std=0.001)

    def detect(self, images: Tensor, least_score: float) -> list[Prediction]:
        """Gives the objects with a score above this; see `proxy_tasks.models.detector.HasThreshold`."""
        own, self.heads.score_thresh = self.heads.score_thresh, least_score
        try:
            found: list[Prediction] = self(images)
        finally:
            self.heads.score_thresh = own
        return found

    def fixed(self, size: int) -> nn.Module:
        """A copy for images of one size, whose outputs have fixed sizes; see `FixedMaskRCNN`."""
        from proxy_tasks.models.fixed_mask_rcnn import FixedMaskRCNN

        return FixedMaskRCNN(self, size)

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None) -> Losses | list[Prediction]:
        """Gives the five losses by torchvision's names in training, and boxes with masks in evaluation."""
        pyramid = self.backbone(images)
        size = (images.shape[-2], images.shape[-1])
        inputs = ImageList(images, [size] * len(images))
        # torchvision counts classes from 1, as its 0 is the background.
        theirs = None if targets is None else [{**t, "labels": t["labels"] + 1} for t in targets]
        # In bfloat16, which has 8 bits, a box of 13 pixels overlaps itself by 0.67.
        with torch.autocast(images.device.type, enabled=False):
            features = OrderedDict((name, feature.float()) for name, feature in pyramid.items())
            regions, proposal_losses = self.proposals(inputs, features, theirs)
            detections, head_losses = self.heads(features, regions, inputs.image_sizes, theirs)
        if self.training:
            of_all = mean_over_processes(head_losses, self.heads.regions, self.heads.positives)
            return {**proposal_losses, **of_all}
        return [{**detection, "labels": detection["labels"] - 1} for detection in detections]


class _ProposalHead(nn.Module):
    """One convolution with a batch norm for every level, then objectness and offsets of the anchors."""

    def __init__(self, channels: int, filters: int, levels: int) -> None:
        super().__init__()
        self.conv = _conv3x3(channels, filters)
        self.norms = nn.ModuleList(nn.BatchNorm2d(filters) for _ in range(levels))
        self.scores = nn.Conv2d(filters, len(RATIOS), 1)
        self.offsets = nn.Conv2d(filters, 4 * len(RATIOS), 1)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps [N, anchors, H, W] and [N, 4 * anchors, H, W] of every level."""
        shared = [torch.relu(norm(self.conv(x))) for norm, x in zip(self.norms, features, strict=True)]
        return [self.scores(x) for x in shared], [self.offsets(x) for x in shared]


def _convs(channels: int, filters: int, count: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [_conv3x3(channels, filters), nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
        channels = filters
    return layers


def _conv3x3(channels: int, filters: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, filters, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
