from __future__ import annotations

import pytest

from proxy_tasks.presets import cpu_preset, google_preset, paper_preset
from search_space import published_spec


def test_the_papers_proxy_has_its_published_numbers() -> None:
    task = paper_preset("root", "cache")
    assert (task.plan.canvas, task.scale.width, task.scale.alpha, task.scale.head_filters) == (
        512,
        0.25,
        0.25,
        64,
    )
    assert task.plan.steps * task.plan.batch == pytest.approx(5 * 110_895, rel=1e-3)
    params, macs = task.cost(published_spec("spinenet-49"), 91)
    assert (round(params / 1e6, 2), round(macs / 1e9, 2)) == (1.96, 5.84)


def test_googles_proxy_has_its_published_numbers() -> None:
    task = google_preset("root", "cache")
    assert task.plan.steps == pytest.approx(17_330, rel=1e-3)
    assert (task.plan.learning_rate, task.plan.batch, task.anchors.base) == (0.08, 64, 3.0)
    params, macs = task.cost(published_spec("spinenet-49"), 91)
    assert (round(params / 1e6, 2), round(macs / 1e9, 2)) == (5.26, 8.62)


def test_the_laptops_proxy_is_small() -> None:
    task = cpu_preset("root", "cache")
    params, macs = task.cost(published_spec("spinenet-49"), 3)
    assert params < 1e6
    assert macs < 0.2e9
