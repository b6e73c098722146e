"""RetinaNet as SpineNet uses it: head, losses, and detections, in the order in which data passes.

Towers of 3x3 convolutions are shared over the levels; every level has batch norms of its own. Focal loss
on classes, Huber loss on boxes (paper section 5.1 and the released configurations).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, sigmoid_focal_loss

from proxy_tasks.anchors import AnchorSpec, anchor_boxes, decode, encode, match
from proxy_tasks.distributed import rank_and_size, summed
from search_space.scale import Activation

PRIOR = 0.01
"""Class probability that an untrained network predicts."""


@dataclass(frozen=True)
class LossSpec:
    """Numbers of the losses. The defaults are the released code's; `PORTS` are those of the ports.

    Args:
        alpha, gamma: of the focal loss.
        delta: where the Huber loss turns from a parabola into a line.
        box_weight: of the box loss against the class loss.
        smooth_l1: divide the Huber loss by delta, which makes it the smooth L1 loss.
    """

    alpha: float = 0.25
    gamma: float = 1.5
    delta: float = 0.1
    box_weight: float = 50.0
    smooth_l1: bool = False


PORTS = LossSpec(gamma=2.0, delta=0.11, box_weight=1.0, smooth_l1=True)
"""Losses of the PyTorch ports of SpineNet."""


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    Args:
        boxes: [D, 4] in canvas pixels.
        scores: [D] in 0..1.
        labels: [D].
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class RetinaNet(nn.Module):
    """A backbone with the two-tower head.

    Args:
        backbone: gives an ordered dict of features "P3", ... and has `out_channels` and `levels`.
        classes: number of classes, all foreground.
        filters, convs: width and depth of the towers.
        anchors: shapes at every place.
        norm_momentum, norm_eps: of the towers' batch norms.
        separable: depthwise convolutions followed by 1x1 ones, as in the mobile network.
        activation: "relu" or "swish".
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        filters: int = 256,
        convs: int = 4,
        anchors: AnchorSpec = AnchorSpec(),
        norm_momentum: float = 0.01,
        norm_eps: float = 1e-3,
        separable: bool = False,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.backbone, self.classes, self.anchors = backbone, classes, anchors
        levels: tuple[int, ...] = backbone.levels  # type: ignore[assignment]
        channels: int = backbone.out_channels  # type: ignore[assignment]

        def tower(outputs: int) -> Tower:
            return Tower(
                channels, filters, convs, outputs, levels, norm_momentum, norm_eps, separable, activation
            )

        self.class_tower = tower(anchors.per_place * classes)
        self.box_tower = tower(anchors.per_place * 4)
        last = [m for m in self.class_tower.predict.modules() if isinstance(m, nn.Conv2d)][-1]
        nn.init.normal_(last.weight, std=1e-5)
        nn.init.constant_(last.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, 3, H, W] to class logits [N, A, classes], offsets [N, A, 4] and anchors [A, 4]."""
        pyramid: OrderedDict[str, Tensor] = self.backbone(images)
        logits = self._flat(self.class_tower(pyramid), self.classes)
        offsets = self._flat(self.box_tower(pyramid), 4)
        sizes = {int(name[1:]): (x.shape[-2], x.shape[-1]) for name, x in pyramid.items()}
        return logits, offsets, anchor_boxes(self.anchors, sizes, images.device)

    @staticmethod
    def _flat(maps: list[Tensor], values: int) -> Tensor:
        """Maps [N, places * values, H, W] of all levels to [N, A, values] in float32."""
        return torch.cat([m.permute(0, 2, 3, 1).reshape(m.shape[0], -1, values) for m in maps], 1).float()


class Tower(nn.Module):
    """Shared convolutions, batch norms by level, and a predictor."""

    def __init__(
        self,
        channels: int,
        filters: int,
        convs: int,
        outputs: int,
        levels: tuple[int, ...],
        norm_momentum: float,
        norm_eps: float,
        separable: bool,
        activation: Activation,
    ) -> None:
        super().__init__()
        widths = [channels, *([filters] * convs)]
        conv3x3 = _separable if separable else _conv3x3
        self.convs = nn.ModuleList(conv3x3(widths[i], filters) for i in range(convs))
        self.norms = nn.ModuleDict(
            {
                f"P{level}": nn.ModuleList(
                    nn.BatchNorm2d(filters, eps=norm_eps, momentum=norm_momentum) for _ in range(convs)
                )
                for level in levels
            }
        )
        self.predict: nn.Module = conv3x3(widths[-1], outputs)
        self.activation = nn.SiLU() if activation == "swish" else nn.ReLU(inplace=True)

    def forward(self, pyramid: OrderedDict[str, Tensor]) -> list[Tensor]:
        """Predictions [N, outputs, H, W] of each level."""
        maps = []
        for name, x in pyramid.items():
            for conv, norm in zip(self.convs, self.norms[name], strict=True):  # type: ignore[call-overload]
                x = self.activation(norm(conv(x)))
            maps.append(self.predict(x))
        return maps


def _conv3x3(channels: int, out: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _separable(channels: int, out: int) -> nn.Sequential:
    """A depthwise 3x3 and a 1x1 convolution, with the variance that keeps the signal's."""
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, out, 1)
    nn.init.kaiming_normal_(depthwise.weight, nonlinearity="linear")
    nn.init.normal_(pointwise.weight, std=0.03)
    nn.init.zeros_(pointwise.bias)  # type: ignore[arg-type]
    return nn.Sequential(depthwise, pointwise)


