"""Full trainings by tasks that have no more than `nas train` asks for."""

from __future__ import annotations

from pathlib import Path

from nas.training.run import device_name, run_training
from proxy_tasks import DetectionData, TrainConfig, TrainingTask
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from search_space import Scale
from tests.proxy_tasks.small_networks import SMALL


class Own:
    """A task that can train, and has nothing else; it names no device."""

    def __init__(self, task: TrainingTask) -> None:
        self.evaluate, self.fit = task.evaluate, task.fit
        self.model, self.categories = task.model, task.categories


def test_a_task_that_names_no_device_trains(tmp_path: Path) -> None:
    make_shapes(tmp_path / "shapes", ShapesConfig(train=4, val=2, size=64))
    task = TrainingTask(
        scale=Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1),
        train=TrainConfig(steps=1, batch=2, image_size=64, learning_rate=0.001),
        data=DetectionData(tmp_path / "shapes", tmp_path / "cache"),
        device="cpu",
    )
    own = Own(task)
    assert device_name(own) == "auto"
    assert device_name(task) == "cpu"
    run_training(own, SMALL, tmp_path / "run", "")  # type: ignore[arg-type]
    assert (tmp_path / "run" / "best.safetensors").is_file()
