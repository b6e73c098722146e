"""A real training that takes a second, for searches whose trials train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy_tasks.data.augmentation import Augmentation
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig
from proxy_tasks.engine import train as training_module
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.training_task import TrainingTask
from search_space import RetinaNetHead, Scale


def small_training(cache: Path, steps: int) -> TrainingTask:
    """Trains tiny networks on a few generated images; a short training is the beginning of a longer one."""
    return TrainingTask(
        data=DetectionData(cache=cache, shapes=ShapesConfig(train=8, val=4, size=64)),
        head=RetinaNetHead(),
        scale=Scale(width=0.125, endpoints=16, head_filters=16, head_convs=1),
        train=TrainConfig(
            steps=steps,
            batch=2,
            image_size=64,
            learning_rate=0.01,
            schedule="constant",
            average=0.1,
            augmentation=Augmentation(),
        ),
        device="cpu",
    )


def count_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets an entry for each step of any training of this process."""
    steps: list[int] = []
    update = training_module.update

    def counted(*arguments: Any) -> Any:
        steps.append(len(steps))
        return update(*arguments)

    monkeypatch.setattr(training_module, "update", counted)
    return steps
