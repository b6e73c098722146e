"""The tasks that ship as configurations, and what a wrong one says."""

from __future__ import annotations

import pytest

from nas import config_folder
from nas.config import ConfigError, load_task
from search_space import SCALES, published_spec

SPEC = published_spec("spinenet-49")


def test_the_papers_proxy_has_its_published_numbers() -> None:
    task = load_task("paper", "data.root=somewhere")
    scale = task.scale
    assert (task.plan.canvas, scale.width, scale.alpha, scale.head_filters) == (512, 0.25, 0.25, 64)
    assert task.plan.steps * task.plan.batch == pytest.approx(5 * 110_895, rel=1e-3)
    params, macs = task.cost(SPEC, 91)
    assert (round(params / 1e6, 2), round(macs / 1e9, 2)) == (1.96, 5.84)


def test_googles_proxy_has_its_published_numbers() -> None:
    task = load_task("google", "data.root=somewhere")
    assert task.plan.steps == pytest.approx(17_330, rel=1e-3)
    assert (task.plan.learning_rate, task.plan.batch, task.anchors.base) == (0.08, 64, 3.0)
    assert (task.norm_eps, task.scale.stochastic_depth) == (1e-4, 0.2)
    params, macs = task.cost(SPEC, 91)
    assert (round(params / 1e6, 2), round(macs / 1e9, 2)) == (5.26, 8.62)


def test_the_laptops_proxy_is_small() -> None:
    params, macs = load_task("cpu").cost(SPEC, 3)
    assert params < 1e6
    assert macs < 0.2e9


@pytest.mark.parametrize(
    ("name", "epochs", "low", "high"),
    [("a", 250, 0.8, 1.2), ("b", 350, 0.5, 2.0), ("c", 500, 0.5, 2.0)],
)
def test_protocols_have_the_papers_numbers(name: str, epochs: int, low: float, high: float) -> None:
    task = load_task(f"protocol-{name}", "data.root=somewhere")
    plan = task.plan
    assert (plan.steps, plan.batch, plan.learning_rate) == (463 * epochs, 256, 0.28)
    assert (plan.weight_decay, plan.momentum) == (4e-5, 0.9)
    assert [round(drop * epochs) for drop in plan.drops] == [epochs - 30, epochs - 10]
    warm_up = 2000 if name == "c" else 5 * 463
    assert round(plan.warm_up * plan.steps) == pytest.approx(warm_up, abs=1)
    assert (plan.augmentation.low, plan.augmentation.high) == (low, high)
    assert task.scale.activation == ("swish" if name == "c" else "relu")
    assert task.scale.stochastic_depth == (0.2 if name == "c" else 0)
    assert task.scale.filters(4, "bottleneck") == SCALES["49"].filters(4, "bottleneck")


def test_every_shipped_task_is_tested_here() -> None:
    found = {path.stem for path in (config_folder() / "task").glob("*.yaml")}
    detection = {"synthetic", "cpu", "paper", "google", "protocol-a", "protocol-b", "protocol-c"}
    others = {"mask-rcnn", "mask-rcnn-cpu", "classification", "imagenet", "table", "script", "zero-cost"}
    assert found == detection | others


def test_mask_rcnn_and_classification_have_the_papers_numbers() -> None:
    masks = load_task("mask-rcnn", "data.root=somewhere")
    assert (masks.plan.steps, masks.plan.batch, masks.plan.learning_rate) == (463 * 350, 256, 0.28)
    assert [round(drop * 350) for drop in masks.plan.drops] == [320, 340]
    assert (masks.plan.augmentation.low, masks.plan.augmentation.high) == (0.5, 2.0)
    images = load_task("imagenet", "data.root=somewhere")
    assert (images.plan.batch, images.plan.learning_rate, images.label_smoothing) == (4096, 1.6, 0.1)
    assert (images.scale.activation, images.scale.stochastic_depth) == ("swish", 0.2)
    assert round(images.plan.steps * 4096 / 1_281_167) == 200


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("paper",), r"task\.data\.root: needs a value"),
        (("cpuu",), "unknown task 'cpuu'.*did you mean cpu"),
        (("cpu", "plan.stepz=3"), r"task\.plan\.stepz: no such key"),
        (("cpu", "plan.steps=many"), "plan.steps must be a whole number of at least 1, not 'many'"),
        (("cpu", "plan.steps=0"), "plan.steps must be"),
        (("cpu", "plan.precision=fp8"), "plan.precision must be fp32 or bf16"),
        (("cpu", "scale.width=-1"), "width must be a number above 0"),
        (("cpu", "data._target_=absent.Data"), "No module named 'absent'"),
        (("cpu", "plan=["), "no viable alternative"),
        (("cpu", "data.shapes.size=7"), "size must be in 32..2048"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        load_task(*arguments)
    assert "\n" not in str(raised.value)
