"""Latency and memory of a network on this device: medians over passes after a warm-up."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from proxy_tasks.engine.train import autocast
from proxy_tasks.models.detector import HasOutputs
from search_space.utils.validation import AtLeast, validate


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """How latency is measured.

    Args:
        rounds: timed passes; 0 does not measure, about 20 give a steady median.
        warm_up: passes before.
        batch: images a pass.
        size: side of the square input in pixels; None for the task's own.
        precision: "fp32", or "bf16" or "fp16" by autocast.

    Raises:
        ValueError: if a field is out of range; the message names it as "latency.rounds" and so on.
    """

    rounds: Annotated[int, AtLeast(0)] = 0
    warm_up: Annotated[int, AtLeast(0)] = 5
    batch: Annotated[int, AtLeast(1)] = 1
    size: Annotated[int, AtLeast(32)] | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __post_init__(self) -> None:
        validate(self, where="latency.")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time and memory of a pass.

    Args:
        median_ms, low_ms, high_ms: of one pass in milliseconds.
        peak_mib: memory of the tensors of a pass beyond what was there before.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    peak_mib: float


def measure_latency(net: nn.Module, config: LatencyConfig, size: int, device: torch.device) -> Latency:
    """Times passes of a network in evaluation mode; its mode is put back.

    Where a network has raw outputs, selection and suppression of boxes are left out: their time depends on
    what is in the image.

    Args:
        net: on the device; takes [N, 3, S, S].
        config: how; its size, if given, takes the place of `size`.
        size: side of the input in pixels.
        device: of the network.
    """
    side = config.size or size
    images = torch.randn(config.batch, 3, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    run: Callable[[torch.Tensor], object] = net.outputs if isinstance(net, HasOutputs) else net
    training = net.training
    net.eval()
    times = []
    try:
        with torch.inference_mode(), autocast(config.precision, device):
            for _ in range(config.warm_up):
                run(images)
            peak = _peak_of(lambda: run(images), device)
            for _ in range(max(1, config.rounds)):
                _wait(device)
                started = time.perf_counter()
                run(images)
                _wait(device)
                times.append(1000 * (time.perf_counter() - started))
    finally:
        net.train(training)
    return Latency(median_ms=statistics.median(times), low_ms=min(times), high_ms=max(times), peak_mib=peak)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_of(run: Callable[[], Any], device: torch.device) -> float:
    """MiB that a call needs beyond what was in use before."""
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
    """Adds up the bytes of the tensors that live at a time, for devices that do not report their memory."""

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
