"""SpineNet as a classifier (paper section 5.6): the pyramid averaged, pooled, and one linear layer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Pooling = Literal["pyramid", "coarsest"]


class Classifier(nn.Module):
    """A backbone with the classification head.

    Args:
        backbone: gives an ordered dict of features "P3", ..., finest first, and has `out_channels`.
        classes: number of classes.
        pooling: "pyramid" as in the paper, or "coarsest", the last level alone, as in the Model Garden.
    """

    def __init__(self, backbone: nn.Module, classes: int, pooling: Pooling = "pyramid") -> None:
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
        self.linear = nn.Linear(backbone.out_channels, classes)  # type: ignore[arg-type]
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to logits [N, classes]."""
        pyramid: OrderedDict[str, Tensor] = self.backbone(images)
        if self.pooling == "coarsest":
            pyramid = OrderedDict([pyramid.popitem()])
        logits: Tensor = self.linear(pooled_pyramid(pyramid))
        return logits.float()


def pooled_pyramid(pyramid: OrderedDict[str, Tensor]) -> Tensor:
    """[N, C]: the mean over places of the mean over levels, each brought to the finest one's size.

    Where upsampling repeats every value equally often, it changes no mean, so it is left out there.
    """
    finest = next(iter(pyramid.values())).shape[-2:]
    means = []
    for feature in pyramid.values():
        if finest[0] % feature.shape[-2] or finest[1] % feature.shape[-1]:
            feature = F.interpolate(feature, finest, mode="nearest")
        means.append(feature.mean((2, 3)))
    return torch.stack(means).mean(0)
