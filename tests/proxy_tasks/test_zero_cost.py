from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.config import ConfigError, load_task
from proxy_tasks.task import TaskFailureError
from proxy_tasks.testing import check_task
from proxy_tasks.zero_cost import Measure, grad_norm, naswot, synflow
from search_space import published_space, published_spec, spec_cost
from search_space.nas_fpn.spec import NAS_FPN

SMALL = ("of.data.shapes.train=16", "of.data.shapes.val=8", "of.train.batch=4")


class Chain(nn.Module):
    """Convolutions in a row, with norms and negative weights, as a backbone."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            conv = nn.Conv2d(3 if i == 0 else 2, 2, 1, bias=False)
            nn.init.constant_(conv.weight, -0.5)
            layers += [conv, nn.BatchNorm2d(2), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict(P3=self.layers(x))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_synflow_of_a_chain(depth: int) -> None:
    """Every layer's share is the whole output, which is 2 filters of 16 pixels with 1.5 in each."""
    net = Chain(depth)
    weights = [w.clone() for w in net.parameters()]
    assert synflow(net, 4) == pytest.approx(math.log10(depth * 2 * 16 * 1.5))
    for now, before in zip(net.parameters(), weights, strict=True):
        assert torch.equal(now, before)
        assert now.grad is None


class Switches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.ReLU())
        self.head = nn.ReLU()


def test_naswot_counts_what_two_images_switch_alike() -> None:
    net, rng = Switches(), np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(4, 3, 5, 5)))
    codes = (images.flatten(1) > 0).numpy()
    kernel = (codes[:, None] == codes[None]).sum(-1)
    found = naswot(net, lambda: net.head(net.backbone(images)), 4)
    assert found == pytest.approx(np.linalg.slogdet(kernel)[1])
    same = images[:1].repeat(4, 1, 1, 1)
    assert naswot(net, lambda: net.backbone(same), 4) < found  # Images that look alike tell nothing.


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_naswot_counts_exactly_under_autocast(kind: torch.dtype) -> None:
    """As tasks pass a batch; 16 bits hold neither so many activations nor their counts."""
    net = Switches()
    torch.manual_seed(0)
    images = torch.randn(3, 70_001)

    def forward() -> None:
        with torch.autocast("cpu", kind):
            net.backbone(images)

    exact = naswot(net, lambda: net.backbone(images), 3)
    assert naswot(net, forward, 3) == exact


def test_grad_norm_is_a_sum_over_weights() -> None:
    net = nn.Linear(2, 1)
    found = grad_norm(net, lambda: net(torch.tensor([3.0, 4.0])).sum())
    assert found == pytest.approx(5 + 1)


@pytest.mark.parametrize("measure", get_args(Measure))
def test_every_measure_is_a_task(measure: str, tmp_path: Path) -> None:
    task = load_task("zero-cost", f"measure={measure}", *SMALL)
    spec = published_spec("spinenet-49")
    check_task(task, spec, tmp_path)
    found = task.evaluate(spec, 0)
    cost = spec_cost(spec, task.of.scale, 128, "retinanet", 3)
    assert found.metrics["params"] == pytest.approx(cost.params, rel=0.05)  # Its own anchors make the rest.
    assert found.metrics[measure] == found.reward
    assert (
        load_task("zero-cost", f"measure={measure}", "sign=-1", *SMALL).evaluate(spec, 0).reward
        == -found.reward
    )
    if measure in ("synflow", "naswot", "grad_norm"):
        assert task.evaluate(spec, 1).reward != found.reward
        rng, space = np.random.default_rng(0), published_space("spinenet-49")
        others = {task.evaluate(space.decode(space.sample(rng)), 0).reward for _ in range(3)}
        assert len(others) == 3


def test_it_works_on_other_backbones_and_tells_what_is_wrong(tmp_path: Path) -> None:
    task = load_task("zero-cost", *SMALL)
    assert math.isfinite(task.evaluate(NAS_FPN, 0).reward)
    with pytest.raises(ConfigError, match="measure must be params, macs"):
        load_task("zero-cost", "measure=synflw")
    narrow = load_task("zero-cost", "of.scale.width=0.001", *SMALL)
    with pytest.raises(TaskFailureError, match="without filters"):
        narrow.evaluate(published_spec("spinenet-49"), 0)
