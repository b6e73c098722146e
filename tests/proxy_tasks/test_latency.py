"""Latency and memory of networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from proxy_tasks.latency import LatencySpec, measure
from search_space import published_spec
from search_space.backbone import SpineNet
from search_space.scale import SCALES

CPU = torch.device("cpu")


class Doubling(nn.Module):
    """Doubles its input `times`, keeping only the last."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = x * 2
        return x


def test_memory_is_what_lives_at_a_time() -> None:
    image = 3 * 64 * 64 * 4 / 2**20
    assert measure(Doubling(1), LatencySpec(rounds=1), 64, CPU).peak_mib == pytest.approx(image)
    # The result before and the result after live together, and no third.
    assert measure(Doubling(5), LatencySpec(rounds=1), 64, CPU).peak_mib == pytest.approx(2 * image)
    assert measure(Doubling(1), LatencySpec(rounds=1, batch=4), 64, CPU).peak_mib == pytest.approx(4 * image)


def test_a_larger_image_takes_longer_and_the_mode_is_put_back() -> None:
    net = SpineNet(published_spec("spinenet-49"), SCALES["proxy"]).train()
    small = measure(net, LatencySpec(rounds=5, warm_up=2), 64, CPU)
    large = measure(net, LatencySpec(rounds=5, warm_up=2), 384, CPU)
    assert small.low_ms <= small.median_ms <= small.high_ms
    assert small.median_ms < large.median_ms
    assert small.peak_mib < large.peak_mib
    assert net.training
    assert measure(net, LatencySpec(rounds=1, size=64), 384, CPU).peak_mib == small.peak_mib


@pytest.mark.parametrize("wrong", [{"rounds": -1}, {"batch": 0}, {"size": 8}, {"precision": "int8"}])
def test_what_cannot_be_measured_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="latency"):
        LatencySpec(**wrong)  # type: ignore[arg-type]
