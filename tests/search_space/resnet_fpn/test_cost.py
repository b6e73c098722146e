"""The arithmetic of R50-FPN, with torch as the judge."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from search_space import SCALES, NormConfig, R50FPNSpec, Scale, spec_cost
from tests.search_space.counting import counted_macs, counted_params, kept_for_backward

SMALL = Scale(endpoints=8)


def test_the_full_baseline_has_its_published_size() -> None:
    cost = spec_cost(R50FPNSpec(), SCALES["49"], 640, "retinanet", 91)
    assert cost.params / 1e6 == pytest.approx(34.0, abs=0.15)
    # Published: 96.8 G in the paper, 97.0 G in the model zoo.
    assert cost.macs / 96.8e9 == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("width", [1 / 64, 0.125, 0.3, 1.0])
@pytest.mark.parametrize("size", [(128, 128), (96, 224), (33, 129)])
def test_cost_is_what_torch_counts(width: float, size: tuple[int, int]) -> None:
    spec = R50FPNSpec(width)
    with torch.device("meta"):
        net = spec.build(SMALL, norm=NormConfig()).eval()
        images = torch.empty(1, 3, *size)
    cost = spec_cost(spec, SMALL, size)
    assert counted_params(net) == cost.params
    assert counted_macs(net, partial(net, images)) == cost.macs == cost.executed_macs


@pytest.mark.parametrize("size", [(128, 128), (96, 224), (33, 129)])
def test_activation_memory_is_what_autograd_keeps(size: tuple[int, int]) -> None:
    spec = R50FPNSpec(0.125)
    net = spec.build(SMALL, norm=NormConfig()).train()
    kept = kept_for_backward(net, partial(net, torch.randn(2, 3, *size)))
    assert kept == 2 * spec_cost(spec, SMALL, size).activation_bytes


def test_parts_add_up_and_follow_the_data() -> None:
    cost = spec_cost(R50FPNSpec(), SCALES["49"], 640, "retinanet")
    stages, pyramid = [f"stage {i}" for i in range(1, 5)], ["P3", "P4", "P5", "P6", "P7"]
    assert [part.name for part in cost.parts] == ["stem conv", *stages, *pyramid, "head"]
    for field in ("params", "macs", "executed_macs", "activation_bytes"):
        assert sum(getattr(part, field) for part in cost.parts) == getattr(cost, field)
