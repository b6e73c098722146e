"""Mask R-CNN as SpineNet uses it (He et al. 2017; the released configurations), over torchvision's parts.

Region proposals from every level, regions cut out of the pyramid, a box head and a mask head; all
convolutions have batch norms. One anchor scale with three shapes a level.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign

from search_space.scale import MASK_BOX_SIDE, MASK_SIDE, Scale, mask_heads

RATIOS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Regions:
    """How many regions are looked at.

    Args:
        proposals_training, proposals: kept of an image's proposals in training and in use.
        sampled: of an image, for the losses of the box head and the mask head.
        detections: most that are found in an image.
        score: least score of a detection.
    """

    proposals_training: int = 2000
    proposals: int = 1000
    sampled: int = 512
    detections: int = 100
    score: float = 0.05


class MaskRCNN(nn.Module):
    """A backbone with region proposals, box head and mask head.

    Args:
        backbone: gives an ordered dict of features "P3", ... and has `out_channels` and `levels`.
        classes: number of classes, all foreground.
        scale: its head's widths, see `search_space.scale.mask_heads`.
        anchor_base: side of the anchor of a level, in strides.
        regions: how many are looked at.
        norm_momentum, norm_eps: of the heads' batch norms.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        scale: Scale,
        anchor_base: float = 3.0,
        regions: Regions = Regions(),
        norm_momentum: float = 0.01,
        norm_eps: float = 1e-3,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        filters, convs, hidden = mask_heads(scale)
        channels: int = backbone.out_channels  # type: ignore[assignment]
        levels: tuple[int, ...] = backbone.levels  # type: ignore[assignment]
        names = [f"P{level}" for level in levels]
        anchors = AnchorGenerator(
            tuple((anchor_base * 2.0**level,) for level in levels), (RATIOS,) * len(levels)
        )
        self.proposals = RegionProposalNetwork(
            anchors,
            _ProposalHead(channels, filters, len(levels)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": regions.proposals_training, "testing": regions.proposals},
            nms_thresh=0.7,
        )
        predictor = FastRCNNPredictor(hidden, classes + 1)
        self.heads = RoIHeads(
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
            batch_size_per_image=regions.sampled,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=regions.score,
            nms_thresh=0.5,
            detections_per_img=regions.detections,
            mask_roi_pool=MultiScaleRoIAlign(names, MASK_SIDE, sampling_ratio=2),
            mask_head=nn.Sequential(*_convs(channels, filters, convs)),
            mask_predictor=nn.Sequential(
                nn.ConvTranspose2d(filters, filters, 2, stride=2),
                nn.BatchNorm2d(filters),
                nn.ReLU(inplace=True),
                nn.Conv2d(filters, classes + 1, 1),
            ),
        )
        for head in (self.proposals, self.heads):
            for module in head.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.momentum, module.eps = norm_momentum, norm_eps
        for conv in (self.proposals.head.scores, self.proposals.head.offsets):
            nn.init.normal_(conv.weight, std=0.01)
        nn.init.normal_(predictor.cls_score.weight, std=0.01)
        nn.init.normal_(predictor.bbox_pred.weight, std=0.001)

    def forward(
        self, images: Tensor, targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """In training the losses by name; otherwise what was found in each image.

        Args:
            images: [N, 3, H, W].
            targets: for each image "boxes" [G, 4] in pixels, "labels" [G] from 1 and "masks" [G, H, W] of 0
                and 1; needed in training.

        Returns:
            Losses, or for each image "boxes" [D, 4], "labels" [D] from 1, "scores" [D] and "masks"
            [D, 1, 28, 28], the chance of each place of the box.
        """
        pyramid: OrderedDict[str, Tensor] = self.backbone(images)
        features = OrderedDict((name, feature.float()) for name, feature in pyramid.items())
        size = (images.shape[-2], images.shape[-1])
        listed = ImageList(images, [size] * len(images))
        proposed, losses = self.proposals(listed, features, targets)
        found, more = self.heads(features, proposed, listed.image_sizes, targets)
        if self.training:
            return {**losses, **more}
        return found  # type: ignore[no-any-return]


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
