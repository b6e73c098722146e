"""The baseline is trained by the same task as every other spec."""

from __future__ import annotations

from pathlib import Path

from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig, make_shapes
from proxy_tasks.engine.config import TrainConfig
from proxy_tasks.training_task import TrainingTask
from search_space import R50FPNSpec, Scale, spec_cost


def test_the_baseline_is_trained_by_the_same_task(tmp_path: Path) -> None:
    root = make_shapes(tmp_path / "set", ShapesConfig(train=8, val=4, size=64))
    scale = Scale(width=0.125, alpha=0.5, endpoints=16, head_filters=16, head_convs=1)
    config = TrainConfig(steps=2, batch=4, image_size=64, learning_rate=0.01)
    data = DetectionData(str(root), str(tmp_path / "cache"))
    task = TrainingTask(scale=scale, train=config, data=data, device="cpu")
    spec = R50FPNSpec(0.125)
    score = task.evaluate(spec, 1.0, 0, lambda *_: None, None)
    expected = spec_cost(spec, scale, 64, "retinanet", len(task.categories()))
    assert score.metrics["params"] == expected.params
    assert score.metrics["macs"] == expected.macs