def retinanet_loss(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    boxes: list[Tensor],
    labels: list[Tensor],
    spec: LossSpec = LossSpec(),
) -> tuple[Tensor, Tensor]:
    """Class and box loss of a batch, both already weighted.

    Over several processes the mean of what they return is the loss of the whole batch.

    Args:
        logits: [N, A, classes].
        offsets: [N, A, 4].
        anchors: [A, 4].
        boxes: for each image [G, 4].
        labels: for each image [G].
        spec: numbers of the losses.
    """
    class_targets = torch.zeros_like(logits)
    positives, wanted = [], []
    for n, (image_boxes, image_labels) in enumerate(zip(boxes, labels, strict=True)):
        matched = match(anchors, image_boxes)
        found = (matched >= 0).nonzero()[:, 0]
        class_targets[n, found, image_labels[matched[found]]] = 1
        positives.append(torch.stack([torch.full_like(found, n), found], 1))
        wanted.append(encode(image_boxes[matched[found]], anchors[found]))
    at = torch.cat(positives)
    # One is added so that a batch without objects divides by one. Gradients are averaged over processes,
    # hence the number of processes.
    total = summed(torch.tensor(float(len(at)), device=logits.device))
    normaliser = (total + 1) / rank_and_size()[1]
    class_loss = (
        sigmoid_focal_loss(logits, class_targets, spec.alpha, spec.gamma, reduction="sum") / normaliser
    )
    box_loss = nn.functional.huber_loss(
        offsets[at[:, 0], at[:, 1]], torch.cat(wanted), reduction="sum", delta=spec.delta
    )
    if spec.smooth_l1:
        box_loss = box_loss / spec.delta
    return class_loss, spec.box_weight * box_loss / (4 * normaliser)


def detect(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    canvas: tuple[int, int],
    *,
    score: float = 0.05,
    iou: float = 0.5,
    candidates: int = 1000,
    detections: int = 100,
) -> list[Detections]:
    """Detections of each image, after non-maximum suppression by class.

    Args:
        logits, offsets, anchors: as the network gives them.
        canvas: height and width that boxes are clipped to.
        score: least score.
        iou: overlap above which the weaker of two boxes of a class goes.
        candidates: most boxes that enter the suppression.
        detections: most boxes that leave it.
    """
    results = []
    limit = torch.tensor([canvas[1], canvas[0], canvas[1], canvas[0]], device=logits.device)
    for image_logits, image_offsets in zip(logits, offsets, strict=True):
        flat = image_logits.flatten()
        top, at = flat.topk(min(candidates, len(flat)))
        scores = top.sigmoid()
        at, scores = at[scores > score], scores[scores > score]
        places, labels = at // logits.shape[-1], at % logits.shape[-1]
        boxes = decode(image_offsets[places], anchors[places])
        boxes = torch.minimum(boxes.clamp(min=0), limit)
        kept = batched_nms(boxes, scores, labels, iou)[:detections]
        results.append(Detections(boxes[kept], scores[kept], labels[kept]))
    return results
