"""The instance segmentation task: a spec trained as a Mask R-CNN, scored by the AP of boxes and masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from proxy_tasks.anchors import AnchorSpec
from proxy_tasks.backbones import AnySpec
from proxy_tasks.batches import evaluation_batch, training_batch
from proxy_tasks.coco import RunLengths
from proxy_tasks.coco_ap import coco_metrics, mask_metrics
from proxy_tasks.data import DetectionData
from proxy_tasks.distributed import gathered, own_batches
from proxy_tasks.fitting import Lesson
from proxy_tasks.mask_rcnn import Regions
from proxy_tasks.models import Categories, Model
from proxy_tasks.pack import Pack
from proxy_tasks.training import mixed
from proxy_tasks.training_task import TrainingTask


@dataclass(frozen=True)
class InstanceSegmentationTask(TrainingTask):
    """AP of a spec's boxes or masks after a training; further arguments: see `TrainingTask`.

    Args:
        data: COCO-format data with segmentations.
        anchors: of the region proposals; its base is used, the shapes are Mask R-CNN's own.
        regions: how many regions are looked at.
        reward: which AP is the score.
    """

    data: DetectionData = field(default_factory=lambda: DetectionData(masks=True))
    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    regions: Regions = field(default_factory=Regions)
    reward: Literal["AP", "mask_AP"] = "AP"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data.masks:
            raise ValueError("instance segmentation needs data.masks=true")

    def model(self, spec: AnySpec, categories: Categories) -> Model:
        """A Mask R-CNN."""
        return Model(
            "mask-rcnn",
            spec,
            self.scale,
            categories,
            self.plan.canvas,
            self.anchors,
            self.norm_momentum,
            self.norm_eps,
            regions=self.regions,
        )

    def lesson(self, training: Pack, validation: Pack, device: torch.device) -> Lesson:
        """The five losses of Mask R-CNN, added up; AP of boxes and masks."""
        plan = self.plan

        def loss_of(net: nn.Module, images: list[int], draws: NDArray[np.float64]) -> Tensor:
            batch = training_batch(training, images, plan.canvas, plan.augmentation, draws, device)
            targets = [
                {"boxes": boxes, "labels": labels + 1, "masks": masks}
                for boxes, labels, masks in zip(batch.boxes, batch.labels, batch.masks, strict=True)
            ]
            with mixed(plan, device):
                losses = net(batch.images, targets)
            return torch.stack(list(losses.values())).sum()

        def figures(net: nn.Module) -> dict[str, float]:
            return instance_figures(net, validation, plan.canvas, 2 * plan.batch, device)

        return Lesson(len(training), loss_of, figures, self.reward)


def instance_figures(
    net: nn.Module, pack: Pack, canvas: int, batch: int, device: torch.device
) -> dict[str, float]:
    """COCO's twelve figures of boxes, and of masks as "mask_AP" and so on.

    Args:
        net: a MaskRCNN.
        pack: validation images, with masks.
        canvas: side of the input in pixels.
        batch: images at a time.
        device: of the network.
    """
    net.eval()
    boxes_found, masks_found = [], []
    with torch.inference_mode():
        for images in own_batches(len(pack), batch):
            inputs, places = evaluation_batch(pack, images, canvas, device)
            for i, place, found in zip(images, places, net(inputs), strict=True):
                boxes = place.to_image(found["boxes"]).cpu()
                scores = found["scores"].double().cpu().numpy()
                labels = (found["labels"] - 1).cpu().numpy()
                height, width = (int(side) for side in pack.split.sizes[i])
                masks = mask_codes(found["masks"].cpu(), boxes, height, width)
                boxes_found.append((i, boxes.double().numpy(), scores, labels))
                masks_found.append((i, masks, scores, labels))
    figures = coco_metrics(pack.split, gathered(boxes_found))
    masks_figures = mask_metrics(pack.split, gathered(masks_found))
    return {**figures, **{f"mask_{name}": value for name, value in masks_figures.items()}}


def mask_codes(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[RunLengths]:
    """Run-length codes of masks [D, 1, 28, 28] in their boxes [D, 4], for an image of that size."""
    codes = []
    for mask, box in zip(masks, boxes, strict=True):  # One at a time: a hundred whole images are large.
        pasted = paste_masks_in_image(mask[None], box[None], (height, width))[0, 0] >= 0.5
        codes.append(coco_mask.encode(np.asfortranarray(pasted.numpy().astype(np.uint8))))
    return codes
