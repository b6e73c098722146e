"""The detection task: a spec trained as a RetinaNet on COCO-format data, scored by AP."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from proxy_tasks.anchors import AnchorSpec
from proxy_tasks.counting import counted_cost
from proxy_tasks.data import DetectionData
from proxy_tasks.distributed import rank_and_size
from proxy_tasks.resnet_fpn import R50FPN, R50FPNSpec
from proxy_tasks.retinanet import RetinaNet
from proxy_tasks.task import Report, Score, TaskFailureError
from proxy_tasks.training import Plan, evaluate, train
from search_space import Scale, SpineNetSpec, spec_cost
from search_space.backbone import SpineNet


@dataclass(frozen=True)
class DetectionTask:
    """AP of a spec on COCO-format data after a training.

    Args:
        scale: width and depth of the network, its head included.
        plan: how it is trained at fidelity 1.
        data: what it is trained and validated on.
        anchors: shapes at every place.
        norm_momentum: weight of a batch in the running statistics.
        norm_eps: added to variances.
        evaluations: how often an intermediate AP is reported; the last one is the score.
        device: "cpu", "cuda", or "auto".
    """

    scale: Scale
    plan: Plan
    data: DetectionData = field(default_factory=DetectionData)
    anchors: AnchorSpec = field(default_factory=AnchorSpec)
    norm_momentum: float = 0.05
    norm_eps: float = 1e-3
    evaluations: int = 1
    device: str = "auto"

    def evaluate(
        self,
        spec: SpineNetSpec | R50FPNSpec,
        fidelity: float,
        seed: int,
        report: Report,
        checkpoint: Path | None,
    ) -> Score:
        """Trains the spec and measures AP; see `proxy_tasks.task.Task.evaluate`."""
        if fidelity <= 0:
            raise ValueError(f"fidelity must be above 0, not {fidelity}")
        started = time.perf_counter()
        device = _device(self.device)
        plan = replace(self.plan, steps=max(1, round(self.plan.steps * fidelity)))
        training, validation = self.data.packs(self.plan.canvas)
        net = self.network(spec, seed, len(training.split.category_ids)).to(device)
        state = None if checkpoint is None else checkpoint / "training.pt"
        due = {round(plan.steps * (i + 1) / self.evaluations) for i in range(self.evaluations - 1)}
        due -= {0, plan.steps}  # The last evaluation is the score's own.

        def after_step(step: int, current: nn.Module, loss: float) -> None:
            if step in due:
                found = evaluate(current, validation, plan.canvas, 2 * plan.batch, device)
                report(step, Score(found["AP"], {**found, "loss": loss}))

        trained = train(net, training, plan, seed, device, after_step, state)
        trained_for = time.perf_counter() - started
        found = evaluate(trained, validation, plan.canvas, 2 * plan.batch, device)
        params, macs = self.cost(spec, len(training.split.category_ids))
        metrics = {**found, "params": float(params), "macs": float(macs)}
        metrics["training_seconds"] = trained_for
        score = Score(found["AP"], metrics)
        report(plan.steps, score)
        if state is not None and rank_and_size()[0] == 0:
            state.unlink(missing_ok=True)
        return score

    def estimate_seconds(self, spec: SpineNetSpec | R50FPNSpec, fidelity: float) -> float:
        """About how long an evaluation takes here, by a dry run of a few steps and a batch."""
        device = _device(self.device)
        training, validation = self.data.packs(self.plan.canvas)
        net = self.network(spec, 0, len(training.split.category_ids)).to(device)
        warm, steps = 2, 5

        def timed(run: Callable[[], object]) -> float:
            started = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return time.perf_counter() - started

        def some(count: int) -> Callable[[], object]:
            return lambda: train(net, training, replace(self.plan, steps=count), 0, device)

        some(warm)()
        step = timed(some(steps)) / steps
        batch = min(2 * self.plan.batch, len(validation))
        images = validation.first(batch)
        evaluation = timed(lambda: evaluate(net, images, self.plan.canvas, batch, device))
        whole = evaluation * len(validation) / batch
        return step * max(1, round(self.plan.steps * fidelity)) + whole * self.evaluations

    def network(self, spec: SpineNetSpec | R50FPNSpec, seed: int, classes: int) -> RetinaNet:
        """The untrained detector; the same seed gives the same weights."""
        torch.manual_seed(seed)
        backbone: nn.Module
        try:
            if isinstance(spec, R50FPNSpec):
                backbone = R50FPN(spec.width, self.scale.endpoints, self.norm_momentum, self.norm_eps)
            else:
                backbone = SpineNet(
                    spec, self.scale, norm_momentum=self.norm_momentum, norm_eps=self.norm_eps
                )
        except ValueError as error:
            raise TaskFailureError("invalid", str(error)) from None
        net = RetinaNet(
            backbone,
            classes,
            self.scale.head_filters,
            self.scale.head_convs,
            self.anchors,
            self.norm_momentum,
            self.norm_eps,
            prior=self.plan.loss.prior,
        )
        return net.to(memory_format=torch.channels_last)

    def cost(self, spec: SpineNetSpec | R50FPNSpec, classes: int) -> tuple[int, int]:
        """Parameters and multiply-adds of the whole detector for one image, without building it."""
        if isinstance(spec, R50FPNSpec):
            with torch.device("meta"):
                return counted_cost(self.network(spec, 0, classes), self.plan.canvas)
        found = spec_cost(spec, self.scale, self.plan.canvas, "retinanet", classes)
        return found.params, found.macs


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)
