"""Latency and memory of networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from proxy_tasks.engine.precision import Precision
from proxy_tasks.evaluation.latency import LatencyConfig, measure_latency
from search_space import published_spec
from search_space.scale import SCALES
from search_space.spinenet.backbone import SpineNet

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
    assert measure_latency(Doubling(1), LatencyConfig(rounds=1), 64, CPU).peak_mib == pytest.approx(image)
    # The result before and the result after live together, and no third.
    assert measure_latency(Doubling(5), LatencyConfig(rounds=1), 64, CPU).peak_mib == pytest.approx(2 * image)
    assert measure_latency(Doubling(1), LatencyConfig(rounds=1, batch=4), 64, CPU).peak_mib == pytest.approx(
        4 * image
    )


def test_times_are_milliseconds_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 1.0, 1.25, 2.0, 4.0])  # Of three rounds, beginning and end.
    monkeypatch.setattr("proxy_tasks.evaluation.latency.time.perf_counter", lambda: next(clock))
    found = measure_latency(Doubling(1), LatencyConfig(rounds=3, warm_up=1), 64, CPU)
    assert (found.low_ms, found.median_ms, found.high_ms) == (250.0, 500.0, 2000.0)


def test_a_larger_image_takes_more_memory_and_the_mode_is_put_back() -> None:
    net = SpineNet(published_spec("spinenet-49"), SCALES["proxy"]).train()
    small = measure_latency(net, LatencyConfig(rounds=1, warm_up=1), 64, CPU)
    large = measure_latency(net, LatencyConfig(rounds=1, warm_up=1), 256, CPU)
    assert small.peak_mib < large.peak_mib
    assert net.training
    assert measure_latency(net, LatencyConfig(rounds=1, size=64), 256, CPU).peak_mib == small.peak_mib


@pytest.mark.parametrize(("precision", "kind"), [("bf16", torch.bfloat16), ("fp32", None)])
def test_the_network_runs_in_the_precision_asked_for(precision: Precision, kind: torch.dtype | None) -> None:
    class Looking(nn.Module):
        """Notes the precision that it runs in."""

        seen: torch.dtype | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.seen = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
            return x

    net = Looking()
    measure_latency(net, LatencyConfig(rounds=1, warm_up=0, precision=precision), 32, CPU)
    assert net.seen is kind


@pytest.mark.parametrize("wrong", [{"rounds": -1}, {"batch": 0}, {"size": 8}, {"precision": "int8"}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="latency"):
        LatencyConfig(**wrong)  # type: ignore[arg-type]
