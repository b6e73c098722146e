"""What all tasks share that train a network: from a spec to a model, a fit and a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from proxy_tasks.backbones import AnySpec
from proxy_tasks.coco import Split
from proxy_tasks.fitting import Keep, Lesson, chosen_device, fit, forget_state, seconds_of_fit
from proxy_tasks.latency import LatencySpec, measure
from proxy_tasks.models import Categories, Model, build_model, load_backbone, model_cost, numbered
from proxy_tasks.pack import Pack
from proxy_tasks.task import Report, Score, TaskFailureError, check_fidelity, is_number
from proxy_tasks.training import OnStep, Plan
from search_space import Scale


class Data(Protocol):
    """Training and validation images."""

    def splits(self) -> tuple[Split, Split]:
        """What is known of them without opening one."""

    def packs(self, size: int) -> tuple[Pack, Pack]:
        """The images with a longer side of `size` pixels."""


@dataclass(frozen=True)
class TrainingTask(ABC):
    """A task that trains a spec; a subclass says which network it becomes and what it learns.

    Args:
        scale: width and depth of the network, its head included.
        plan: how it is trained at fidelity 1.
        data: what it is trained and validated on.
        norm_momentum: weight of a batch in the running statistics.
        norm_eps: added to variances.
        latency: how the trained network's latency and memory are measured, as the metrics "latency_ms" and
            "memory_mib"; not at all by default.
        evaluations: how often an intermediate score is reported; the last one is the score.
        device: "cpu", "cuda", or "auto".
    """

    scale: Scale
    plan: Plan
    data: Data
    norm_momentum: float = 0.05
    norm_eps: float = 1e-3
    latency: LatencySpec = field(default_factory=lambda: LatencySpec(rounds=0))
    evaluations: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        if type(self.evaluations) is not int or self.evaluations < 1:
            raise ValueError(f"evaluations must be a whole number of at least 1, not {self.evaluations!r}")
        if not is_number(self.norm_momentum) or not 0 < self.norm_momentum <= 1:
            raise ValueError(f"norm_momentum must be above 0 and up to 1, not {self.norm_momentum!r}")

    @abstractmethod
    def model(self, spec: AnySpec, categories: Categories) -> Model:
        """What a spec becomes under this task."""

    @abstractmethod
    def lesson(self, training: Pack, validation: Pack, device: torch.device) -> Lesson:
        """What the network learns from and is measured by."""

    def evaluate(
        self, spec: AnySpec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """Trains the spec and measures it; see `proxy_tasks.task.Task.evaluate`."""
        score = self.fit(spec, fidelity, seed, report, checkpoint)
        forget_state(checkpoint)
        return score

    def fit(
        self,
        spec: AnySpec,
        fidelity: float,
        seed: int,
        report: Report,
        checkpoint: Path | None,
        keep: Keep | None = None,
        on_step: OnStep | None = None,
        weights: Path | None = None,
    ) -> Score:
        """As `evaluate`, with an eye on the network.

        Args:
            spec, fidelity, seed, report, checkpoint: see `proxy_tasks.task.Task.evaluate`.
            keep, on_step: see `proxy_tasks.fitting.fit`.
            weights: a model file whose backbone the training starts from.
        """
        check_fidelity(fidelity)
        device = chosen_device(self.device)
        plan = self._plan(fidelity)
        training, validation = self.data.packs(plan.canvas)
        net = self.network(spec, seed, len(training.split.category_ids))
        if weights is not None:
            load_backbone(net, self.model(spec, self.categories()), weights)
        costs = self.costs(spec)

        def report_with_costs(step: int, score: Score) -> None:
            report(step, replace(score, metrics={**score.metrics, **costs}))

        trained, score = fit(
            net.to(device),
            self.lesson(training, validation, device),
            plan,
            seed,
            device,
            self.evaluations,
            report_with_costs,
            checkpoint,
            keep,
            on_step,
        )
        metrics = {**score.metrics, **costs}
        if self.latency.rounds:
            taken = measure(trained, self.latency, plan.canvas, device)
            metrics |= {"latency_ms": taken.median_ms, "memory_mib": taken.peak_mib}
        return Score(score.reward, metrics)

    def estimate_seconds(self, spec: AnySpec, fidelity: float) -> float:
        """About how long an evaluation takes here, by a dry run of a few steps and a batch."""
        device = chosen_device(self.device)
        training, validation = self.data.packs(self.plan.canvas)
        batch = min(2 * self.plan.batch, len(validation))
        net = self.network(spec, 0, len(training.split.category_ids)).to(device)
        lesson = self.lesson(training, validation.first(batch), device)
        part = batch / len(validation)
        return seconds_of_fit(net, lesson, self._plan(fidelity), device, self.evaluations, part)

    def network(self, spec: AnySpec, seed: int, classes: int) -> nn.Module:
        """The untrained network; the same seed gives the same weights.

        Raises:
            TaskFailureError: if the scale leaves a block without filters.
        """
        torch.manual_seed(seed)
        try:
            return build_model(self.model(spec, numbered(classes)))
        except ValueError as error:
            raise TaskFailureError("invalid", str(error)) from None

    def check(self) -> None:
        """Raises what is wrong with the data, without opening an image."""
        self.data.splits()

    def categories(self) -> Categories:
        """What the data tells apart."""
        split = self.data.splits()[0]
        return tuple(zip(split.category_ids.tolist(), split.category_names, strict=True))

    def costs(self, spec: AnySpec) -> dict[str, float]:
        """What is known of a spec before any training: "params", and "macs" for one image."""
        params, macs = self.cost(spec, len(self.data.splits()[0].category_ids))
        return {"params": float(params), "macs": float(macs)}

    def cost(self, spec: AnySpec, classes: int) -> tuple[int, int]:
        """Parameters and multiply-adds of the whole network for one image, without building it."""
        return model_cost(self.model(spec, numbered(classes)))

    def _plan(self, fidelity: float) -> Plan:
        return replace(self.plan, steps=max(1, round(self.plan.steps * fidelity)))
