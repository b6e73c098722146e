from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy_tasks.batches import Augmentation
from proxy_tasks.data import DetectionData
from proxy_tasks.detection import DetectionTask
from proxy_tasks.registry import TaskNameError, find_task, known_tasks
from proxy_tasks.shapes import ShapesSpec, make_shapes
from proxy_tasks.task import Report, Score
from proxy_tasks.testing import check_task
from proxy_tasks.training import Plan
from search_space import Scale, published_spec, spec_cost


@dataclass
class SmallTask:
    """A user's task: the fewer parameters the better. Evaluate is all it has."""

    scale: Scale = field(default_factory=Scale)

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        params = spec_cost(spec, self.scale).params
        score = Score(-params / 1e6, {"params": float(params)})
        report(1, score)
        return score


class DriftingTask(SmallTask):
    """Gives another score every time."""

    calls = 0

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        DriftingTask.calls += 1
        return Score(float(DriftingTask.calls))


def test_our_task_keeps_the_contract(tmp_path: Path) -> None:
    import torch

    torch.set_num_threads(1)
    root = make_shapes(tmp_path / "set", ShapesSpec(train=12, val=4, size=64))
    plan = Plan(4, 4, 64, 0.01, augmentation=Augmentation(0.8, 1.2), checkpoint_every=1)
    scale = Scale(0.125, 0.5, 16, head_filters=16, head_convs=1)
    task = DetectionTask(
        scale, plan, DetectionData(str(root), str(tmp_path / "cache")), evaluations=2, device="cpu"
    )
    (tmp_path / "state").mkdir()
    check_task(task, published_spec("spinenet-49"), tmp_path / "state")


def test_a_users_task_keeps_the_contract_and_a_broken_one_does_not(tmp_path: Path) -> None:
    check_task(SmallTask(), published_spec("spinenet-49"), tmp_path)
    with pytest.raises(AssertionError, match="same seed gives the same score"):
        check_task(DriftingTask(), published_spec("spinenet-49"), tmp_path)


def test_tasks_are_found_by_name_and_by_import_path() -> None:
    assert find_task("detection") is DetectionTask
    assert find_task("Detection") is DetectionTask
    assert find_task("tests.proxy_tasks.test_registry:SmallTask").__name__ == "SmallTask"
    assert "detection" in known_tasks()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("detecton", "did you mean detection"),
        ("absent_module:Task", "absent_module cannot be imported"),
        ("proxy_tasks.detection:Absent", "has no 'Absent'"),
        ("proxy_tasks.pack:VERSION", "is no class or function"),
    ],
)
def test_unknown_tasks_are_named(name: str, expected: str) -> None:
    with pytest.raises(TaskNameError, match=expected):
        find_task(name)
