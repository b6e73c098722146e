"""How a network is trained, as data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from proxy_tasks.data.augmentation import Augmentation
from search_space.utils.validation import Above, AtLeast, AtMost, Below, validate


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained.

    Args:
        steps: number of updates at fidelity 1.
        batch: images an update, over all processes.
        image_size: side of the square input in pixels.
        learning_rate: peak.
        warm_up: share of the steps over which the rate rises linearly.
        schedule: "cosine" to zero; "step" with a factor of 0.1 at each of `drops`; or "constant", which does
            not know where the training ends: a shorter one is the beginning of a longer one.
        drops: shares of the steps.
        optimizer: "sgd" with momentum, as in the paper, or "adamw", which learns sooner in short trainings.
        momentum: of SGD.
        weight_decay: of the optimizer; norms and biases do not decay.
        clip: largest global norm of the gradient.
        average: share of the steps so far over which the weights that are evaluated are averaged, see
            `proxy_tasks.engine.average`; 0 evaluates the weights themselves.
        augmentation: how images vary.
        precision: of the forward pass: "fp32", "bf16", "fp16", or "auto" for the fastest that the device
            computes; see `proxy_tasks.engine.precision`.
        checkpoint_every: steps between checkpoints.

    Raises:
        ValueError: if a field is out of range; the message names it as "train.steps" and so on.
    """

    steps: Annotated[int, AtLeast(1)]
    batch: Annotated[int, AtLeast(1)]
    image_size: Annotated[int, AtLeast(32)]
    learning_rate: Annotated[float, AtLeast(0)]
    warm_up: Annotated[float, AtLeast(0), Below(1)] = 0.05
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    drops: tuple[Annotated[float, Above(0), Below(1)], ...] = ()
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, AtLeast(0), AtMost(1)] = 0.9
    weight_decay: Annotated[float, AtLeast(0)] = 4e-5
    clip: Annotated[float, Above(0)] = 10.0
    average: Annotated[float, AtLeast(0), AtMost(1)] = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    checkpoint_every: Annotated[int, AtLeast(1)] = 200

    def __post_init__(self) -> None:
        validate(self, where="train.")

    def at_fidelity(self, fidelity: float) -> tuple[TrainConfig, int]:
        """Gives the plan of a training of another length, and its number of steps.

        A schedule that ends at zero is shortened as a whole. A constant one stays, and is left earlier.

        Args:
            fidelity: length relative to this one, above 0.
        """
        steps = max(1, round(self.steps * fidelity))
        return (self if self.schedule == "constant" else replace(self, steps=steps)), steps
