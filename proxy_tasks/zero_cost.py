"""Zero-cost measures: what an untrained network and at most one batch say of a spec, in well under a second.

| measure | what | source |
| --- | --- | --- |
| params, macs | size and multiply-adds of the whole network, from arithmetic | |
| synflow | log10 of the sum of weight times gradient, weights positive, without norms | Tanaka et al. 2020 |
| naswot | log-determinant of how alike images switch the backbone's activations | Mellor et al. 2021 |
| grad_norm | sum of the norms of the loss's gradients, by weight | Abdelfattah et al. 2021 |
| excess, shortest_path, longest_path, log2_paths, ancestors | see `search_space.spinenet.graph_features` | |

How well they predict the result of a training depends on the space and the data: measure it before you
trust one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from proxy_tasks.data.batches import Batches
from proxy_tasks.distributed import select_device
from proxy_tasks.engine.train import batch_loss
from proxy_tasks.task import Score, TaskFailureError
from proxy_tasks.training_task import TrainingTask
from search_space import Spec, graph_features
from search_space.utils.validation import validate

Measure = Literal[
    "params",
    "macs",
    "synflow",
    "naswot",
    "grad_norm",
    "excess",
    "shortest_path",
    "longest_path",
    "log2_paths",
    "ancestors",
]


OF_THE_GRAPH = ("excess", "shortest_path", "longest_path", "log2_paths", "ancestors")
"""Measures that only some families of specs have."""

OF_THE_NETWORK = ("synflow", "naswot", "grad_norm")
"""Measures for which the network is built."""


@dataclass(frozen=True, kw_only=True)
class ZeroCostTask:
    """Scores specs without training them.

    Args:
        of: the task whose network, data and losses are looked at.
        measure: see the module.
        sign: -1 to look for the smallest.

    Raises:
        ValueError: if there is no such measure, or `of` is no task that trains.
    """

    of: TrainingTask
    measure: Measure = "naswot"
    sign: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.of, TrainingTask):
            raise ValueError(
                f"zero-cost measures look at a task that trains; {type(self.of).__name__} does not"
            )
        validate(self)

    def evaluate(self, spec: Spec, seed: int) -> Score:
        """Computes the measure; the same seed gives the same.

        Raises:
            TaskFailureError: if the network cannot be built, or the measure is not finite.
        """
        try:
            costs = {**graph_features(spec, summary=True), **self.of.costs(spec)}
        except ValueError as error:
            raise TaskFailureError("invalid", str(error)) from None
        if self.measure not in (*costs, *OF_THE_NETWORK):
            raise TaskFailureError("invalid", f"a spec of the family {spec.title} has no {self.measure}")
        value = costs[self.measure] if self.measure in costs else self._compute(spec, seed)
        if not math.isfinite(value):
            raise TaskFailureError("invalid", f"{self.measure} is {value} at this scale")
        return Score(self.sign * value, {**costs, self.measure: value})

    def costs(self, spec: Spec) -> dict[str, float]:
        """Gives the costs of the task that is looked at."""
        return self.of.costs(spec)

    def check(self) -> None:
        """Raises what is wrong with the data."""
        self.of.check()

    def _compute(self, spec: Spec, seed: int) -> float:
        device, config = select_device(self.of.device), self.of.train
        net = self.of.network(spec, seed, len(self.of.categories())).to(device)
        if self.measure == "synflow":
            backbone: nn.Module = net.backbone  # type: ignore[assignment]
            return synflow(backbone, config.image_size)
        images, _ = self.of.data.caches(config.image_size)
        rng = np.random.default_rng(seed)
        count = min(config.batch, len(images))
        chosen, noise = rng.permutation(len(images))[:count], rng.random((count, 4))
        batch = Batches(images, config.image_size, device, resident=False).training(
            chosen, config.augmentation, noise
        )

        def loss() -> Tensor:
            # One batch: in fp16, gradients without scaled losses would vanish, and cards would disagree.
            return batch_loss(net.train(), "fp32", batch)

        return naswot(net, loss, count) if self.measure == "naswot" else grad_norm(net, loss)


def synflow(net: nn.Module, image_size: int) -> float:
    """Computes log10 of the sum over all weights of weight times gradient (Tanaka et al. 2020).

    Args:
        net: gives an ordered dict of features; it is not changed.
        image_size: side of the input in pixels.
    """
    plain = copy.deepcopy(net).double().eval()
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for weight in plain.parameters():
            weight.abs_()
    device = next(plain.parameters()).device
    out = plain(torch.ones(1, 3, image_size, image_size, dtype=torch.double, device=device))
    weights = list(plain.parameters())
    total = torch.stack([feature.sum() for feature in out.values()]).sum()
    grads = torch.autograd.grad(total, weights, allow_unused=True)
    flow = sum(float((w.detach() * g).sum()) for w, g in zip(weights, grads, strict=True) if g is not None)
    return math.log10(flow) if flow > 0 else float("nan")


def naswot(net: nn.Module, forward: Callable[[], object], images: int) -> float:
    """Computes the log-determinant of how many activations two images switch alike (Mellor et al. 2021).

    Args:
        net: has a `backbone`, whose activations are looked at.
        forward: called to pass a batch through the network.
        images: in the batch.
    """
    backbone: nn.Module = net.backbone  # type: ignore[assignment]
    kernel = torch.zeros(images, images, dtype=torch.double)

    def count(_: nn.Module, __: object, out: Tensor) -> None:
        # Autocast would count in 8 or 11 bits, and fp16 ends at 65504.
        with torch.autocast(out.device.type, enabled=False):
            on = (out.detach() > 0).flatten(1).float()
            # Alike: both on, or both off.
            both = on @ on.T
            sums = on.sum(1)
            alike = 2 * both + on.shape[1] - sums[:, None] - sums[None, :]
        kernel.add_(alike.double().cpu())

    hooks = [m.register_forward_hook(count) for m in backbone.modules() if isinstance(m, (nn.ReLU, nn.SiLU))]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)


def grad_norm(net: nn.Module, loss: Callable[[], Tensor]) -> float:
    """Sums the norms of the loss's gradients over the tensors of parameters (Abdelfattah et al. 2021).

    Args:
        net: the untrained network.
        loss: called once; gives the loss of a batch, a scalar [].

    Returns:
        The sum, at least 0; parameters that the loss does not depend on do not count.
    """
    grads = torch.autograd.grad(loss(), list(net.parameters()), allow_unused=True)
    return sum(float(grad.norm()) for grad in grads if grad is not None)
