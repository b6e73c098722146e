"""What a machine has, within the limits of a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas.executors.resources import count_cpus, count_gpu_devices, memory_gib


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "350000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_a_container_may_allow_fewer_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert count_cpus(write(tmp_path, files)) == cpus


@pytest.mark.parametrize(
    ("files", "gib"),
    [
        ({}, 16.0),
        ({"memory.max": "max\n"}, 16.0),
        ({"memory.max": f"{4 << 30}\n"}, 4.0),
        ({"memory/memory.limit_in_bytes": f"{2 << 30}\n"}, 2.0),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 16.0),
    ],
)
def test_a_container_may_allow_less_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], gib: float
) -> None:
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": (16 << 30) // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert memory_gib(write(tmp_path, files)) == gib


def test_gpus_are_seen_without_torch(tmp_path: Path) -> None:
    write(tmp_path, {"nvidia0": "", "nvidia1": "", "nvidiactl": "", "nvidia-uvm": "", "null": ""})
    assert count_gpu_devices(tmp_path) == 2
