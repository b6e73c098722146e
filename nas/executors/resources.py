"""What this machine has for workers: CPU cores, memory and GPUs, within the limits of a container."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")

MEMORY_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
"""Files that limit a container's memory, of control groups of version 2 and 1."""


def count_cpus(cgroup: Path = CGROUP) -> int:
    """The CPU cores that this process may use, at least 1: a batch system or a container may allow fewer."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroup)
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def memory_gib(cgroup: Path = CGROUP) -> float:
    """The memory that this process may use, in GiB: the machine's, or the limit of a container."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [limit for name in MEMORY_LIMITS if (limit := _number(cgroup / name)) is not None]
    return min([whole, *limits]) / 2**30


def count_gpus() -> int:
    """The GPUs that torch can use on this machine; CUDA_VISIBLE_DEVICES is respected. This imports torch."""
    import torch

    return torch.cuda.device_count()


def count_gpu_devices(devices: Path = Path("/dev")) -> int:
    """The GPUs of NVIDIA that this machine shows, without importing torch; 0 where that cannot be seen."""
    return sum(path.name.removeprefix("nvidia").isdecimal() for path in devices.glob("nvidia*"))


def _cpu_quota(cgroup: Path) -> float | None:
    """Cores' worth of time that a control group allows; None without a limit."""
    numbers = _numbers(cgroup / "cpu.max")
    if not numbers:
        numbers = [*_numbers(cgroup / "cpu/cpu.cfs_quota_us"), *_numbers(cgroup / "cpu/cpu.cfs_period_us")]
    if len(numbers) != 2 or min(numbers) <= 0:
        return None
    return numbers[0] / numbers[1]


def _number(path: Path) -> float | None:
    numbers = _numbers(path)
    return numbers[0] if len(numbers) == 1 and numbers[0] > 0 else None


def _numbers(path: Path) -> Sequence[float]:
    """The numbers in a file; none if it says "max", or is not there."""
    try:
        return [float(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError):
        return []
