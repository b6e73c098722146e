from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy_tasks.batches import Augmentation
from proxy_tasks.data import DetectionData
from proxy_tasks.detection import DetectionTask
from proxy_tasks.shapes import ShapesSpec, make_shapes
from proxy_tasks.task import Report, Score, TaskFailureError, evaluated, task_fault
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


@dataclass
class Plain:
    """Takes the spec alone and gives a number."""

    weight: float = 1.0

    def evaluate(self, spec: Any) -> float:
        return self.weight * len(spec.blocks)


class Named:
    def evaluate(self, spec: Any, seed: int, report: Report) -> Score:
        report(1, Score(0.5))
        return Score(float(seed))


def test_a_task_may_take_less_and_give_a_plain_number(tmp_path: Path) -> None:
    spec = published_spec("spinenet-49")
    check_task(Plain(2.0), spec, tmp_path)
    assert evaluated(Plain(2.0), spec, 1.0, 0, lambda *_: None, None) == Score(30.0)
    told: list[int] = []
    assert evaluated(Named(), spec, 1.0, 7, lambda step, _: told.append(step), None) == Score(7.0)
    assert told == [1]


class NoEvaluate:
    pass


class AsksForMore:
    def evaluate(self, spec: Any, epochs: int) -> float:
        return 0.0


class NoSpec:
    def evaluate(self) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (NoEvaluate(), "NoEvaluate has no method evaluate"),
        (AsksForMore(), "AsksForMore.evaluate asks for 'epochs'; after the spec it may name fidelity, seed"),
        (NoSpec(), "NoSpec.evaluate takes no spec"),
        (Plain(), ""),
        (SmallTask(), ""),
    ],
)
def test_what_is_no_task_is_told(task: Any, told: str) -> None:
    assert task_fault(task).startswith(told)
    assert bool(task_fault(task)) == bool(told)


class Swapped:
    """Has five arguments, in an order of its own."""

    def evaluate(
        self, spec: Any, seed: int, fidelity: float, report: Report, checkpoint: Path | None
    ) -> float:
        return 10 * seed + fidelity


class Extended:
    def evaluate(self, spec: Any, fidelity: float, seed: int, epochs: int = 3, rate: float = 0.1) -> float:
        return fidelity + seed + epochs + rate


def test_arguments_go_by_name_whatever_their_order() -> None:
    assert evaluated(Swapped(), None, 0.25, 7, lambda *_: None, None) == Score(70.25)
    assert evaluated(Extended(), None, 0.25, 7, lambda *_: None, None) == Score(10.25 + 0.1)


def test_a_failure_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(TaskFailureError("diverged", "the loss is nan", 3)))
    assert (error.kind, error.message, error.step, str(error)) == (
        *("diverged", "the loss is nan", 3),
        "the loss is nan (step 3)",
    )


class PlainReport(Named):
    def evaluate(self, spec: Any, seed: int, report: Any) -> Score:
        report(1, 0.5)
        return Score(1.0)


class BadReport(Named):
    def evaluate(self, spec: Any, seed: int, report: Report) -> Score:
        report(1, Score(float("nan")))
        return Score(1.0)


class Remembers:
    def __init__(self) -> None:
        self.first: int | None = None

    def evaluate(self, spec: Any, seed: int) -> float:
        self.last, self.first = self.first, seed
        return float(self.last or 0)


class Text:
    def evaluate(self, spec: Any) -> Score:
        return Score(1.0, {"AP": "high"})  # type: ignore[dict-item]


@pytest.mark.parametrize("broken", [PlainReport(), BadReport(), Remembers(), Text()])
def test_the_contract_finds_what_would_fail_in_a_search(broken: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="broken promise"):
        check_task(broken, published_spec("spinenet-49"), tmp_path)
