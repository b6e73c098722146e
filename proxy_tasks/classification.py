"""The classification task: a spec trained on labelled images, scored by the share it gets right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from proxy_tasks.backbones import AnySpec
from proxy_tasks.batches import evaluation_batch, training_batch
from proxy_tasks.distributed import gathered, own_batches
from proxy_tasks.fitting import Lesson
from proxy_tasks.labelled_images import LabelledImages
from proxy_tasks.models import Categories, Model
from proxy_tasks.pack import Pack
from proxy_tasks.training import mixed
from proxy_tasks.training_task import TrainingTask


@dataclass(frozen=True)
class ClassificationTask(TrainingTask):
    """Top-1 of a spec on labelled images after a training; further arguments: see `TrainingTask`.

    Args:
        data: labelled images.
        label_smoothing: share of the target that is spread over all classes.
    """

    data: LabelledImages
    label_smoothing: float = 0.0

    def model(self, spec: AnySpec, categories: Categories) -> Model:
        """A classifier."""
        return Model(
            "classifier",
            spec,
            self.scale,
            categories,
            self.plan.canvas,
            norm_momentum=self.norm_momentum,
            norm_eps=self.norm_eps,
        )

    def lesson(self, training: Pack, validation: Pack, device: torch.device) -> Lesson:
        """Cross-entropy; top-1 and top-5."""
        plan = self.plan

        def loss_of(net: nn.Module, images: list[int], draws: NDArray[np.float64]) -> Tensor:
            batch = training_batch(training, images, plan.canvas, plan.augmentation, draws, device)
            with mixed(plan, device):
                logits = net(batch.images)
            return F.cross_entropy(
                logits, _labels(training, images, device), label_smoothing=self.label_smoothing
            )

        def figures(net: nn.Module) -> dict[str, float]:
            return classification_figures(net, validation, plan.canvas, 2 * plan.batch, device)

        return Lesson(len(training), loss_of, figures, "top1")


def classification_figures(
    net: nn.Module, pack: Pack, canvas: int, batch: int, device: torch.device
) -> dict[str, float]:
    """Shares of the images whose label is the first answer, and among the first five.

    Args:
        net: gives logits.
        pack: validation images.
        canvas: side of the input in pixels.
        batch: images at a time.
        device: of the network.
    """
    net.eval()
    right: list[tuple[bool, bool]] = []
    with torch.inference_mode():
        for images in own_batches(len(pack), batch):
            inputs, _ = evaluation_batch(pack, images, canvas, device)
            logits = net(inputs)
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            hits = best == _labels(pack, images, device)[:, None]
            right += list(zip(hits[:, 0].tolist(), hits.any(1).tolist(), strict=True))
    shares = np.array(gathered(right), dtype=np.float64).mean(0)
    return {"top1": float(shares[0]), "top5": float(shares[1])}


def _labels(pack: Pack, images: list[int], device: torch.device) -> Tensor:
    """[N]: an image's label is that of its only box, the whole image."""
    return torch.from_numpy(pack.split.labels[images]).to(device)
