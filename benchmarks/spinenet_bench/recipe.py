"""The frozen recipe of the table: how each network is trained and measured, whatever defaults are."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from torch import nn

from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import VERSION, ShapesConfig
from proxy_tasks.engine.average import BATCHES
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.engine.optimizer import make_optimizer
from proxy_tasks.models.postprocess import DETECTIONS, LEAST_SCORE, OVERLAP
from proxy_tasks.training_task import TrainingTask
from search_space import AnchorConfig, NormConfig, RetinaNetHead, RetinaNetLossConfig, Scale

SPACE = "spinenet-49"

FULL = 560
"""Steps of a training at fidelity 1."""

LENGTHS = (70, 140, 280, 560)
"""Steps after which each network is measured."""

LONG_LENGTHS = (*LENGTHS, 1120, 2240)
"""The same for the few that are trained four times as long."""

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")

ENGINE = 1
"""Version of what a training does. A change after which a seed gives other scores raises it, and with it all
rows are void; `tests/benchmarks/test_spinenet_bench.py` finds such changes."""

SHAPES = ShapesConfig(train=800, val=600, size=128, seed=0)

TEST_SHAPES = ShapesConfig(train=1, val=1000, size=128, seed=1)
"""Their validation images are the table's test images: no search sees them."""


def training_task(cache: Path | None = None) -> TrainingTask:
    """The training of one network, measured on the images that a search sees.

    Args:
        cache: folder for generated images; None for the user's cache folder.
    """
    return TrainingTask(
        train=TrainConfig(
            steps=FULL,
            batch=8,
            image_size=128,
            learning_rate=0.006,
            warm_up=0.05,
            schedule="constant",
            optimizer="adamw",
            momentum=0.9,
            weight_decay=0.05,
            clip=100.0,
            average=0.1,
            augmentation=Augmentation(low=0.8, high=1.2, flip=True),
            precision="fp32",
            checkpoint_every=140,
        ),
        head=RetinaNetHead(
            anchors=AnchorConfig(octaves=(0.0, 0.5)), loss=RetinaNetLossConfig(box_weight=20.0)
        ),
        data=DetectionData(cache=cache, shapes=SHAPES),
        scale=Scale(width=0.125, endpoints=64, head_filters=64, head_convs=2),
        norm=NormConfig(momentum=0.1),
        evaluations=1,
        device="cpu",
    )


def test_task(task: TrainingTask) -> TrainingTask:
    """The same task with the test images in the place of the validation images."""
    assert isinstance(task.data, DetectionData)
    return replace(task, data=replace(task.data, shapes=TEST_SHAPES))


def digest() -> str:
    """Digest of everything that the scores of a row depend on, but for the spec, the seed and the machine."""
    task = training_task()
    head: Any = task.head
    train = asdict(task.train)
    del train["checkpoint_every"]  # It changes no score.
    settings = {
        "engine": ENGINE,
        "space": SPACE,
        "train": train,
        "optimizer": _optimizer_defaults(task),
        "average": BATCHES,
        "head": [type(task.head).__name__, asdict(head)],
        "scale": asdict(task.scale),
        "norm": asdict(task.norm),
        "images": [asdict(SHAPES), asdict(TEST_SHAPES), VERSION],
        "detections": [LEAST_SCORE, OVERLAP, DETECTIONS],
    }
    return blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()


def _optimizer_defaults(task: TrainingTask) -> dict[str, object]:
    """What the optimizer is given beside the settings of the training."""
    defaults = make_optimizer(nn.Linear(1, 1), task.train).defaults
    return {name: defaults[name] for name in ("betas", "eps", "weight_decay", "amsgrad")}
