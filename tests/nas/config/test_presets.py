"""The tasks that ship as configurations, and what a wrong one says."""

from __future__ import annotations

import pytest

from nas import config_folder
from nas.config import ConfigError, load_task
from search_space import (
    HEADS,
    SCALES,
    MaskRCNNHead,
    RetinaNetHead,
    RetinaNetLossConfig,
    RoIConfig,
    published_spec,
)

SPEC = published_spec("spinenet-49")


def test_the_papers_proxy_has_its_published_numbers() -> None:
    task = load_task("paper", "data.root=somewhere")
    scale = task.scale
    assert (task.train.image_size, scale.width, scale.alpha, scale.head_filters) == (512, 0.25, 0.25, 64)
    assert task.train.steps * task.train.batch == pytest.approx(5 * 110_895, rel=1e-3)
    params, macs = task.cost(SPEC, 91)
    assert (round(params / 1e6, 2), round(macs / 1e9, 2)) == (1.96, 5.84)


def test_googles_proxy_has_its_published_numbers() -> None:
    task = load_task("google", "data.root=somewhere")
    assert task.train.steps == pytest.approx(17_330, rel=1e-3)
    assert (task.train.learning_rate, task.train.batch, task.head.anchors.base) == (0.08, 64, 3.0)
    assert (task.norm.eps, task.scale.stochastic_depth) == (1e-4, 0.2)
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
    config = task.train
    assert (config.steps, config.batch, config.learning_rate) == (463 * epochs, 256, 0.28)
    assert (config.weight_decay, config.momentum) == (4e-5, 0.9)
    assert [round(drop * epochs) for drop in config.drops] == [epochs - 30, epochs - 10]
    warm_up = 2000 if name == "c" else 5 * 463
    assert round(config.warm_up * config.steps) == pytest.approx(warm_up, abs=1)
    assert (config.augmentation.low, config.augmentation.high) == (low, high)
    assert task.scale.activation == ("swish" if name == "c" else "relu")
    assert task.scale.stochastic_depth == (0.2 if name == "c" else 0)
    assert task.scale.filters(4, "bottleneck") == SCALES["49"].filters(4, "bottleneck")


def test_every_shipped_task_is_tested_here() -> None:
    found = {path.stem for path in (config_folder() / "task").glob("*.yaml")}
    detection = {"synthetic", "cpu", "paper", "google", "protocol-a", "protocol-b", "protocol-c"}
    others = {"mask-rcnn", "mask-rcnn-cpu", "classification", "imagenet", "table", "script", "zero-cost"}
    assert found == detection | others | {"spinenet-bench"}


def test_mask_rcnn_and_classification_have_the_papers_numbers() -> None:
    masks = load_task("mask-rcnn", "data.root=somewhere")
    assert (masks.train.steps, masks.train.batch, masks.train.learning_rate) == (463 * 350, 256, 0.28)
    assert [round(drop * 350) for drop in masks.train.drops] == [320, 340]
    assert (masks.train.augmentation.low, masks.train.augmentation.high) == (0.5, 2.0)
    images = load_task("imagenet", "data.root=somewhere")
    assert (images.train.batch, images.train.learning_rate, images.head.label_smoothing) == (4096, 1.6, 0.1)
    assert (images.scale.activation, images.scale.stochastic_depth) == ("swish", 0.2)
    assert round(images.train.steps * 4096 / 1_281_167) == 200


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("paper",), r"task\.data\.root: needs a value"),
        (("cpuu",), "unknown task 'cpuu'.*did you mean cpu"),
        (("cpu", "train.stepz=3"), r"task\.train\.stepz: no such key"),
        (("cpu", "train.steps=many"), "train.steps must be a whole number of at least 1, not 'many'"),
        (("cpu", "train.steps=0"), "train.steps must be"),
        (("cpu", "train.precision=fp8"), "train.precision must be auto, fp32, bf16 or fp16"),
        (("cpu", "scale.width=-1"), "width must be a number above 0"),
        (("cpu", "data._target_=absent.Data"), r"task\.data: absent\.Data: there is no absent\.py in"),
        (("cpu", "train=["), "this cannot be read as a value"),
        (
            ("cpu", "data.shapes.size=7"),
            r"data\.shapes\.size must be a whole number of at least 32",
        ),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        load_task(*arguments)
    assert "\n" not in str(raised.value)


def test_every_head_can_be_chosen_for_a_task() -> None:
    names = {path.stem for path in (config_folder() / "task" / "head").glob("*.yaml")}
    assert names >= set(HEADS) - {"none"}
    for name in sorted(names - {"classifier"}):
        task = load_task("cpu", f"head={name}")
        assert task.head.name in name
        assert task.cost(SPEC, 3)[0] > 0


def test_the_small_heads_have_the_numbers_of_the_benchmarks() -> None:
    head = load_task("cpu").head
    assert (head.anchors.octaves, head.anchors.ratios) == ((0.0, 0.5), (1.0, 2.0, 0.5))
    assert head.loss == RetinaNetLossConfig(box_weight=20.0)
    masks = load_task("mask-rcnn-cpu")
    assert masks.head.rois == RoIConfig(proposals_train=200, proposals_test=100, batch_size_per_image=32)
    assert masks.data.masks
    assert load_task("mask-rcnn", "data.root=somewhere").head == MaskRCNNHead()
    for name in ("paper", "protocol-a", "protocol-b", "protocol-c"):
        assert load_task(name, "data.root=somewhere").head == RetinaNetHead()
