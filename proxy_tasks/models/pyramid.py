"""A backbone alone, named as in the networks that stand on one: trainings can start from its weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from proxy_tasks.data.targets import Target
from proxy_tasks.models.detector import Backbone, Losses, Prediction
from search_space import Head, NormConfig, Scale


class Pyramid(nn.Module):
    """A backbone with its pyramid; of the arguments of `proxy_tasks.models.detector` it keeps only that."""

    def __init__(
        self,
        *,
        backbone: Backbone,
        classes: int,
        head: Head,
        scale: Scale,
        norm: NormConfig,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor, targets: Sequence[Target] | None = None) -> Losses | list[Prediction]:
        """Gives the features [C, H, W] of every level for each image; there is nothing to learn."""
        if self.training:
            raise ValueError("a backbone alone learns nothing; put a head on it")
        levels = self.outputs(images)
        return [{name: feature[i] for name, feature in levels.items()} for i in range(len(images))]

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Gives the features "P3" [N, C, H, W], ..., finest first."""
        return dict(self.backbone(images))
