"""SpineNet as a classifier (paper section 5.6): the pyramid averaged, pooled, and one linear layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from proxy_tasks.data.targets import Target, pad_targets
from proxy_tasks.distributed import all_reduce_sum, rank_and_size
from proxy_tasks.models.detector import Backbone, Losses, Prediction
from search_space import ClassifierHead, NormConfig, Scale

NO_LABEL = -1
"""Label of an image that has none: one that is thinner than a pixel may have lost its own."""


class Classifier(nn.Module):
    """A backbone with the classification head; see `proxy_tasks.models.detector`.

    The label of an image is that of its first object.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        classes: int,
        head: ClassifierHead,
        scale: Scale,
        norm: NormConfig,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.linear = nn.Linear(backbone.out_channels, classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None) -> Losses | list[Prediction]:
        """Gives the loss "classes" in training, and the probability of every class in evaluation."""
        logits = self.outputs(images)["logits"]
        if not self.training:
            return [{"scores": scores} for scores in logits.softmax(1)]
        if targets is None:
            raise ValueError("a classifier needs targets in training")
        labels = pad_targets(targets).labels[:, 0]
        total = F.cross_entropy(
            logits,
            labels,
            label_smoothing=self.head.label_smoothing,
            ignore_index=NO_LABEL,
            reduction="sum",
        )
        # A mean over the labels of all processes; there may be no label at all.
        count = all_reduce_sum((labels != NO_LABEL).sum().float()).clamp(min=1)
        return {"classes": total * rank_and_size()[1] / count}

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Gives "logits" [N, classes]."""
        pyramid = self.backbone(images)
        if self.head.pooling == "coarsest":
            pyramid = OrderedDict([pyramid.popitem()])
        logits: Tensor = self.linear(pool_pyramid(pyramid))
        return {"logits": logits.float()}


def pool_pyramid(pyramid: OrderedDict[str, Tensor]) -> Tensor:
    """Gives [N, C]: the mean over places of the mean over levels, each brought to the finest one's size.

    Where upsampling repeats every value equally often, it changes no mean, so it is left out there.
    """
    finest = next(iter(pyramid.values())).shape[-2:]
    means = []
    for feature in pyramid.values():
        if finest[0] % feature.shape[-2] or finest[1] % feature.shape[-1]:
            feature = F.interpolate(feature, finest, mode="nearest")
        means.append(feature.mean((2, 3)))
    return torch.stack(means).mean(0)
