"""How a network is trained, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from proxy_tasks.data.transforms import Augmentation
from search_space.utils.validation import Above, AtLeast, AtMost, Below, validate


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained.

    Args:
        steps: number of updates.
        batch: images an update, over all processes.
        image_size: side of the square input in pixels.
        learning_rate: peak.
        warm_up: share of the steps over which the rate rises linearly.
        schedule: "cosine" to zero, or "step" with a factor of 0.1 at each of `drops`.
        drops: shares of the steps.
        optimizer: "sgd" with momentum, as in the paper, or "adamw", which learns sooner in short trainings.
        momentum: of SGD.
        weight_decay: of the optimizer; norms and biases do not decay.
        clip: largest global norm of the gradient.
        ema: decay of the averaged weights that are evaluated; 0 evaluates the weights themselves.
        augmentation: how images vary.
        precision: "fp32", or "bf16" for autocast.
        checkpoint_every: steps between checkpoints.

    Raises:
        ValueError: if a field is out of range; the message names it as "train.steps" and so on.
    """

    steps: Annotated[int, AtLeast(1)]
    batch: Annotated[int, AtLeast(1)]
    image_size: Annotated[int, AtLeast(32)]
    learning_rate: Annotated[float, AtLeast(0)]
    warm_up: Annotated[float, AtLeast(0), Below(1)] = 0.05
    schedule: Literal["cosine", "step"] = "cosine"
    drops: tuple[Annotated[float, Above(0), Below(1)], ...] = ()
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, AtLeast(0), AtMost(1)] = 0.9
    weight_decay: Annotated[float, AtLeast(0)] = 4e-5
    clip: Annotated[float, Above(0)] = 10.0
    ema: Annotated[float, AtLeast(0), AtMost(1)] = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: Annotated[int, AtLeast(1)] = 200

    def __post_init__(self) -> None:
        validate(self, where="train.")
