"""The contract of all networks that a task trains, and what some of them can do beyond it.

A network is made with keywords alone:

    Network(backbone=..., classes=..., head=..., scale=..., norm=..., separable=...)

| argument | what it is |
| --- | --- |
| backbone | a module that obeys `Backbone` |
| classes | the number of classes, all foreground |
| head | the settings of the head, see `search_space.heads.Head` |
| scale | widths and depths, the head's included |
| norm | the settings of all batch norms |
| separable | whether the head's convolutions are depthwise and 1x1 ones |

It is an `nn.Module` with the attribute `backbone` and obeys `Network`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from proxy_tasks.data.targets import Target

Losses = dict[str, Tensor]
"""Scalar losses by name; their sum is minimized. Over several processes the mean of the sums is the loss of
the whole batch."""


Prediction = dict[str, Tensor]
"""Objects of one image, best first: "boxes" [D, 4] in input pixels, "scores" [D] in 0..1, "labels" [D] from
0, and, where a network finds masks, "masks" [D, 1, 28, 28], the probability of every place of the box. A
classifier gives "scores" [classes] alone."""


Candidates = tuple[Tensor, Tensor, Tensor]
"""Boxes [N, K, 4], scores [N, K] in falling order, and labels [N, K] of N images."""


class Backbone(Protocol):
    """A backbone with its pyramid.

    Attributes:
        out_channels: channels of every output.
        levels: levels of the outputs, ascending.
    """

    out_channels: int
    levels: tuple[int, ...]

    def __call__(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Maps images [N, 3, H, W] to {"P3": [N, out_channels, ceil(H/8), ceil(W/8)], ...}."""


class Network(Protocol):
    """What a task calls."""

    def __call__(self, images: Tensor, targets: Sequence[Target] | None = None) -> Losses | list[Prediction]:
        """Gives losses in training, and predictions in evaluation.

        Args:
            images: [N, 3, S, S].
            targets: the objects of each image; needed in training. The training loop gives
                `proxy_tasks.data.targets.Targets`, whose tensors have the same shapes in every step.
        """


@runtime_checkable
class HasOutputs(Protocol):
    """A network whose raw outputs can be had, for exports and tests."""

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Maps images [N, 3, S, S] to what the network computes, before any selection."""


@runtime_checkable
class HasCandidates(Protocol):
    """A detector whose boxes before suppression can be had, for exports and for thresholds of one's own."""

    def candidates(self, images: Tensor) -> Candidates:
        """Maps images [N, 3, S, S] to the best K boxes of each image."""


@runtime_checkable
class HasThreshold(Protocol):
    """A detector without candidates that can be asked for weaker or fewer objects than it gives by itself."""

    def detect(self, images: Tensor, least_score: float) -> list[Prediction]:
        """Gives the objects of each image [N, 3, S, S] whose score is above this."""


@runtime_checkable
class HasFixedOutputs(Protocol):
    """A network without raw outputs that has a copy with outputs of fixed sizes, for exports."""

    def fixed(self, size: int) -> nn.Module:
        """Gives the copy for images [N, 3, S, S] of S = `size` pixels.

        Its attribute `names` has the names of its outputs. One is "scores" [N, D], best first and 0 where an
        image has fewer than D objects; every other one has the same first two dimensions.
        """
