"""Latency and memory of a network on this device: medians over passes after a warm-up."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class LatencySpec:
    """How latency is measured.

    Args:
        rounds: timed passes; 0 does not measure.
        warm_up: passes before.
        batch: images a pass.
        size: side of the square input in pixels; None for the task's own.
        precision: "fp32", or "bf16" or "fp16" by autocast.
    """

    rounds: int = 20
    warm_up: int = 5
    batch: int = 1
    size: int | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __post_init__(self) -> None:
        if min(self.rounds, self.warm_up) < 0 or self.batch < 1 or (self.size is not None and self.size < 32):
            raise ValueError("latency: rounds and warm_up from 0, batch from 1, size from 32")
        if self.precision not in DTYPES:
            raise ValueError(f"latency.precision must be {', '.join(DTYPES)}, not {self.precision!r}")


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Latency:
    """What was measured.

    Args:
        median_ms, low_ms, high_ms: of one pass in milliseconds.
        peak_mib: memory of the tensors of a pass beyond what was there before.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    peak_mib: float


def measure(net: nn.Module, spec: LatencySpec, size: int, device: torch.device) -> Latency:
    """Times passes of a network in evaluation mode; its mode is put back.

    Args:
        net: on the device; takes [N, 3, H, W].
        spec: how; its size, if given, takes the place of `size`.
        size: side of the input in pixels.
        device: where.
    """
    images = torch.randn(spec.batch, 3, spec.size or size, spec.size or size, device=device).contiguous(
        memory_format=torch.channels_last
    )
    mixed = torch.autocast(device.type, DTYPES[spec.precision], enabled=spec.precision != "fp32")
    training = net.training
    net.eval()
    times = []
    try:
        with torch.inference_mode(), mixed:
            for _ in range(spec.warm_up):
                net(images)
            peak = _peak_of(lambda: net(images), device)
            for _ in range(max(1, spec.rounds)):
                _wait(device)
                started = time.perf_counter()
                net(images)
                _wait(device)
                times.append(1000 * (time.perf_counter() - started))
    finally:
        net.train(training)
    return Latency(statistics.median(times), min(times), max(times), peak)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_of(run: Callable[[], Any], device: torch.device) -> float:
    """MiB that a call takes beyond what was taken before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        _wait(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    with _Storages() as storages:
        run()
    highest: int = storages.highest
    return highest / 2**20


class _Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of the tensors that live at a time, for devices that do not tell their memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.level = self.highest = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        inputs = {_address(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and _address(tensor) not in self._known | inputs:
                storage = tensor.untyped_storage()
                self._known.add(storage.data_ptr())
                self.level += storage.nbytes()
                self.highest = max(self.highest, self.level)
                weakref.finalize(storage, self._freed, storage.data_ptr(), storage.nbytes())
        return out

    def _freed(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.level -= size


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
