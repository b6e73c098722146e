"""The detection task: a spec trained as a RetinaNet on COCO-format data, scored by AP."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proxy_tasks.anchors import AnchorSpec
from proxy_tasks.backbones import AnySpec
from proxy_tasks.batches import evaluation_batch, training_batch
from proxy_tasks.coco_ap import coco_metrics
from proxy_tasks.data import DetectionData
from proxy_tasks.distributed import gathered, own_batches
from proxy_tasks.fitting import Lesson
from proxy_tasks.models import Categories, Model
from proxy_tasks.pack import Pack
from proxy_tasks.retinanet import LossSpec, detect, retinanet_loss
from proxy_tasks.training import mixed
from proxy_tasks.training_task import TrainingTask


@dataclass(frozen=True)
class DetectionTask(TrainingTask):
    """AP of a spec on COCO-format data after a training; further arguments: see `TrainingTask`.

    Args:
        data: COCO-format data, generated shapes unless told otherwise.
        anchors: shapes at every place.
        loss: numbers of the losses.
    """

    data: DetectionData = field(default_factory=DetectionData)
    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    loss: LossSpec = field(default_factory=LossSpec)

    def model(self, spec: AnySpec, categories: Categories) -> Model:
        """A RetinaNet."""
        return Model(
            "retinanet",
            spec,
            self.scale,
            categories,
            self.plan.canvas,
            self.anchors,
            self.norm_momentum,
            self.norm_eps,
        )

    def lesson(self, training: Pack, validation: Pack, device: torch.device) -> Lesson:
        """Focal and Huber loss; AP."""
        plan = self.plan

        def loss_of(net: nn.Module, images: list[int], draws: NDArray[np.float64]) -> Tensor:
            batch = training_batch(training, images, plan.canvas, plan.augmentation, draws, device)
            with mixed(plan, device):
                logits, offsets, anchors = net(batch.images)
            losses = retinanet_loss(logits, offsets, anchors, batch.boxes, batch.labels, self.loss)
            return losses[0] + losses[1]

        def figures(net: nn.Module) -> dict[str, float]:
            return detection_figures(net, validation, plan.canvas, 2 * plan.batch, device)

        return Lesson(len(training), loss_of, figures, "AP")


def detection_figures(
    net: nn.Module, pack: Pack, canvas: int, batch: int, device: torch.device
) -> dict[str, float]:
    """COCO's twelve figures of a detector on a pack, its images shared over the processes.

    Args:
        net: gives logits, offsets and anchors.
        pack: validation images.
        canvas: side of the input in pixels.
        batch: images at a time.
        device: of the network.
    """
    net.eval()
    found = []
    with torch.inference_mode():
        for images in own_batches(len(pack), batch):
            inputs, places = evaluation_batch(pack, images, canvas, device)
            logits, offsets, anchors = net(inputs)
            detected = detect(logits, offsets, anchors, (canvas, canvas))
            for i, place, detections in zip(images, places, detected, strict=True):
                boxes = place.to_image(detections.boxes).double().cpu().numpy()
                scores = detections.scores.double().cpu().numpy()
                found.append((i, boxes, scores, detections.labels.cpu().numpy()))
    return coco_metrics(pack.split, gathered(found))
