"""One training over several processes: the group, norms over the whole batch, sums over all ranks.

A launcher (torchrun, Ray Train) starts the processes; the training loop sees the group and shares each
batch out, so that a configuration means the same on one process as on eight.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from proxy_tasks.gpu_share import GPU_SHARE, gpu_share
from proxy_tasks.task import TaskFailureError

T = TypeVar("T")


def rank_and_size() -> tuple[int, int]:
    """Gives this process's rank and the number of processes; (0, 1) alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def process_rank() -> int:
    """Gives this process's rank as its launcher says it, before and after the group is joined; 0 alone."""
    return int(os.environ.get("RANK", "0"))


def announced_size() -> int:
    """Gives the number of processes as their launcher says it, before the group is joined too; 1 alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def process_group(device: str = "auto") -> Iterator[None]:
    """Joins the group that torchrun announces in the environment, and leaves it; alone it does nothing.

    Args:
        device: on which the processes train: cpu, cuda or auto.
    """
    if announced_size() < 2 or dist.is_initialized():
        yield
        return
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def all_reduce_sum(value: Tensor) -> Tensor:
    """Sums a tensor over all processes, without gradient."""
    if rank_and_size()[1] > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value


def all_gather(items: list[Any]) -> list[Any]:
    """Gathers the items of all processes, rank after rank."""
    _, size = rank_and_size()
    if size == 1:
        return items
    parts: list[list[Any]] = [[] for _ in range(size)]
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def from_first(make: Callable[[], T]) -> T:
    """Gives all processes what the first one makes; the others make nothing.

    Args:
        make: gives something that can be pickled.

    Raises:
        Exception: on all processes, what `make` raises on the first one.
    """
    rank, size = rank_and_size()
    if size == 1:
        return make()
    sent: list[Any] = [(None, None)]  # Several entries would be copied into one tensor first.
    if rank == 0:
        try:
            sent[0] = make(), None
        except Exception as error:
            sent[0] = None, error
    dist.broadcast_object_list(sent)
    made, fault = sent[0]
    if fault is not None:
        raise fault
    return cast(T, made)


def own_batches(count: int, batch: int) -> Iterator[list[int]]:
    """Gives this process's share of the numbers 0 to count - 1, `batch` at a time."""
    rank, size = rank_and_size()
    for start in range(rank * batch, count, batch * size):
        yield list(range(start, min(start + batch, count)))


def _sum(value: Tensor) -> Tensor:
    """Sums a tensor over all processes, with its gradient."""
    summed: Tensor = _Sum.apply(value)
    return summed


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """Sums a tensor."""
        return all_reduce_sum(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Sums a gradient."""
        return all_reduce_sum(gradient)


class SyncNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes on a CPU, which torch's own does not serve."""

    process_group = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """[N, C] or [N, C, H, W] normalized by the statistics of all processes."""
        if not self.training:
            return super().forward(input)
        x = input if input.dtype == torch.float64 else input.float()
        count = x.numel() / x.shape[1]
        others, shape = (0, *range(2, x.ndim)), (-1, *(1 for _ in range(2, x.ndim)))
        sums = _sum(torch.cat([x.sum(others), x.new_tensor([count])]))
        seen = sums[-1].detach()  # It is 0 where no process has a value, as in a batch without objects.
        total = seen.clamp(min=1)
        mean = sums[:-1] / total
        centered = x - mean.view(shape)  # Sums of squares of values far from 0 would lose their digits.
        squares = _sum((centered * centered).sum(others))
        variance = squares / total
        unbiased = variance.detach() * total / (total - 1).clamp(min=1)
        self._track(mean.detach(), unbiased, seen > 0)
        out: Tensor = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        """Takes vectors and maps alike."""

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, seen: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        weight = momentum * seen.to(self.running_mean.dtype)
        self.running_mean.lerp_(mean.to(weight.dtype), weight)
        self.running_var.lerp_(variance.to(weight.dtype), weight)


def wrap_ddp(net: nn.Module, device: torch.device) -> nn.Module:
    """Makes batch norms work over all processes, and wraps the network so that gradients are averaged."""
    devices = None
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
        devices = [device.index]
    else:
        _replace_norms(net)
    ddp = nn.parallel.DistributedDataParallel
    known = inspect.signature(ddp).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {buffers: False}  # The first is torch's new name of the second.
    # A head may leave outputs of the backbone unused, as a classifier on the coarsest level does.
    return ddp(net, device_ids=devices, find_unused_parameters=True, **settings)


def _replace_norms(module: nn.Module) -> None:
    """Puts a `SyncNorm` with the same parameters and statistics in the place of every batch norm."""
    for name, child in module.named_children():
        if not isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            _replace_norms(child)
            continue
        norm = SyncNorm(
            child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
        )
        norm.weight, norm.bias = child.weight, child.bias
        norm.running_mean, norm.running_var = child.running_mean, child.running_var
        norm.num_batches_tracked = child.num_batches_tracked
        module.add_module(name, norm.train(child.training))


def select_device(name: str) -> torch.device:
    """Finds the device of a name: "cpu", "cuda", or "auto" for a GPU where there is one.

    Raises:
        ValueError: if it is another name, or there is no GPU.
        TaskFailureError: if this worker was given a GPU and cannot use it; "auto" takes no CPU instead then.
    """
    given = name != "cpu" and GPU_SHARE in os.environ
    if given and not torch.cuda.is_available():
        raise TaskFailureError(
            "infrastructure", "this worker was given a GPU, but torch finds none that it can use"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu, cuda or auto, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda: torch finds no GPU that it can use; device=auto takes what there is")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def try_device(device: torch.device) -> None:
    """Computes something on a GPU, and limits this process to its share of the memory there.

    Raises:
        TaskFailureError: if the GPU does not work.
    """
    if device.type != "cuda":
        return
    share = gpu_share()
    try:
        if share < 1:
            torch.cuda.set_per_process_memory_fraction(share, device)
        torch.ones(8, device=device).sum().item()
    except RuntimeError as error:
        raise TaskFailureError("infrastructure", f"the GPU does not work: {error}") from None
