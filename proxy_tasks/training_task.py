"""The task that trains a network on a spec's backbone and measures it."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import nn

from proxy_tasks.data.batches import Batches
from proxy_tasks.data.dataset import DetectionDataset
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.pixel_cache import PixelCache, open_stored, pixel_folder
from proxy_tasks.data.survey import HasSurvey
from proxy_tasks.distributed import rank_and_size, select_device, try_device
from proxy_tasks.engine.checkpoint import DamagedCheckpointError, set_state_aside
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.fit import Evaluation, OnEvaluation, OnStep, fit
from proxy_tasks.engine.loss_log import LOSS_MEANS
from proxy_tasks.engine.memory import memory_faults
from proxy_tasks.engine.precision import resolve_precision
from proxy_tasks.engine.state_file import STATE
from proxy_tasks.engine.train import SECONDS, Training
from proxy_tasks.evaluation.evaluators import Evaluator, find_evaluator
from proxy_tasks.evaluation.latency import LatencyConfig, measure_latency
from proxy_tasks.models.model import Categories, Model, build_model, model_cost, numbered_categories
from proxy_tasks.models.model_file import load_backbone
from proxy_tasks.task import Report, Score, TaskFailureError, check_fidelity
from search_space import Convention, Head, NormConfig, RetinaNetHead, Scale, Spec
from search_space.utils.lookup import lookup
from search_space.utils.validation import AtLeast, validate

LATENCY, MEMORY = "latency_ms", "memory_mib"

NOTICES = logging.getLogger("proxy_tasks.notices")


class Data(Protocol):
    """Training and validation images."""

    def splits(self) -> tuple[DetectionDataset, DetectionDataset]:
        """Gives what is known of the training and validation images without opening one."""

    def caches(self, size: int) -> tuple[PixelCache, PixelCache]:
        """Gives the training and validation images with a longer side of `size` pixels."""


@runtime_checkable
class KeepsForFinalists(Protocol):
    """Data that keeps images for the finalists of a search."""

    def for_finalists(self) -> Data | None:
        """The same with these images to validate on; None if there are none."""


@runtime_checkable
class HasMasks(Protocol):
    """Data that reads masks if it is asked to; a dataclass with this field."""

    masks: bool


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """Trains a network on a spec's backbone; its score is a metric on the validation images.

    Args:
        train: how it is trained at fidelity 1.
        head: what stands on the backbone; it decides what is learned and measured.
        data: images to train and validate on. Data that can read masks does so if the head needs them.
        scale: widths and depths, the head's included.
        norm: settings of all batch norms.
        convention: padding and pooling of the backbone, see `search_space.Convention`.
        reward: the metric that is the score's reward; None for the head's own.
        latency: how the trained network's latency and memory are measured, as the metrics "latency_ms" and
            "memory_mib"; not at all by default.
        evaluations: how often a score is reported; the last one is the result.
        device: "cpu", "cuda", or "auto".

    Raises:
        ValueError: if a field is wrong, or the data cannot give what the head needs.
    """

    train: TrainConfig
    head: Head = field(default_factory=RetinaNetHead)
    data: Data = field(default_factory=DetectionData)
    scale: Scale = field(default_factory=Scale)
    norm: NormConfig = field(default_factory=NormConfig)
    convention: Convention = "torch"
    reward: str | None = None
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    evaluations: Annotated[int, AtLeast(1)] = 1
    device: str = "auto"

    # What `setup` has prepared, for workers; and what a worker has opened.
    _keys: ClassVar[tuple[str, ...]] = ()
    _opened: ClassVar[tuple[PixelCache, PixelCache] | None] = None
    _categories: ClassVar[Categories | None] = None

    def __post_init__(self) -> None:
        validate(self)
        for name, part in (("head", self.head), ("data", self.data)):
            if isinstance(part, type):
                raise ValueError(f"{name}: {part.__name__} is a class; write {part.__name__}()")
        if not isinstance(self.head, Head):
            members = ("name", "network", "evaluator", "reward", "cost")
            missing = ", ".join(name for name in members if not hasattr(self.head, name))
            raise ValueError(f"head: {type(self.head).__name__} is no head of a network: it has no {missing}")
        lookup(self.metric, dict.fromkeys(self.evaluator.metrics), "reward", ValueError)
        if self.evaluator.needs_masks:
            object.__setattr__(self, "data", _with_masks(self.data, self.head))

    @property
    def evaluator(self) -> Evaluator:
        """What the network is measured by."""
        return find_evaluator(self.head.evaluator)

    @property
    def metric(self) -> str:
        """The metric that is the score's reward."""
        return self.head.reward if self.reward is None else self.reward

    @property
    def metric_names(self) -> tuple[str, ...] | None:
        """What may be in a score besides the spec's costs; None if a subclass scores in its own way."""
        if any(getattr(type(self), name) is not getattr(TrainingTask, name) for name in ("evaluate", "fit")):
            return None
        latency = (LATENCY, MEMORY) if self.latency.rounds else ()
        return (*self.evaluator.metrics, *LOSS_MEANS, SECONDS, *latency)

    def check_spec(self, spec: Any) -> None:
        """Checks that a network can be built of such a spec.

        Raises:
            ValueError: if it is no spec of a family of backbones.
        """
        for method in ("build", "cost"):
            if not callable(getattr(spec, method, None)):
                raise ValueError(
                    f"{type(self).__name__} trains a network on each spec's backbone, but a "
                    f"{type(spec).__name__} has no method {method}; search a space of backbones, such as "
                    "space=spinenet-49"
                )

    def evaluate(
        self, spec: Spec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """Trains the spec and measures it; see `proxy_tasks.task.Task.evaluate`.

        The state of the last step stays in the checkpoint, as only the caller knows when the score is safe: a
        second call trains no step and measures again. A checkpoint that is damaged is set aside, and the user
        is told.
        """
        with contextlib.suppress(DamagedCheckpointError):
            return self._fit_or_set_aside(spec, fidelity, seed, report, checkpoint)
        return self._fit_or_set_aside(spec, fidelity, seed, report, checkpoint)

    def _fit_or_set_aside(
        self, spec: Spec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """Trains the spec; a damaged state is set aside before the error is passed on.

        Of several processes, all of which get the error, the first one sets the file aside.
        """
        try:
            return self.fit(spec, fidelity, seed, report, checkpoint)
        except DamagedCheckpointError as error:
            if checkpoint is not None and rank_and_size()[0] == 0:
                aside = set_state_aside(checkpoint)
                NOTICES.warning("%s. It is kept as %s, and the training begins anew", error, aside.name)
            raise

    def fit(
        self,
        spec: Spec,
        fidelity: float,
        seed: int,
        report: Report,
        checkpoint: Path | None,
        *,
        on_evaluation: OnEvaluation | None = None,
        on_step: OnStep | None = None,
        weights: Path | None = None,
    ) -> Score:
        """Does what `evaluate` does, and lets one see the network.

        Args:
            spec, fidelity, seed, report, checkpoint: see `proxy_tasks.task.Task.evaluate`.
            on_evaluation, on_step: see `proxy_tasks.engine.fit`.
            weights: a model file whose backbone the training starts from.
        """
        check_fidelity(fidelity)
        device = select_device(self.device)
        training, validation = self._batches(device)
        with memory_faults():
            net = self.network(spec, seed, len(training.cache.split.category_ids))
            if weights is not None:
                load_backbone(net, self.model(spec, self.categories()), weights)
            net = net.to(device)
        trained, score = fit(
            net,
            self._training(training, fidelity, seed, None if checkpoint is None else checkpoint / STATE),
            self._evaluation(validation, self.costs(spec)),
            report,
            on_evaluation=on_evaluation,
            on_step=on_step,
        )
        if not self.latency.rounds:
            return score
        latency = measure_latency(trained, self.latency, self.train.image_size, device)
        more = {LATENCY: latency.median_ms, MEMORY: latency.peak_mib}
        return Score(score.reward, {**score.metrics, **more})

    def model(self, spec: Spec, categories: Categories) -> Model:
        """Says what a spec becomes under this task."""
        return Model(
            spec=spec,
            scale=self.scale,
            head=self.head,
            categories=categories,
            image_size=self.train.image_size,
            norm=self.norm,
            convention=self.convention,
        )

    def starting_from(self, model: Model) -> TrainingTask:
        """Gives the same task for trainings that start from a model's backbone.

        Its weights were learned with a padding and a pooling, and with a number added to variances; with
        others they would give other features.
        """
        return replace(self, convention=model.convention, norm=replace(self.norm, eps=model.norm.eps))

    def network(self, spec: Spec, seed: int, classes: int) -> nn.Module:
        """Builds the untrained network; the same seed gives the same weights.

        Raises:
            TaskFailureError: if the scale leaves a block without filters.
        """
        torch.manual_seed(seed)
        try:
            return build_model(self.model(spec, numbered_categories(classes)))
        except ValueError as error:
            raise TaskFailureError("invalid", str(error)) from None

    def check(self) -> None:
        """Raises what is wrong with the data, without opening an image."""
        for split in self.data.splits():
            self.evaluator.check(split)

    def for_finalists(self) -> TrainingTask | None:
        """The same on images that no trial is scored on; None if the data keep none for the finalists."""
        data = self.data.for_finalists() if isinstance(self.data, KeepsForFinalists) else None
        return None if data is None else replace(self, data=data)

    def setup(self, run_dir: Path) -> None:
        """Prepares the images, once for each search or training, and logs what is left out of them.

        Workers that get this task afterwards open what has been prepared, see `open`.

        Raises:
            DataError: if they cannot be used, or too many are left out.
            OSError: if they cannot be prepared.
        """
        training, validation = self._prepared()
        object.__setattr__(self, "_keys", (training.key, validation.key))
        if isinstance(self.data, HasSurvey):
            self.data.survey().announce(training.skipped, validation.skipped)

    def open(self) -> None:
        """Opens the images, once for each worker: trials do not look at annotations and files again.

        Raises:
            DataError, OSError: if the images cannot be used.
            TaskFailureError: if the worker's GPU does not work.
        """
        folder, masks = getattr(self.data, "cache_folder", None), self.evaluator.needs_masks
        found = [open_stored(key, pixel_folder(folder), masks=masks) for key in self._keys] if folder else []
        images = (found[0], found[1]) if len(found) == 2 and None not in found else self._prepared()
        object.__setattr__(self, "_opened", images)
        try_device(select_device(self.device))

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the images and what they tell, which every process finds for itself."""
        own = ("_opened", "_categories")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def categories(self) -> Categories:
        """Gives the (id, name) of everything that the data tells apart; the data are asked once."""
        if self._opened is not None:
            return self._opened[0].split.categories
        if self._categories is None:
            object.__setattr__(self, "_categories", self.data.splits()[0].categories)
        assert self._categories is not None
        return self._categories

    def costs(self, spec: Spec) -> dict[str, float]:
        """Gives what is known of a spec before any training: "params", and "macs" for one image."""
        params, macs = self.cost(spec, len(self.categories()))
        return {"params": float(params), "macs": float(macs)}

    def cost(self, spec: Spec, classes: int) -> tuple[int, int]:
        """Counts parameters and multiply-adds of the whole network for one image, without building it."""
        return model_cost(self.model(spec, numbered_categories(classes)))

    def _images(self) -> tuple[PixelCache, PixelCache]:
        return self._prepared() if self._opened is None else self._opened

    def _prepared(self) -> tuple[PixelCache, PixelCache]:
        training, validation = self.data.caches(self.train.image_size)
        self.evaluator.check(training.split)
        self.evaluator.check(validation.split)
        return training, validation

    def _batches(self, device: torch.device) -> tuple[Batches, Batches]:
        training, validation = (Batches(cache, self.train.image_size, device) for cache in self._images())
        return training, validation

    def _training(self, batches: Batches, fidelity: float, seed: int, checkpoint: Path | None) -> Training:
        config, steps = self.train.at_fidelity(fidelity)
        return Training(batches=batches, config=config, steps=steps, seed=seed, checkpoint=checkpoint)

    @property
    def _evaluation_batch(self) -> int:
        return max(1, 2 * self.train.batch // rank_and_size()[1])

    def _evaluation(self, images: Batches, costs: dict[str, float]) -> Evaluation:
        def measure(net: nn.Module) -> dict[str, float]:
            precision = resolve_precision(self.train.precision, images.device)
            metrics = self.evaluator.measure(net, images, batch=self._evaluation_batch, precision=precision)
            return {**metrics, **costs}

        return Evaluation(measure=measure, reward=self.metric, times=self.evaluations)


def _with_masks(data: Any, head: Head) -> Any:
    """The data, made to read masks."""
    if not isinstance(data, HasMasks) or not is_dataclass(data) or isinstance(data, type):
        raise ValueError(
            f"the head {head.name!r} learns masks, which {type(data).__name__} does not give; "
            "proxy_tasks.DetectionData does"
        )
    return data if data.masks else replace(data, masks=True)
