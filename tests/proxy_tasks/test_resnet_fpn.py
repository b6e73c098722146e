from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from proxy_tasks.counting import counted_cost
from proxy_tasks.data import DetectionData
from proxy_tasks.detection import DetectionTask
from proxy_tasks.resnet_fpn import R50FPN, R50FPNSpec
from proxy_tasks.retinanet import RetinaNet
from proxy_tasks.shapes import ShapesSpec, make_shapes
from proxy_tasks.task import TaskFailureError
from proxy_tasks.training import Plan
from search_space import SCALES, Scale, published_spec, spec_cost
from search_space.backbone import SpineNet


def test_the_full_baseline_has_its_published_size() -> None:
    with torch.device("meta"):
        net = RetinaNet(R50FPN(), 91)
    params, macs = counted_cost(net, 640)
    assert params / 1e6 == pytest.approx(34.0, abs=0.15)
    # Published: 96.8 G in the paper, 97.0 G in the model zoo.
    assert macs / 96.8e9 == pytest.approx(1, abs=0.002)


def test_counting_agrees_with_the_cost_model() -> None:
    spec, scale = published_spec("spinenet-49"), SCALES["proxy"]
    with torch.device("meta"):
        net = SpineNet(spec, scale)
    cost = spec_cost(spec, scale, 256)
    assert counted_cost(net, 256) == (cost.params, cost.executed_macs)


@pytest.mark.parametrize("size", [(128, 128), (100, 161)])
def test_outputs_have_the_sizes_of_their_levels(size: tuple[int, int]) -> None:
    net = R50FPN(0.125, 16).eval()
    with torch.no_grad():
        pyramid = net(torch.randn(1, 3, *size))
    for level in range(3, 8):
        expected = (1, 16, -(-size[0] // 2**level), -(-size[1] // 2**level))
        assert tuple(pyramid[f"P{level}"].shape) == expected


def test_the_baseline_is_trained_by_the_same_task(tmp_path: Path) -> None:
    root = make_shapes(tmp_path / "set", ShapesSpec(train=8, val=4, size=64))
    scale = Scale(0.125, 0.5, 16, head_filters=16, head_convs=1)
    task = DetectionTask(
        scale, Plan(2, 4, 64, 0.01), DetectionData(str(root), str(tmp_path / "cache")), device="cpu"
    )
    score = task.evaluate(R50FPNSpec(0.125), 1.0, 0, lambda *_: None, None)
    assert score.metrics["params"] > 1e4
    assert score.metrics["macs"] > 1e6
    with pytest.raises(TaskFailureError, match="without filters"):
        replace(task).evaluate(R50FPNSpec(0.001), 1.0, 0, lambda *_: None, None)
