"""What `nas train` says before it begins."""

from __future__ import annotations

import pytest

from nas.training.launch import idle_gpus


@pytest.mark.parametrize(
    ("gpus", "processes", "told"),
    [
        (0, 1, ""),
        (1, 1, ""),
        (2, 2, ""),
        (1, 4, ""),
        (2, 1, "1 of 2 GPUs will be idle"),
        (8, 2, "6 of 8 GPUs"),
    ],
)
def test_idle_gpus_are_said(gpus: int, processes: int, told: str) -> None:
    found = idle_gpus(gpus, processes)
    assert told in found
    assert bool(found) == bool(told)
    if told:
        assert f"--nproc-per-node {gpus}" in found
